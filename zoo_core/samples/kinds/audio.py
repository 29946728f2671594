"""Audio: (channels, length), floats in [-1, 1], at a rate in Hz. Files have 16 bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.samples.containers import wav_with_comment
from zoo_core.samples.kinds.kind import Kind, needs, tensor_problem, unit_range_problem
from zoo_core.samples.match import Match, match_numbers
from zoo_core.samples.plot import waveform
from zoo_core.samples.provenance import record_text

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    import torch
    from PIL.Image import Image

    from zoo_core.samples.sample import Sample

    Levels = np.ndarray[Any, np.dtype[np.int16]]

ROUNDING = 4
"""Levels (of 32,768) by which rounding alone can change a value: 1e-4 in [-1, 1]."""


class Audio(Kind):
    """Audio."""

    name = "audio"
    suffixes = (".wav", ".flac")
    needs_rate = True

    def problem(self, rows: Any) -> str | None:
        """Require (n, channels, length)."""
        return tensor_problem(rows, "(n, channels, length)")

    def out_of_range(self, rows: torch.Tensor) -> str | None:
        """Require [-1, 1]."""
        return unit_range_problem(rows)

    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return a WAV or FLAC file of 16 bits with the record as its comment."""
        library = _soundfile()
        levels, file = to_levels(sample), io.BytesIO()
        with library.SoundFile(
            file, "w", _rate(sample), levels.shape[1], "PCM_16", format=suffix[1:].upper()
        ) as audio:
            if suffix == ".flac":
                audio.comment = record_text(sample.record)
            audio.write(levels)
        if suffix == ".wav":  # libsndfile has room for 16 kB in front of the samples
            return wav_with_comment(file.getvalue(), record_text(sample.record).encode())
        return file.getvalue()

    def compare(self, path: Path, again: Sample) -> Match:
        """Compare 16-bit levels."""
        import numpy as np

        library, new = _soundfile(), to_levels(again)
        try:
            with library.SoundFile(path) as audio:
                alike = (audio.frames, audio.channels, audio.samplerate) == (*new.shape, _rate(again))
                old = audio.read(dtype="int16", always_2d=True) if alike else None
        except (library.LibsndfileError, OSError) as error:
            raise OutputError(f"{path} cannot be read: {error}.", "Make the sample again.") from None
        if old is None:
            return Match("different", "The recordings differ in length, channels or rate.")
        largest = int(np.abs(old.astype(np.int32) - new).max())
        return match_numbers("recordings", largest, ROUNDING, f"{largest:,} of 32,768 levels")

    def image(self, sample: Sample) -> Image:
        """Return the waveform."""
        return waveform(to_levels(sample) / 32767)


def to_levels(sample: Sample) -> Levels:
    """Return 16-bit levels (length, channels): x becomes round(32,767 x), clamped."""
    assert sample.tensor is not None
    levels: Levels = sample.tensor.mul(32767).round().clamp(-32768, 32767).short().T.contiguous().numpy()
    return levels


def _rate(sample: Sample) -> int:
    assert sample.rate is not None
    return round(sample.rate)


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the wheel has no libsndfile for this machine
        raise needs("audio", "soundfile") from None
    module: ModuleType = soundfile
    return module
