"""Contact sheets: many images on one, from which each can be cut out again exactly."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from zoo_core.errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 89_478_485
"""Largest sheet that Pillow opens without a warning, about 9,400 pixels square."""
_MIN_CELL = 64
"""Smaller images are enlarged by an integer factor to at least this many pixels."""
_CAPTION_HEIGHT, _CAPTION_SIZE = 14, 11


@dataclass(frozen=True)
class Layout:
    """The positions of a sheet's images; lengths are in pixels of the sheet."""

    count: int
    columns: int
    width: int
    """Width of a cell: the image's width times ``zoom``; ``height`` likewise."""
    height: int
    zoom: int
    margin: int
    """Space around and between the cells."""
    caption: int
    """Height of the strip below each cell; 0 without captions."""

    @classmethod
    def of(cls, count: int, size: tuple[int, int], *, captions: bool, columns: int | None = None) -> Layout:
        """Lay out ``count`` images of size (width, height); nearly square if ``columns`` is None.

        Raises:
            OutputError: The sheet would have more than MAX_PIXELS.
        """
        zoom = math.ceil(_MIN_CELL / min(size)) if min(size) < _MIN_CELL else 1
        width, height = size[0] * zoom, size[1] * zoom
        caption = _CAPTION_HEIGHT if captions else 0
        if columns is None:
            columns = min(count, math.ceil(math.sqrt(count * (height + caption) / width)))
        layout = cls(count, columns, width, height, zoom, max(2, min(width, height) // 32), caption)
        if math.prod(layout.size) > MAX_PIXELS:
            raise OutputError(
                "A contact sheet of {:,} images would have {:,} × {:,} pixels.".format(count, *layout.size),
                "Write the images to a folder: -o out/",
            )
        return layout

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the sheet."""
        rows = -(-self.count // self.columns)
        return (
            self.margin + self.columns * (self.width + self.margin),
            self.margin + rows * (self.height + self.caption + self.margin),
        )

    def corner(self, position: int) -> tuple[int, int]:
        """Return (x, y) of the top left pixel of image ``position``, counted from 0."""
        row, column = divmod(position, self.columns)
        return (
            self.margin + column * (self.width + self.margin),
            self.margin + row * (self.height + self.caption + self.margin),
        )

    def cut(self, sheet: Image, position: int) -> Image:
        """Return the image at ``position`` in its original size."""
        from PIL.Image import Resampling

        x, y = self.corner(position)
        cell = sheet.crop((x, y, x + self.width, y + self.height))
        return cell.resize((self.width // self.zoom, self.height // self.zoom), Resampling.NEAREST)

    def to_json(self) -> dict[str, int]:
        """Return the layout as plain JSON; :meth:`from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: object) -> Layout:
        """Read what :meth:`to_json` wrote.

        Raises:
            OutputError: It is not a layout, or not one of a possible sheet.
        """
        names = {field.name for field in fields(cls)}
        if (
            isinstance(document, dict)
            and document.keys() == names
            and all(type(value) is int and 0 <= value <= MAX_PIXELS for value in document.values())
            and all(document[name] > 0 for name in names - {"caption"})
            and document["zoom"] <= min(document["width"], document["height"])
        ):
            layout = cls(**document)
            if math.prod(layout.size) <= MAX_PIXELS:
                return layout
        raise OutputError(
            "The contact sheet's layout cannot be read.", "Only sheets that zoo wrote can be used."
        )


class ContactSheet:
    """A sheet to which images of one size are added one by one.

    Args:
        count: Number of cells.
        captions: Leave room for a caption below each image.
        columns: Number of columns; None: nearly square.
    """

    def __init__(self, count: int, *, captions: bool = False, columns: int | None = None) -> None:
        self.count, self.columns = count, columns
        self.captions = captions
        self.filled = 0
        self.layout: Layout | None = None
        """None until the first image."""
        self._sheet: Image | None = None

    @property
    def image(self) -> Image:
        """The sheet in the mode of its first image; empty cells are white.

        Raises:
            OutputError: There is no image yet.
        """
        if self._sheet is None:
            raise OutputError("The contact sheet has no images.", "Make at least one.")
        return self._sheet

    def paste(self, image: Image, caption: str = "") -> None:
        """Paste an image into the next empty cell.

        Raises:
            OutputError: Its size or mode differs from the first image's, or the sheet would be too large.
        """
        from PIL import Image

        if self.layout is None or self._sheet is None:
            self.layout = Layout.of(self.count, image.size, captions=self.captions, columns=self.columns)
            self._sheet = Image.new(image.mode, self.layout.size, "white")
        layout, sheet = self.layout, self._sheet
        width, height = image.width * layout.zoom, image.height * layout.zoom
        if (width, height) != (layout.width, layout.height) or image.mode != sheet.mode:
            raise OutputError(
                "The samples differ in size or channels, so they do not fit on one contact sheet.",
                "Write them to a folder: -o out/",
            )
        x, y = layout.corner(self.filled)
        sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (x, y))
        if self.captions:
            self._write(caption, x, y + height)
        self.filled += 1

    def _write(self, caption: str, x: int, y: int) -> None:
        """Write a caption below a cell, cut to the cell's width."""
        from PIL import ImageDraw, ImageFont

        assert self.layout is not None
        font = ImageFont.load_default(_CAPTION_SIZE)
        line = " ".join(caption.split())[: self.layout.width]
        shown = line
        while line and font.getlength(shown) > self.layout.width:
            line = line[:-1]
            shown = line + "…"
        draw = ImageDraw.Draw(self.image)
        draw.text((x + (self.layout.width - font.getlength(shown)) / 2, y), shown, "black", font)
