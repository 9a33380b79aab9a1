"""The listening socket, taken before anything else is loaded."""

import os
import socket

from active_call.core.errors import ConfigError

_BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket: clients queue from now on. Raises ConfigError if the address can't be had.

    Its port may be shared (SO_REUSEPORT), so that a new process can take over before the old one has ended.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        why = os.strerror(error.errno or 0)
        raise ConfigError(
            f"http_addr: can't listen on {host} port {port}: {why}; choose another with --http"
        ) from None
    sock.setblocking(False)
    return sock
