"""A model's form: a component for each option that its manifest declares, and back from their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio

from zoo_core import Labels, ModelCard, Option, OptionError, Prompt, labels_of
from zoo_studio.mask import canvas_of, is_drawn

SHOWN = 6
"""Options that are shown at once; the others are behind "More options"."""
_BY_MODEL = "(the model decides)"


@dataclass(frozen=True)
class Filled:
    """What a form begins with: a model, and the values of its fields."""

    model: str
    prompt: Prompt | None = None
    seed: int | None = None
    n: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    """Values by name; the others have their defaults."""

    def __hash__(self) -> int:
        return hash(repr(self))


def ordered(card: ModelCard) -> tuple[list[Option], list[Option]]:
    """Return the options that are shown at once, and the others.

    What a sample is of comes first: options with a value per sample, files, and how much of an image is
    changed. Folders are the server's own.
    """
    options = [option for option in card.options.values() if option.format != "folder"]
    strength = {"strength"} if "edit" in card.capabilities else set()
    first = [
        option
        for option in options
        if option.per_sample or option.format == "file" or option.name in strength
    ]
    rest = [option for option in options if option not in first]
    return (first + rest)[:SHOWN], (first + rest)[SHOWN:]


def component_of(card: ModelCard, option: Option, given: Mapping[str, Any]) -> gradio.components.Component:
    """Return the component of an option.

    A number with two bounds and a default is a slider, a boolean a checkbox, a choice a menu, a file a place
    to drop one, a mask is drawn. A label is chosen by name where the checkpoint has names. Several values may
    be given of options that are per sample.

    Args:
        card: The model.
        option: One of its options.
        given: The values that the form shows, by option; the others have their defaults.
    """
    value = given.get(option.name)
    value = option.default if value is None else value
    common: dict[str, Any] = {
        "label": _label(option),
        "info": option.description or None,
        "interactive": True,
    }
    if (names := _names(card, option)) is not None:
        return gradio.Dropdown(
            [(f"{label}: {name}" if name != str(label) else name, label) for label, name in enumerate(names)],
            value=_listed(value) if option.per_sample else value,
            multiselect=option.per_sample,
            **common,
        )
    if option.enum:
        blank = [] if option.per_sample or option.default is not None else [(_BY_MODEL, "")]
        return gradio.Dropdown(
            [*blank, *((each, each) for each in option.enum)],
            value=_listed(value) if option.per_sample else (value or ""),
            multiselect=option.per_sample,
            **common,
        )
    if is_drawn(card, option):
        return canvas_of(common["label"], given.get("input"), value)
    if option.format == "file":
        label = f"{common['label']}: {option.description}" if option.description else common["label"]
        return gradio.File(
            value, label=label, type="binary", height=170, interactive=True, elem_classes="zoo-file"
        )
    if option.type == "boolean" and not option.per_sample:
        return gradio.Checkbox(bool(value), **common)
    low, high = option.minimum, option.maximum
    if low is not None and high is not None and option.default is not None and not option.per_sample:
        step = 1 if option.type == "integer" else (high - low) / 100
        return gradio.Slider(low, high, value=value, step=step, **common)
    # On the command line content is given as a file; here it is written into the field.
    hint = "text" if option.format == "content" else option.expects
    hint += ", or several: 1, 2, 3" if option.per_sample else ""
    return gradio.Textbox(
        ", ".join(map(_spelled, _listed(value))),
        placeholder=hint if option.default is None else f"{hint}; empty: {option.default}",
        lines=3 if option.format == "content" else 1,
        **common,
    )


def value_of(option: Option, given: Any) -> Any:
    """Return the value of an option from what its component holds; None for the default.

    Raises:
        OptionError: It is not accepted.
    """
    if given is None or given == "" or given == []:
        return None
    if option.format == "file":
        return given
    if isinstance(given, str) and (option.per_sample or option.type != "string"):
        return option.parse(given)
    return option.check(given)


def seed_of(text: str) -> int | None:
    """Return the seed of its field; None if it is empty.

    Raises:
        OptionError: It is no seed.
    """
    if not text.strip():
        return None
    if not text.strip().isdecimal():
        raise OptionError(f"{text[:40]!r} is not a seed.", "Give a whole number, or none for a random one.")
    return int(text)


def image_takers(cards: Mapping[str, ModelCard]) -> list[tuple[str, str]]:
    """Return the options that are files of models that make images, each with its name on the page."""
    return [
        (f"{id}: {_label(option)}", f"{id}\n{option.name}")
        for id, card in cards.items()
        if card.output == "image"
        for option in card.options.values()
        if option.format == "file"
    ]


def _label(option: Option) -> str:
    return option.name.replace("_", " ").capitalize()


def _names(card: ModelCard, option: Option) -> tuple[str, ...] | None:
    """Return the names of the labels, if the option chooses one and the checkpoint says them."""
    labels: Labels | None = labels_of(card) if option.name == "label" else None
    if labels is None:
        return None
    return labels.names or tuple(map(str, range(labels.count)))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
