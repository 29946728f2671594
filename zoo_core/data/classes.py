"""Class labels: their names in a checkpoint, the one of each sample, and guidance towards it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OptionError, WeightsError, short_repr
from zoo_core.noise import Noise

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Classes:
    """The classes of a conditional model: labels 0 … count − 1, and perhaps a null class."""

    count: int
    """Number of classes, without the null class."""
    names: tuple[str, ...] = ()
    """Class names in label order; empty if the checkpoint has none."""
    null: int | None = None
    """The label that means "any class", which guidance needs: ``count``, or None if there is none."""

    @classmethod
    def read(cls, zoo: Mapping[str, Any] | None, source: str, count: int | None = None) -> Classes | None:
        """Read ``class_names`` and ``null_class`` of the table ``zoo`` in a config.json.

        Args:
            zoo: The table; None counts as an empty one.
            source: The file, for messages.
            count: Embeddings that the network has, the null class among them; None: as many as are named.

        Returns:
            The classes; None for an unconditional model.

        Raises:
            WeightsError: The table is no object, the names are not strings, or they do not fit the count.
        """
        remedy = "Give every class one name, and make the null class the last one."
        zoo = {} if zoo is None else zoo
        if not isinstance(zoo, Mapping):
            raise WeightsError(f"{source}: zoo is {short_repr(zoo)}; expected an object.", remedy)
        names, null = zoo.get("class_names") or [], zoo.get("null_class")
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise WeightsError(f"{source}: zoo.class_names is {short_repr(names)}; expected strings.", remedy)
        has_null = null is not None and null is not False
        classes = len(names) if count is None else count - has_null
        if (has_null and null is not True and null != classes) or len(names) not in (0, classes):
            raise WeightsError(
                f"{source}: {len(names)} class names and null class {short_repr(null)} do not fit "
                f"{classes} classes.",
                remedy,
            )
        return cls(classes, tuple(names), classes if has_null else None) if classes else None

    @property
    def total(self) -> int:
        """Number of labels, the null class included."""
        return self.count + (self.null is not None)

    def describe(self, label: int) -> dict[str, Any]:
        """Return what to record with a sample of this label."""
        return {"label": label, **({"class": self.names[label]} if self.names else {})}


def draw_labels(
    given: Sequence[int | None], classes: int, noise: Noise, weights: Sequence[float] | None = None
) -> list[int]:
    """Return one label per sample: the given one, or one drawn from the sample's own stream.

    A number is drawn from every stream whether it is needed or not, so that a seed makes the same image
    with a drawn label as with that label given.

    Args:
        given: The option's values, one per sample.
        classes: Number of classes; labels begin at 0.
        noise: The batch's noise.
        weights: Probability of each class, up to a common factor; None: uniform.

    Raises:
        OptionError: There is no such class.
    """
    for label in given:
        if label is not None and not 0 <= label < classes:
            raise OptionError(
                f"--label {label}: this model has {classes} classes.", f"Give 0 to {classes - 1}."
            )
    bounds = list(accumulate(weights or [1.0] * classes))
    drawn = [
        min(bisect_right(bounds, u * bounds[-1]), classes - 1) for u in noise.uniform(1).flatten().tolist()
    ]
    return [d if label is None else label for label, d in zip(given, drawn, strict=True)]


def classifier_free_guidance(conditional: Tensor, unconditional: Tensor, scale: float | Tensor) -> Tensor:
    """Return ``u + s (c − u)``: classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598, eq. 6).

    Args:
        conditional: c, what the network predicts with the condition: ε, x₀, v or logits.
        unconditional: u, its prediction without one.
        scale: s; 1 is the condition alone, 0 none, more exaggerates what distinguishes it.
    """
    return unconditional + (conditional - unconditional) * scale
