"""Read the texts inside PNG and GIF files, block by block.

Images are never decoded, texts have a maximum length, and a file must be complete up to its last block: a
hostile file takes no more memory than an honest one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from zoo_core.errors import OutputError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GIF_SIGNATURES = (b"GIF87a", b"GIF89a")

_LONGEST_KEYWORD = 79


def png_texts(
    file: BinaryIO, path: Path, keywords: Collection[bytes], limit: int
) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and text of the iTXt chunks (PNG 1.2, section 4.2.3) with one of ``keywords``.

    Args:
        file: Open, positioned after the signature.
        path: Its path, for error messages.
        keywords: All other chunks are skipped.
        limit: Maximum length of a text, in bytes.

    Raises:
        OutputError: The file is truncated, a checksum is wrong, or a text is too long.
    """
    while True:
        length, kind = struct.unpack(">I4s", _exactly(file, 8, path))
        if kind == b"IEND":
            _exactly(file, 4, path)
            return
        start = file.read(min(length, _LONGEST_KEYWORD + 1)) if kind == b"iTXt" else b""
        keyword = start.partition(b"\0")[0]
        if keyword not in keywords:
            file.seek(length - len(start) + 4, 1)
            continue
        if length > limit + 2 * len(start):
            raise _too_long(path, limit)
        data = start + _exactly(file, length - len(start), path)
        if zlib.crc32(kind + data) != int.from_bytes(_exactly(file, 4, path)):
            raise _damaged(path)
        yield keyword, _itxt_text(data, path, limit)


def _itxt_text(data: bytes, path: Path, limit: int) -> bytes:
    """Return the text of an iTXt chunk, which another tool may have compressed."""
    _, _, rest = data.partition(b"\0")
    compressed, rest = rest[:1] == b"\1", rest[2:]
    text = rest.split(b"\0", 2)[-1]  # behind a language and a translated keyword
    if not compressed:
        return text
    try:
        text = zlib.decompressobj().decompress(text, limit + 1)
    except zlib.error:
        raise _damaged(path) from None
    if len(text) > limit:
        raise _too_long(path, limit)
    return text


def gif_comments(file: BinaryIO, path: Path, limit: int) -> Iterator[bytes]:
    """Yield the comments (GIF89a, section 24) of a file open at its start; raises like :func:`png_texts`."""
    flags = _exactly(file, 13, path)[10]
    _skip_color_table(file, flags)
    while (introducer := _exactly(file, 1, path)) != b"\x3b":
        if introducer == b"\x2c":
            _skip_color_table(file, _exactly(file, 9, path)[8])
            _exactly(file, 1, path)
            _skip_blocks(file, path)
        elif introducer != b"\x21":
            raise _damaged(path)
        elif _exactly(file, 1, path) == b"\xfe":
            yield _comment(file, path, limit)
        else:
            _skip_blocks(file, path)


def _skip_color_table(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << ((flags & 7) + 1), 1)


def _skip_blocks(file: BinaryIO, path: Path) -> None:
    while size := _exactly(file, 1, path)[0]:
        file.seek(size, 1)


def _comment(file: BinaryIO, path: Path, limit: int) -> bytes:
    comment = bytearray()
    while size := _exactly(file, 1, path)[0]:
        comment += _exactly(file, size, path)
        if len(comment) > limit:
            raise _too_long(path, limit)
    return bytes(comment)


def _exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise OutputError(f"{path} is truncated.", "Copy it again, or make the sample again.")
    return data


def _damaged(path: Path) -> OutputError:
    return OutputError(f"{path} is damaged.", "Copy it again, or make the sample again.")


def _too_long(path: Path, limit: int) -> OutputError:
    return OutputError(
        f"{path} holds a text of more than {limit:,} bytes instead of a record.",
        "Only files that zoo wrote can be replayed.",
    )
