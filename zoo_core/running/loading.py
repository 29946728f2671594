"""From a card to a model that is ready to run: device, dtype, weights, generator."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OptionError, PluginError, WeightsError, ZooError, first_line
from zoo_core.manifest.cards import QUANTIZED, EmbeddedWeights, HubWeights, ModelCard
from zoo_core.plugins.discovery import InstalledPlugin
from zoo_core.plugins.host import PluginHost
from zoo_core.protocols import Chat, Generator
from zoo_core.running.model import Model
from zoo_core.weights import Checkpoint, get_checkpoint, is_cached
from zoo_core.weights.conversion import converted
from zoo_core.weights.digest import combine
from zoo_core.weights.store import Check

if TYPE_CHECKING:
    import torch

_FAULTS_OF_FILES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What code raises that was written for another config or other tensors."""

DTYPES = ("float32", "bfloat16", "float16", "float64")


def load_card(
    card: ModelCard,
    plugins: Sequence[InstalledPlugin],
    host: PluginHost,
    *,
    device: str,
    dtype: str,
    adapter: str | os.PathLike[str] | None = None,
    announce: Callable[[str], object] = lambda doing: None,
) -> Model:
    """Make the model of a card ready to run; :func:`zoo_core.load` describes the other arguments.

    Args:
        announce: Called with what begins; with an empty text before a download, which has its own bar.
    """
    _check_dtype(dtype, card, plugins)
    announce(f"Importing {card.plugin}")
    host.load(card.plugin)  # before its weights are fetched: a broken plugin should not cost a download
    plugin = next(plugin for plugin in plugins if plugin.name == card.plugin)
    change = None if adapter is None else _get_adapter(adapter, plugin)
    checkpoint = converted(
        _get_checkpoint_while_importing_torch(card, announce, partial(check_config, host, card)),
        partial(host.converters, only=card.plugin),
        announce,
    )
    if change is not None:
        digest = combine({"adapter": change.digest, "base": checkpoint.digest})
        checkpoint = replace(checkpoint, digest=digest, adapter=change)
    torch_device = _pick_device(device)
    if torch_device.type == "cpu":
        from zoo_core.kernels import keep_freed_memory  # with torch, which is imported by now

        keep_freed_memory()
    announce(f"Loading {card.id}")
    generator = _create_generator(
        host,
        card,
        checkpoint,
        device=torch_device,
        dtype=None if dtype == "auto" else getattr(importlib.import_module("torch"), dtype),
    )
    if not isinstance(generator, Generator):
        raise PluginError(
            f"{card.plugin} made no generator for {card.id}, but {generator!r}.",
            "Tell the plugin's author: zoo_create_generator must return an object with generate().",
        )
    if "chat" in card.capabilities and not isinstance(generator, Chat):
        # Its rule in the manifest speaks for all checkpoints; only the loaded one knows its chat template.
        card = replace(card, capabilities=tuple(each for each in card.capabilities if each != "chat"))
    reload = partial(_load_on, card, plugins, host, dtype=dtype, adapter=adapter)
    return Model(card, checkpoint, generator, torch_device, plugin.version, reload)


def _load_on(
    card: ModelCard, plugins: Sequence[InstalledPlugin], host: PluginHost, device: str, **more: Any
) -> Model:
    return load_card(card, plugins, host, device=device, **more)


def _get_adapter(name: str | os.PathLike[str], plugin: InstalledPlugin) -> Checkpoint:
    """Return an adapter, before its base model is fetched."""
    from zoo_core.weights.adapters import get_adapter

    if plugin.manifest is None or not plugin.manifest.adapters:
        raise OptionError(f"{plugin.name} runs no adapters.", "Leave out the adapter.")
    return get_adapter(name)


def check_config(
    host: PluginHost, card: ModelCard, checkpoint: Checkpoint, read: Callable[[str, int, int], bytes]
) -> None:
    """Have the card's plugin refuse a checkpoint by its small files; nothing is said against others."""
    with _blaming(card, checkpoint):
        host.call(card.plugin, "zoo_check_config", card=card, checkpoint=checkpoint, read=read)


def _create_generator(host: PluginHost, card: ModelCard, checkpoint: Checkpoint, **where: Any) -> object:
    """Have the plugin build the generator; an error while it does is the checkpoint's fault."""
    with _blaming(card, checkpoint):
        return host.call(card.plugin, "zoo_create_generator", card=card, checkpoint=checkpoint, **where)


@contextmanager
def _blaming(card: ModelCard, checkpoint: Checkpoint) -> Iterator[None]:
    """Turn what a plugin raises for a checkpoint that it was not written for into an error about that."""
    import torch

    try:
        yield
    except PluginError as error:
        cause = error.__cause__
        if isinstance(cause, (MemoryError, torch.OutOfMemoryError)):
            raise ZooError(
                f"{checkpoint.source} does not fit into memory.", "Try --dtype bfloat16 or a smaller model."
            ) from cause
        # Weights that came with the plugin fit it: then the plugin is at fault.
        if isinstance(card.weights, EmbeddedWeights) or not isinstance(cause, _FAULTS_OF_FILES):
            raise
        raise WeightsError(
            f"The config or the weights of {checkpoint.source} describe nothing that {card.plugin} can "
            f"build: {first_line(cause)}.",
            "Use a checkpoint that this plugin supports; --debug shows where it fails.",
        ) from cause


def _get_checkpoint_while_importing_torch(
    card: ModelCard, announce: Callable[[str], object], check: Check
) -> Checkpoint:
    """Verify the weights in a thread while importing torch, which takes as long.

    A download stays in the main thread, where Ctrl-C ends it at once.
    """
    if isinstance(card.weights, HubWeights) and is_cached(card) is None:
        announce("")
        return get_checkpoint(card, check=check)
    announce(f"Verifying the weights of {card.id}, importing torch")
    with ThreadPoolExecutor(1) as thread:
        checkpoint = thread.submit(get_checkpoint, card)
        importlib.import_module("torch")
        return checkpoint.result()


def _pick_device(name: str) -> torch.device:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise OptionError(
            f"There is no device {name!r} on this machine.", "Try --device cpu, or leave --device out."
        ) from None
    return device


def _check_dtype(name: str, card: ModelCard, plugins: Sequence[InstalledPlugin]) -> None:
    """Refuse an unknown dtype, and a quantized one that the plugin does not declare."""
    known = ("auto", *DTYPES, *QUANTIZED)
    if name not in known:
        raise OptionError(f"There is no dtype {name!r}.", f"Give one of {', '.join(known)}.")
    manifest = next((plugin.manifest for plugin in plugins if plugin.name == card.plugin), None)
    if name in QUANTIZED and (manifest is None or name not in manifest.quantized):
        raise OptionError(
            f"{card.plugin} does not support {name} weights.", f"Give one of {', '.join(('auto', *DTYPES))}."
        )
