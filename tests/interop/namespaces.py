"""Hosts of our own making: network namespaces, one of them behind a NAT.

inside 10.1.0.2 ── 10.1.0.1 nat 198.51.100.1 ── 198.51.100.2 (and .3) outside
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)

INSIDE, OUTSIDE, STRANGER, NAT = "10.1.0.2", "198.51.100.2", "198.51.100.3", "198.51.100.1"


def possible() -> bool:
    """Whether namespaces and NAT rules can be made here: root, iproute2, nftables."""
    return os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("nft") is not None


@dataclass(frozen=True)
class Hosts:
    """Names of the namespaces."""

    inside: str
    nat: str
    outside: str


@contextmanager
def natted_hosts() -> Iterator[Hosts]:
    """The three hosts; they go when the context ends."""
    hosts = Hosts(*(f"ac{os.getpid()}{name}" for name in ("in", "nat", "out")))
    made: list[str] = []
    try:
        for name in (hosts.inside, hosts.nat, hosts.outside):
            _run("ip", "netns", "add", name)
            made.append(name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        _link(hosts.inside, "eth0", f"{INSIDE}/24", hosts.nat, "lan", "10.1.0.1/24")
        _link(hosts.outside, "eth0", f"{OUTSIDE}/24", hosts.nat, "wan", f"{NAT}/24")
        _run("ip", "-n", hosts.outside, "addr", "add", f"{STRANGER}/24", "dev", "eth0")
        _run("ip", "-n", hosts.inside, "route", "add", "default", "via", "10.1.0.1")
        with entered(hosts.nat):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        rules = (
            "add table ip nat",
            "add chain ip nat post { type nat hook postrouting priority 100 ; }",
            'add rule ip nat post oifname "wan" masquerade random',
            "add table ip filter",
            "add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }",
            'add rule ip filter forward iifname "lan" accept',
            "add rule ip filter forward ct state established,related accept",
        )
        for rule in rules:
            _run("ip", "netns", "exec", hosts.nat, "nft", rule)
        yield hosts
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def lonely_host() -> Iterator[str]:
    """A host with nothing but its loopback; it goes when the context ends."""
    name = f"ac{os.getpid()}alone"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """Sockets and processes that this thread makes within belong to that host."""
    with open("/proc/thread-self/ns/net") as before, open(f"/var/run/netns/{name}") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(before.fileno())


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


def _link(one: str, one_name: str, one_address: str, other: str, other_name: str, other_address: str) -> None:
    _run(
        "ip", "link", "add", one_name, "netns", one, "type", "veth", "peer", "name", other_name, "netns", other
    )
    for host, name, address in ((one, one_name, one_address), (other, other_name, other_address)):
        _run("ip", "-n", host, "addr", "add", address, "dev", name)
        _run("ip", "-n", host, "link", "set", name, "up")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
