"""Which installer this environment has."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path

from zoo_core.errors import PluginError
from zoo_core.installing.installers import Installer
from zoo_core.installing.pip import Pip
from zoo_core.installing.uv import Uv


def installer_of_this_environment() -> Installer:
    """uv where ``pyvenv.cfg`` says that uv made this environment, else pip.

    Raises:
        PluginError: It is not there.
    """
    try:
        made_by_uv = re.search(r"^uv\s*=", Path(sys.prefix, "pyvenv.cfg").read_text(), re.MULTILINE)
    except OSError:
        made_by_uv = None
    if made_by_uv:
        beside = Path(sys.executable).with_name("uv")
        if program := str(beside) if beside.exists() else shutil.which("uv"):
            return Uv(program)
    if importlib.util.find_spec("pip") is not None:
        return Pip()
    raise PluginError(
        f"{sys.prefix} has neither pip nor uv, so that nothing can be installed.",
        f"Make uv known by PATH, or get pip: {sys.executable} -m ensurepip",
    )
