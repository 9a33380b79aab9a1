"""The least that a media plane must do: per call and 20 ms, one `recv` and one `send` of 172 bytes.

`python bareloop.py CALLS SECONDS` prints the ports of its UDP sockets, reads those of its peers from standard
input, connects to them, and prints its CPU in ms per call-second at the end.
"""

import json
import resource
import socket
import sys
import time

PACKET = bytes(172)
TICK_NS = 20_000_000


def main(calls: int, seconds: float) -> None:
    """Set up, exchange ports, run."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(calls)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    print(json.dumps([sock.getsockname()[1] for sock in sockets]), flush=True)
    for sock, port in zip(sockets, json.loads(sys.stdin.readline()), strict=True):
        sock.connect(("127.0.0.1", port))
    exchange(sockets, 3.0)
    used = exchange(sockets, seconds)
    print(used / 1e6 / (calls * seconds))


def exchange(sockets: list[socket.socket], seconds: float) -> int:
    """Run for so long; the CPU it took, in nanoseconds."""
    cpu = time.process_time_ns()
    deadline = time.monotonic_ns()
    end = deadline + int(seconds * 1e9)
    while deadline < end:
        deadline += TICK_NS
        for sock in sockets:
            try:
                sock.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                pass
        wait = deadline - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait / 1e9)
        for sock in sockets:
            try:
                sock.send(PACKET)
            except (BlockingIOError, ConnectionRefusedError):
                pass
    return time.process_time_ns() - cpu


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
