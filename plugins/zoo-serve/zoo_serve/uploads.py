"""Images in requests: checked, and kept under names of the server's own."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo_core import ModelCard, ZooError, cache_dir, image_size, read_image, write_atomically
from zoo_serve.config import Limits
from zoo_serve.problems import Refusal, log_failure

_DATA_URL = re.compile(r"data:image/(png|jpeg|webp|gif|bmp);base64,", re.IGNORECASE)

_FORMATS = {
    rb"\x89PNG": ".png",
    rb"\xff\xd8": ".jpg",
    rb"RIFF....WEBP": ".webp",
    rb"GIF8": ".gif",
    rb"BM": ".bmp",
}
"""How the files begin that are accepted."""


class Uploads:
    """A folder of images that clients sent, each named by its content.

    A model's option that is the path of a file gets one of these, so a record names it, and ``zoo replay`` on
    this machine works until newer uploads need the place.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = cache_dir() / "serve" / "uploads"

    def resolve(self, card: ModelCard, options: dict[str, Any]) -> dict[str, Any]:
        """Return a request's options with the content of files kept, and its place instead.

        Raises:
            Refusal: A file is given as a path, or any other option names a file or folder of this server.
        """
        resolved = {}
        for name, value in options.items():
            option = card.options.get(name)
            if isinstance(value, str) and option is not None:
                if option.format == "folder":
                    raise Refusal(
                        f"The option {name} is a folder of the server, which no request names.",
                        "Leave it out, or use zoo run on the server.",
                        param=name,
                    )
                if option.format == "file":
                    value = str(self.keep_data_url(value, name))
                elif not option.enum and _is_file(value):
                    raise Refusal(
                        f"The option {name} names a file.",
                        "Give the file's content, as a data URL.",
                        param=name,
                    )
            resolved[name] = value
        return resolved

    def keep_data_url(self, text: str, param: str) -> Path:
        """Keep the image of a data URL; return its path."""
        found = _DATA_URL.match(text)
        if not found:
            raise Refusal(
                f"{param} is not the content of an image: this server takes no paths and no addresses.",
                "Give a data URL: data:image/png;base64,…",
                param=param,
            )
        try:
            data = base64.b64decode(text[found.end() :], validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(
                f"{param} is not valid base64.", "Encode the file as base64.", param=param
            ) from None
        return self.keep(data, param)

    def keep(self, data: bytes, param: str) -> Path:
        """Keep an image that can be read; return its path.

        Raises:
            Refusal: It is no image, or has too many pixels.
        """
        # Pillow goes by the content too, and some of its other readers start programs.
        suffix = next(
            (suffix for magic, suffix in _FORMATS.items() if re.match(magic, data, re.DOTALL)), None
        )
        if suffix is None:
            raise _unreadable(param)
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}{suffix}"
        if path.exists():
            os.utime(path)
            return path
        self._make_room(len(data))
        try:
            with suppress(FileExistsError):
                write_atomically(path, data)
        except ZooError as error:  # a full disk; the message names the path
            log_failure(error)
            raise Refusal(
                "The server has no room for the image.",
                "Tell whoever runs it: its log has the details.",
                status=507,
                param=param,
            ) from None
        try:
            width, height = image_size(path)
            if width * height <= self.limits.image_pixels:
                read_image(path, keep_alpha=True)
                return path
            problem = Refusal(
                f"{param} has {width} × {height} pixels.",
                f"Send at most {self.limits.image_pixels:,}.",
                param=param,
            )
        except ZooError:  # its message names the path, which is no business of a client
            problem = _unreadable(param)
        path.unlink(missing_ok=True)
        raise problem

    def _make_room(self, needed: int) -> None:
        """Delete the images that were used least recently, where the folder grows too large."""
        if not self.folder.is_dir():
            return
        files = [(entry.stat(), Path(entry.path)) for entry in os.scandir(self.folder) if entry.is_file()]
        files.sort(key=lambda each: each[0].st_mtime)
        total = needed + sum(stat.st_size for stat, _ in files)
        for stat, path in files:
            if total <= self.limits.upload_bytes:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


def _unreadable(param: str) -> Refusal:
    return Refusal(f"{param} cannot be read as an image.", "Send a PNG, JPEG, WebP, GIF or BMP.", param=param)


def _is_file(text: str) -> bool:
    with suppress(OSError, ValueError):
        return len(text) < 4096 and os.path.isfile(text)
    return False
