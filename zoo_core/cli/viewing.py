"""Look at what a run made: in the platform's viewer, or in a terminal that shows images."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo_core.errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.cli.reporting import Tell
    from zoo_core.samples.record import Record

PROTOCOLS = ("kitty", "iterm", "sixel")
MOST = 16
"""Most images in a preview."""
WIDEST = 800
"""Pixels of a preview."""
_COLORS = 255
_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".apng")

open_option = click.option("--open", "open_result", is_flag=True, help="Open the result in the usual viewer.")
preview_option = click.option(
    "--preview",
    type=click.Choice(["auto", *PROTOCOLS, "off"]),
    default="auto",
    show_default=True,
    envvar="ZOO_PREVIEW",
    help="Show images on a terminal that can: by the protocol of kitty, iTerm or sixel. ZOO_PREVIEW sets it.",
)


@contextmanager
def viewing(tell: Tell, *, open_result: bool, preview: str) -> Iterator[Tell]:
    """Report samples to ``tell``; when the run is done, show them as the user asked."""
    paths: dict[Path, None] = {}
    """The first ones: a run may have a million."""

    def seen(record: Record, text: str | None, path: Path | None, wait: bool) -> None:
        if path is not None and len(paths) < MOST:
            paths[path] = None
        tell(record, text, path, wait)

    yield seen
    images = [path for path in paths if path.suffix.lower() in _IMAGES]
    protocol = protocol_of(os.environ) if preview == "auto" else preview
    if images and protocol in PROTOCOLS and sys.stdout.isatty():
        sys.stdout.write(encode(_sheet(images), protocol) + "\n")
        sys.stdout.flush()
    if open_result and paths:
        first = next(iter(paths))
        _open(first if len(paths) == 1 else first.parent)


def protocol_of(environ: Mapping[str, str]) -> str:
    """Return the image protocol of the terminal, as far as its variables say; ``off`` if they do not."""
    terminal, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if environ.get("TMUX") or terminal.startswith(("screen", "tmux")):
        return "off"  # it would have to pass the sequences on
    if terminal in ("xterm-kitty", "xterm-ghostty") or environ.get("KITTY_WINDOW_ID"):
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environ.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    return "sixel" if terminal.startswith(("foot", "mlterm", "contour")) or "sixel" in terminal else "off"


def encode(image: Image, protocol: str) -> str:
    """Return the characters that draw an image on a terminal."""
    if protocol == "sixel":
        return _sixel(image)
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    if protocol == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(file.getvalue())}:{data}\a"
    parts = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    return "".join(
        f"\x1b_G{'a=T,f=100,' if number == 0 else ''}m={int(part is not parts[-1])};{part}\x1b\\"
        for number, part in enumerate(parts)
    )


def _sixel(image: Image) -> str:
    """Return an image in sixels: six rows at a time, a pass over the row for each colour in it."""
    import numpy as np

    reduced = image.convert("RGB").quantize(_COLORS)
    pixels = np.array(reduced)
    palette = np.array(reduced.getpalette()).reshape(-1, 3) * 100 // 255
    out = [f'\x1bPq"1;1;{image.width};{image.height}']
    out += [f"#{index};2;{r};{g};{b}" for index, (r, g, b) in enumerate(palette)]
    for top in range(0, image.height, 6):
        band = pixels[top : top + 6]
        bits = 1 << np.arange(len(band))[:, None]
        for color in np.unique(band):
            row = 63 + ((band == color) * bits).sum(0)
            out.append(f"#{color}{bytes(row.astype(np.uint8)).decode()}$")
        out.append("-")
    return "".join(out) + "\x1b\\"


def _sheet(paths: list[Path]) -> Image:
    from PIL import Image

    from zoo_core.samples import ContactSheet

    if len(paths) == 1:
        image = Image.open(paths[0]).convert("RGB")
    else:
        sheet = ContactSheet(len(paths))
        for path in paths:
            sheet.paste(Image.open(path).convert("RGB"))
        image = sheet.image
    image.thumbnail((WIDEST, WIDEST))
    return image


def _open(path: Path) -> None:
    if click.launch(str(path)) != 0:
        raise OutputError(f"No program opens {path}.", "Open it yourself, or leave out --open.")
