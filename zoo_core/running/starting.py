"""Begin a batch: from noise, or from an image that is given."""

from __future__ import annotations

from collections.abc import Iterator

from zoo_core.data.input_image import read_input_image
from zoo_core.errors import OptionError
from zoo_core.protocols import Batch, Editor, Generator, Step


def start(generator: Generator, batch: Batch) -> Iterator[Step]:
    """Begin a batch, computing nothing yet.

    Raises:
        OptionError: An image cannot be read, or an option needs one.
    """
    if not isinstance(generator, Editor):
        return iter(generator.generate(batch))
    options = vars(batch.options)
    if options.get("input") is not None:
        return iter(generator.edit(batch, read_input_image(options["input"], options.get("mask"))))
    if needy := next((name for name in ("mask", "strength") if options.get(name) is not None), None):
        raise OptionError(f"--{needy} needs an image.", "Add --input IMAGE.")
    return iter(generator.generate(batch))
