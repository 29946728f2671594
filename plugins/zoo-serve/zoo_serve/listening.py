"""The sockets of a server, bound before anything is loaded."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace

from zoo_core import ZooError
from zoo_serve.config import ServerConfig

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(config: ServerConfig) -> tuple[ServerConfig, list[socket.socket]]:
    """Listen on the addresses of the host; return the settings with the port, which 0 leaves to the system.

    Raises:
        ZooError: The port is in use or not allowed, or the host is not this machine.
    """
    sockets: list[socket.socket] = []
    port = config.port
    try:
        found = socket.getaddrinfo(config.host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, str(place[0])) for family, *_, place in found):
            try:
                sockets.append(socket.create_server((address, port), family=family))
            except OSError as error:  # of localhost's two addresses a machine may have one
                if error.errno not in _ABSENT:
                    raise
                continue
            port = sockets[-1].getsockname()[1]
    except OSError as error:
        raise _refusal(config, error) from None
    if not sockets:
        raise _refusal(config, OSError())
    return replace(config, port=port), sockets


def _refusal(config: ServerConfig, error: OSError) -> ZooError:
    if error.errno == errno.EADDRINUSE:
        remedy = f"Choose another: --port {config.port + 1 if config.port < 65535 else 8484}"
        return ZooError(f"Port {config.port} of {config.host} is in use.", remedy)
    if error.errno == errno.EACCES:
        return ZooError(f"This user may not listen on port {config.port}.", "Choose another: --port 8484")
    return ZooError(f"{config.host} is not an address of this machine.", "Leave out --host, or give 0.0.0.0.")
