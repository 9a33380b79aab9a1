"""Programs that tests start."""

import socket
import subprocess
import time
from collections.abc import Callable


def end(process: subprocess.Popen[bytes], seconds: float = 10.0) -> None:
    """Ask it to end, and make it end if it doesn't; harmless if it has."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


def wait_listening(process: subprocess.Popen[bytes], port: int, log: Callable[[], str]) -> None:
    """Until it takes TCP connections at a port of 127.0.0.1. Raises RuntimeError with the end of its log."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{process.args!r} does not start:\n{log()[-3000:]}") from None
            time.sleep(0.05)
        else:
            return
