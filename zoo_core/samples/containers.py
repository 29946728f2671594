"""Read the texts inside PNG, GIF, WAV, FLAC, MP4 and .npz files, block by block.

Contents are never decoded, texts have a maximum length, and a file must be complete up to its last block: a
hostile file takes no more memory than an honest one.
"""

from __future__ import annotations

import struct
import zipfile
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


def wav_with_comment(data: bytes, comment: bytes) -> bytes:
    """Return a WAV file with a comment behind the samples: the chunk ICMT of a list INFO (RIFF 1.0)."""
    entry = b"ICMT" + struct.pack("<I", len(comment) + 1) + comment + b"\0" * (1 + (len(comment) + 1) % 2)
    chunks = data[12:] + b"LIST" + struct.pack("<I", len(entry) + 4) + b"INFO" + entry
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def wav_comments(file: BinaryIO, path: Path, limit: int) -> Iterator[bytes]:
    """Yield the comments of a WAV file open behind its first 12 bytes; raises like :func:`png_texts`."""
    for kind, length in _riff_chunks(file, path):
        if kind != b"LIST":
            file.seek(length, 1)
            continue
        if length > limit:
            raise _too_long(path, limit)
        rest = memoryview(_exactly(file, length, path))[4:]
        while len(rest) >= 8:
            size = int.from_bytes(rest[4:8], "little")
            if bytes(rest[:4]) == b"ICMT":
                yield bytes(rest[8 : 8 + size]).rstrip(b"\0")
            rest = rest[8 + size + size % 2 :]


def _riff_chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield kind and padded length of each chunk, positioned at its content."""
    while header := file.read(8):
        if len(header) < 8:
            raise _truncated(path)
        kind, length = struct.unpack("<4sI", header)
        start = file.tell()
        yield kind, length + length % 2
        end = file.seek(0, 2)
        if start + length > end:
            raise _truncated(path)
        file.seek(min(start + length + length % 2, end))


def flac_comments(file: BinaryIO, path: Path, limit: int) -> Iterator[bytes]:
    """Yield the comments (RFC 9639, section 8.6) of a FLAC file open behind its first 4 bytes."""
    last = False
    while not last:
        (header,) = struct.unpack(">I", _exactly(file, 4, path))
        last, kind, length = bool(header >> 31), header >> 24 & 0x7F, header & 0xFFFFFF
        if kind != 4:
            file.seek(length, 1)
            continue
        if length > 2 * limit:
            raise _too_long(path, limit)
        block = _exactly(file, length, path)
        at = 4 + int.from_bytes(block[:4], "little")
        for _ in range(int.from_bytes(block[at : at + 4], "little")):
            size = int.from_bytes(block[at + 4 : at + 8], "little")
            name, _, text = block[at + 8 : at + 8 + size].partition(b"=")
            if name.upper() in (b"COMMENT", b"DESCRIPTION"):
                yield text
            at += 4 + size
            if at >= length:
                break


_MP4_PATH = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")
"""Where the comment of an MP4 file is: boxes in boxes (ISO/IEC 14496-12; QuickTime's metadata)."""


def mp4_comments(file: BinaryIO, path: Path, limit: int) -> Iterator[bytes]:
    """Yield the comment of an MP4 file open at its start; the box with it is the last one that we write."""
    end = file.seek(0, 2)
    file.seek(0)
    for depth, wanted in enumerate(_MP4_PATH):
        while True:
            start = file.tell()
            if start >= end:
                if depth == 0:  # the box moov is behind the frames
                    raise _truncated(path)
                return
            length, kind = struct.unpack(">I4s", _exactly(file, 8, path))
            if length == 1:
                length = int.from_bytes(_exactly(file, 8, path))
            if length < 8 or start + length > end:
                raise _truncated(path)
            if kind == wanted:
                break
            file.seek(start + length)
        end = start + length
        if wanted == b"meta":
            file.seek(4, 1)  # version and flags
    length = end - file.tell() - 8
    if length > limit:
        raise _too_long(path, limit)
    yield _exactly(file, 8 + max(length, 0), path)[8:]


def npz_records(file: BinaryIO, path: Path, limit: int) -> Iterator[bytes]:
    """Yield the bytes of the array ``record`` of an .npz file; all its arrays must be there."""
    from numpy.lib import format as npy

    try:
        with zipfile.ZipFile(file) as archive:
            if "record.npy" not in archive.namelist():
                return
            entry = archive.getinfo("record.npy")
            if entry.file_size > limit + 1024:
                raise _too_long(path, limit)
            with archive.open(entry) as content:
                yield npy.read_array(content, allow_pickle=False).tobytes().rstrip(b"\0")
    except (zipfile.BadZipFile, ValueError, EOFError, zlib.error, RuntimeError):
        raise _damaged(path) from None


def _exactly(file: BinaryIO, count: int, path: Path) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _truncated(path)
    return data


def _truncated(path: Path) -> OutputError:
    return OutputError(f"{path} is truncated.", "Copy it again, or make the sample again.")


def _damaged(path: Path) -> OutputError:
    return OutputError(f"{path} is damaged.", "Copy it again, or make the sample again.")


def _too_long(path: Path, limit: int) -> OutputError:
    return OutputError(
        f"{path} holds a text of more than {limit:,} bytes instead of a record.",
        "Only files that zoo wrote can be replayed.",
    )
