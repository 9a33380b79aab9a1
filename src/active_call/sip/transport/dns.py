"""Questions to DNS and to this machine's own list of names, which never block the loop."""

import asyncio
import importlib
import ipaddress
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from active_call.sip.resolve import Answer, Naptr, NotFound, Record, Srv

if TYPE_CHECKING:
    import dns.asyncresolver

QUESTION_SECONDS = 4.0
_LOCAL_TTL = 60.0
_UNREACHABLE_TTL = 5.0
_MAX_THREADS = 8

HOSTS = Path("/etc/hosts")
CONFIGURATION = Path("/etc/resolv.conf")


class SystemDns:
    """`await dns(name, kind)`: /etc/hosts, then DNS, then whatever else getaddrinfo knows (mDNS, say)."""

    def __init__(self) -> None:
        self._hosts = _Fresh(HOSTS, _read_hosts)
        self._resolver = _Fresh(CONFIGURATION, _configured)
        self._threads = threading.BoundedSemaphore(_MAX_THREADS)

    @staticmethod
    def preload() -> None:
        """Import dnspython (100 ms) before the first question, without holding up who starts."""
        threading.Thread(target=importlib.import_module, args=("dns.asyncresolver",), daemon=True).start()

    async def __call__(self, name: str, kind: str) -> Answer:
        """The records. Raises NotFound."""
        if kind in ("A", "AAAA"):
            version = 4 if kind == "A" else 6
            addresses = [one for one in self._local(name) if ipaddress.ip_address(one).version == version]
            if addresses:
                return Answer(addresses, _LOCAL_TTL)
            if self._local(name):
                raise NotFound(f"/etc/hosts has no IPv{version} address", _LOCAL_TTL)
        try:
            return await self._dns(name, kind)
        except NotFound as error:
            if kind not in ("A", "AAAA") or error.ttl == _UNREACHABLE_TTL:
                raise
            return await self._system(name, kind, error)

    def _local(self, name: str) -> list[str]:
        hosts: dict[str, list[str]] = self._hosts.value or {}
        if name == "localhost":
            return ["127.0.0.1", "::1"]
        return hosts.get(name.lower(), [])

    async def _dns(self, name: str, kind: str) -> Answer:
        import dns.exception
        import dns.resolver

        resolver: dns.asyncresolver.Resolver | None = self._resolver.value
        if resolver is None:
            raise NotFound("no name server is configured")
        try:
            answer = await resolver.resolve(name, kind, lifetime=QUESTION_SECONDS, search=True)
        except dns.resolver.NXDOMAIN:
            raise NotFound("NXDOMAIN") from None
        except dns.resolver.NoAnswer:
            raise NotFound(f"no {kind} record") from None
        except dns.exception.Timeout:
            raise NotFound("the name server does not answer", _UNREACHABLE_TTL) from None
        except (dns.exception.DNSException, OSError, UnicodeError) as error:
            raise NotFound(str(error)[:200] or type(error).__name__, _UNREACHABLE_TTL) from None
        assert answer.rrset is not None
        return Answer([_record(kind, one) for one in answer], float(answer.rrset.ttl))

    async def _system(self, name: str, kind: str, instead: NotFound) -> Answer:
        """What getaddrinfo knows besides DNS. It may take long, so it gets a thread that nobody waits for."""
        family = socket.AF_INET if kind == "A" else socket.AF_INET6
        if not self._threads.acquire(blocking=False):
            raise instead
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[str]] = loop.create_future()

        def finish(found: list[str]) -> None:
            if not done.done():
                done.set_result(found)

        def work() -> None:
            try:
                entries = socket.getaddrinfo(name, None, family=family, type=socket.SOCK_DGRAM)
                found = list(dict.fromkeys(str(entry[4][0]) for entry in entries))
            except (OSError, UnicodeError):
                found = []
            finally:
                self._threads.release()
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, found)

        threading.Thread(target=work, name=f"look up {name[:40]}", daemon=True).start()
        found = await done
        if not found:
            raise instead
        return Answer(found, _LOCAL_TTL)


class _Fresh:
    """What a file says, read again when the file has changed."""

    def __init__(self, path: Path, read: Any) -> None:
        self._path = path
        self._read = read
        self._seen: float | None = -1.0
        self._value: Any = None

    @property
    def value(self) -> Any:
        """What `read` made of it."""
        try:
            changed: float | None = os.stat(self._path).st_mtime
        except OSError:
            changed = None
        if changed != self._seen:
            self._seen = changed
            self._value = self._read(self._path)
        return self._value


def _read_hosts(path: Path) -> dict[str, list[str]]:
    hosts: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return hosts
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            continue
        for name in names:
            hosts.setdefault(name.lower(), []).append(address)
    return hosts


def _configured(path: Path) -> "dns.asyncresolver.Resolver | None":
    import dns.asyncresolver
    import dns.exception

    try:
        return dns.asyncresolver.Resolver(filename=str(path))
    except (dns.exception.DNSException, OSError):
        return None


def _record(kind: str, record: Any) -> Record:
    if kind == "NAPTR":
        flags, service = record.flags.decode("latin-1"), record.service.decode("latin-1")
        replacement = record.replacement.to_text(omit_final_dot=True)
        return Naptr(record.order, record.preference, flags, service, replacement)
    if kind == "SRV":
        return Srv(record.priority, record.weight, record.port, record.target.to_text())
    return str(record.address)
