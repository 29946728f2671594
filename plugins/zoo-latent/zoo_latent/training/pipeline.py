"""Write what is common to the pipelines that are trained here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo_ddpm.sampling import FlowConfig, Schedule

from zoo_core import write_atomically


def write_index(
    folder: Path, pipeline: str, schedule: Schedule, parts: Mapping[str, Sequence[str]], **extra: Any
) -> None:
    """Write the scheduler's config, and model_index.json with the class of each part.

    Args:
        folder: The pipeline's folder; its networks are there already.
        pipeline: Name of the pipeline's class.
        schedule: What the network was trained with.
        parts: Library and class of each network and tokenizer.
        extra: More settings of model_index.json.
    """
    scheduler = "FlowMatchEulerDiscreteScheduler" if isinstance(schedule, FlowConfig) else "DDIMScheduler"
    index = {
        "_class_name": pipeline,
        **parts,
        "scheduler": ["diffusers", scheduler],
        "vae": ["diffusers", "AutoencoderKL"],
        **extra,
    }
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("scheduler/scheduler_config.json", schedule.to_json()),
        ("model_index.json", index),
    ):
        write_atomically(folder / name, (json.dumps(content, indent=2) + "\n").encode(), overwrite=True)
