"""The mask of an image that a model changes, drawn over the image."""

from __future__ import annotations

import base64
from pathlib import Path

import gradio

from zoo_core import ModelCard, Option

_SCRIPT = Path(__file__).with_name("mask.js")
_TEMPLATE = """<strong>{label}</strong>
<p class="zoo-hint">Give an image, then draw on it where it is made anew.</p>
<div class="zoo-mask-area"><img alt="The image to draw on"><canvas></canvas></div>
<div class="zoo-mask-tools"><label>Brush <input type="range" min="1" max="40" value="12"></label>
<button type="button" class="zoo-erase" aria-pressed="false">Erase</button>
<button type="button" class="zoo-invert">Invert</button>
<button type="button" class="zoo-clear">Clear</button>
<label>Mask file <input type="file" accept="image/*"></label></div>"""


def is_drawn(card: ModelCard, option: Option) -> bool:
    """Return True for the mask of a model that changes images."""
    return option.name == "mask" and option.format == "file" and "edit" in card.capabilities


def canvas_of(label: str, image: str | None, mask: str | None) -> gradio.HTML:
    """Return the component; its value is the mask as a data URL, empty where nothing is drawn.

    Args:
        label: What stands above it.
        image: The path of the upload to draw on.
        mask: The path of the upload that is drawn already.
    """
    # Browsers go by the content of an image, not by the type in its address.
    value = f"data:image/png;base64,{base64.b64encode(Path(mask).read_bytes()).decode()}" if mask else ""
    return gradio.HTML(
        value,
        image=address_of(image),
        html_template=_TEMPLATE.format(label=label),
        js_on_load=_SCRIPT.read_text(encoding="utf-8"),
        elem_classes=["zoo-file", "zoo-mask"],
    )


def address_of(upload: str | None) -> str:
    """Return where the page finds an upload; empty without one."""
    return f"gradio_api/file={upload}" if upload else ""
