"""Train in this process, the only one of a run or one of several."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from zoo_core import Job, Say, TrainingEngine, create_trainable, has_mnist, trainers
from zoo_train.captions import open_captioned
from zoo_train.checkpoints import Checkpoints
from zoo_train.data import View, open_images
from zoo_train.loop import CHECKPOINTS, Data, Outcome, RunOptions, TrainingConfig, train
from zoo_train.samples import COUNT, Adapted, draw_sheet, draw_texts, report_failures
from zoo_train.texts import open_texts


@dataclass(frozen=True)
class Training:
    """A run of ``zoo train``, as plain data that can be sent to another machine."""

    trainer: str
    options: Mapping[str, Any]
    """The trainer's own options."""
    data: Mapping[str, Any]
    """The arguments of the function that opens the data."""
    output: Path
    config: Mapping[str, Any]
    """The fields of :class:`TrainingConfig` that the command line gives."""
    run_options: RunOptions

    def run(self) -> Outcome:
        """Train here. With the environment variables of torchrun, this is one of several processes.

        Raises:
            ZooError: The data cannot be read, or the run cannot go on.
        """
        trainer = trainers()[self.trainer]
        data, identity = OPENERS[trainer.data](**self.data)
        captions = data.training_data.texts[:COUNT]
        draw = draw_texts if trainer.data == "text" else partial(draw_sheet, captions=captions)
        if trainer.adapts is not None:
            adapted = Adapted(self.options["base"], trainer.adapts)
            draw = partial(draw_sheet, captions=captions, adapted=adapted)
        return train(
            lambda training_data: create_trainable(trainer, self.options, training_data),
            data,
            TrainingConfig(
                mirror=self.data.get("mirror", False),
                model={"trainer": trainer.name, **self.options},
                data=identity,
                **self.config,
            ),
            self.run_options,
            self.output,
            report_failures(draw, partial(print, file=sys.stderr)),
        )

    def run_on(self, engine: TrainingEngine, say: Say) -> Outcome:
        """Train in several processes of an engine, which see the data and the output at the same paths.

        Raises:
            ZooError: As :meth:`run`, or the engine has no room.
        """
        run_options = self.run_options
        if not run_options.resume:
            # A process that is started again must go on, so starting over is done here.
            Checkpoints(self.output / CHECKPOINTS).clear()
            run_options = replace(run_options, resume=True)
        sent = replace(
            self,
            run_options=run_options,
            output=self.output.absolute(),
            data={**self.data, "data": self.data["data"].absolute()},
        )
        return cast("Outcome", engine.train(Job("zoo_train.process:run", {"training": sent}), say))


def run(training: Training) -> Outcome:
    """Train in this process, for an engine."""
    return training.run()


def _open_images(
    data: Path, size: int | None, grey: bool | None, labels: bool, mirror: bool
) -> tuple[Data, dict[str, Any]]:
    """Return the images, and the identity that a resumed run must match."""
    found = open_images(data, View(size, has_mnist(data) if grey is None else grey))
    if not labels:
        found = found.without_labels()
    about = found.training_data
    return found, {"digest": found.digest, "shape": list(about.shape), "classes": list(about.classes)}


def _open_captioned(data: Path, size: int | None, mirror: bool) -> tuple[Data, dict[str, Any]]:
    """Return the captioned images, and the identity that a resumed run must match."""
    found = open_captioned(data, View(size))
    shape = list(found.training_data.shape)
    return found, {"digest": found.images.digest, "captions": found.digest, "shape": shape}


def _open_texts(data: Path) -> tuple[Data, dict[str, Any]]:
    """Return the texts, and the identity that a resumed run must match."""
    found = open_texts(data)
    return found, {"digest": found.digest}


OPENERS: Mapping[str, Callable[..., tuple[Data, dict[str, Any]]]] = {
    "image": _open_images,
    "captioned-image": _open_captioned,
    "text": _open_texts,
}
"""The function that opens each of the ``KINDS`` of data."""
