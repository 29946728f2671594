"""What a server is started with: addresses, who may use it, and its limits."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from zoo_core import OptionError

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Limits:
    """Upper bounds on what one request may ask for."""

    body_bytes: int = 32 * 2**20
    body_seconds: float = 30
    """Time in which the body must arrive."""
    prompt_characters: int = 400_000
    samples: int = 128
    """Samples of one request: prompts × n."""
    image_pixels: int = 4096 * 4096
    upload_bytes: int = 2**30
    """Size of the folder of uploaded images; the oldest leave first."""


@dataclass(frozen=True)
class ServerConfig:
    """The settings of ``zoo serve``."""

    models: tuple[str, ...] = ()
    """Names of the only models to serve; empty: every model whose weights are on this machine."""
    host: str = "127.0.0.1"
    port: int = 8484
    token: str | None = None
    """What clients must send as ``Authorization: Bearer``; None: nothing."""
    host_names: tuple[str, ...] = ()
    """Names under which clients reach the server, beside localhost and IP addresses."""
    allow_hub: bool = False
    """Requests may name ``hf:`` repositories and models that must be downloaded."""
    device: str = "auto"
    dtype: str = "auto"
    adapter: str | None = None
    """A LoRA to merge into the weights of the one model that is served."""
    batch_size: int | None = None
    """Samples per batch; None: the model's preference."""
    memory: int | None = None
    """Bytes of weights that are loaded at a time; None: no limit."""
    queue: int = 256
    """Samples that may wait."""
    timeout: float = 600
    """Seconds until a request is given up."""
    grace: float = 60
    """Seconds that running answers get when the server is stopped."""
    limits: Limits = Limits()

    def check(self) -> None:
        """Refuse to be reachable by other machines without a token, and an adapter of several models.

        Raises:
            OptionError: The host is not this machine alone, and there is no token; or there is an adapter and
                not one model.
        """
        if self.adapter is not None and len(self.models) != 1:
            raise OptionError("An adapter changes one model.", "Name that: zoo serve MODEL --adapter NAME")
        if self.token is not None and len(self.token) < 8:
            raise OptionError("The token has fewer than 8 characters.", "Use a long random one.")
        if self.token is None and not is_loopback(self.host):
            raise OptionError(
                f"--host {self.host} lets other machines use this server, and there is no token.",
                "Set one: ZOO_SERVE_TOKEN=… zoo serve --host …",
            )


def is_loopback(host: str) -> bool:
    """Return True for addresses that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse_bytes(text: str) -> int:
    """Read a size such as ``8G``, ``512MB`` or ``1.5GiB``; a unit is a power of 1024.

    Raises:
        OptionError: It is not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if not found or float(found[1]) == 0:
        raise OptionError(f"{text!r} is not a size.", "Give one such as 8G or 512M.")
    return int(float(found[1]) * _UNITS[found[2]])
