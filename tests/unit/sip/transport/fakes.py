"""Streams without sockets."""

import asyncio
from typing import Any


class FakeStream(asyncio.Transport):
    """In the place of a socket: notes what is written."""

    def __init__(self, peer: tuple[str, int], certificate: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.peer = peer
        self.certificate = certificate
        self.written: list[bytes] = []
        self.unread = 0
        self.protocol: asyncio.Protocol | None = None
        self.closing = False
        self.aborted = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self if self.certificate is not None else None
        return self.peer if name == "peername" else default

    def getpeercert(self) -> dict[str, Any] | None:
        return self.certificate

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing and self.protocol is not None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        self.closing = True

    def abort(self) -> None:
        self.aborted = True
        self.close()
