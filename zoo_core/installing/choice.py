"""Find this environment's installer."""

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
    """Return uv if ``pyvenv.cfg`` says that uv made this environment, else pip.

    Raises:
        PluginError: There is neither.
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
        f"{sys.prefix} has neither pip nor uv.",
        f"Install pip: {sys.executable} -m ensurepip; or put uv on the PATH.",
    )
