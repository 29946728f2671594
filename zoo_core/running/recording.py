"""The record of a sample: what made it, of which weights, with which options and files."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.manifest.cards import ModelCard
from zoo_core.running.planning import Request
from zoo_core.samples.record import Record
from zoo_core.weights import Checkpoint
from zoo_core.weights.digest import digest_of_path

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Recorder:
    """Writes the records of a loaded model's samples."""

    card: ModelCard
    checkpoint: Checkpoint
    plugin_version: str
    dtype: str
    device: str
    """Its type: ``cpu``, ``cuda``."""

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        """The versions that a record names; looking one up takes milliseconds."""
        import torch

        core = importlib.metadata.version("zoo-core")
        return {"zoo-core": core, self.card.plugin: self.plugin_version, "torch": torch.__version__}

    def record(self, request: Request, metadata: Mapping[str, Any] | None = None) -> Record:
        """Return the record of a sample.

        Args:
            request: The sample.
            metadata: What the generator reported with it; empty before it is made.
        """
        return Record(
            model=self.card.id,
            plugin=self.card.plugin,
            versions=self._versions,
            checkpoint=_described(self.checkpoint),
            seed=request.seed,
            prompt=request.prompt,
            options={
                name: f"{value.__module__}.{value.__qualname__}" if callable(value) else value
                for name, value in request.options.items()
                if self.card.options[name].recorded
            },
            metadata=dict(metadata or {}),
            files=self._digests(request),
            dtype=self.dtype,
            device=self.device,
            output=self.card.output,
        )

    def _digests(self, request: Request) -> dict[str, str]:
        """Return the digest of each file or folder that an option names, and of latents that were given."""
        options = request.options
        paths = [name for name, option in self.card.options.items() if option.format in ("file", "folder")]
        given = [name for name in paths if options[name]]
        digests = {name: digest_of_path(Path(options[name]).expanduser()) for name in given}
        if request.latents is not None:
            digests["latents"] = _digest(request.latents)
        return {name: digest for name, digest in digests.items() if digest}  # none of a missing file


def _digest(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()


def _described(checkpoint: Checkpoint) -> dict[str, str]:
    described = {"source": checkpoint.source, "digest": checkpoint.digest}
    if adapter := checkpoint.adapter:
        described |= {"adapter": adapter.source, "adapter_digest": adapter.digest}
    return described
