"""Checks that need a fresh process: side effects of loading a model, and replaying a sample.

The process is forked from one that has imported torch but no plugin. Its string hashes differ from those of
the calling process.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from zoo_core.environment import load
from zoo_core.manifest.cards import ModelCard
from zoo_core.plugins.torch_guard import torch_functions
from zoo_core.running.planning import make_plan
from zoo_core.samples import compare, read_record
from zoo_core.samples.match import Match
from zoo_core.testing.conformance.check import first_line
from zoo_core.testing.monitors import (
    global_random_state_required,
    require_functions,
    require_settings,
    torch_settings,
)

SECONDS = 600
"""Time limit."""

PRELOADED = (
    "torch", "numpy.random", "packaging.requirements", "PIL.PngImagePlugin", "pluggy",
    "zoo_core.plugins.host", "zoo_core.plugins.hookspecs", "zoo_core.running.model", "zoo_core.samples",
)  # fmt: skip
"""Modules of the core and of its dependencies, imported once by the fork server."""

Found = TypeVar("Found")


def watch_loading(card: ModelCard) -> None:
    """Load a model; an AssertionError says what loading changed in the process."""
    settings, functions = torch_settings(), torch_functions()
    with global_random_state_required("Loading"):
        load(card, device="cpu")
    require_settings(settings, "while the model loaded")
    require_functions(functions)


def make_again(card: ModelCard, file: Path) -> Match:
    """Reproduce a saved sample from the metadata in its file."""
    then = read_record(file)
    dtype = then.dtype if then.dtype != "unknown" else "auto"
    plan = make_plan(card, then.prompt, n=None, seed=None, seeds=[then.seed], options=then.options)
    (again,) = load(card, device="cpu", dtype=dtype).make(plan, batch_size=1)
    return compare(file, again)


def in_a_fresh_process(task: Callable[..., Found], *arguments: Any) -> Found:
    """Call a function of this module in a process that has imported no plugin.

    Raises:
        AssertionError: The function raised, ended the process or took too long; the message says which.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, __name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_answer, args=(theirs, dict(os.environ), list(sys.path), task, arguments), daemon=True
    )
    process.start()
    theirs.close()
    try:
        assert ours.poll(SECONDS), f"The fresh process took more than {SECONDS} seconds."
        failure, found = ours.recv()
    except EOFError:
        process.join()
        raise AssertionError(f"The fresh process exited with status {process.exitcode}.") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    assert failure is None, failure
    answer: Found = found
    return answer


def _answer(
    pipe: Connection,
    environment: dict[str, str],
    path: list[str],
    task: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    # The fork server may be old: use the calling process's environment and path as they are now.
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    try:
        pipe.send((None, task(*arguments)))
    except BaseException as error:
        pipe.send((first_line(error), None))
