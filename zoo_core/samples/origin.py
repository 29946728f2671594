"""The mark of origin: says to machines that an image was made by a model, in XMP.

IPTC's digital source type ``trainedAlgorithmicMedia`` (IPTC Photo Metadata Standard 2023.1, "Digital Source
Type"), as the XMP specification (ISO 16684, part 3) puts it into PNG, JPEG, WebP and GIF files.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
PNG_KEYWORD = "XML:com.adobe.xmp"
_GIF_START = b"\x21\xff\x0bXMP DataXMP"
_GIF_END = bytes([1, *range(255, -1, -1), 0])
"""Leads a reader that takes the packet for blocks, each with its length in front, to their end."""


def add_to_png(chunks: PngInfo) -> PngInfo:
    """Add the mark to a PNG's text chunks, and return them."""
    chunks.add_itxt(PNG_KEYWORD, XMP)
    return chunks


def add_to_gif(data: bytes) -> bytes:
    """Return a GIF file with the mark, an extension (GIF89a, section 26) behind the global color table."""
    flags = data[10]
    start = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    return data[:start] + _GIF_START + XMP.encode() + _GIF_END + data[start:]


def generated_png(image: Image, *, compress_level: int = 6) -> bytes:
    """Return a PNG file with the mark of origin and no record: a preview, or a sheet of a training run."""
    from PIL.PngImagePlugin import PngInfo

    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=add_to_png(PngInfo()), compress_level=compress_level)
    return file.getvalue()
