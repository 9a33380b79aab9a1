from collections.abc import Sequence

import pytest

from active_call.outbound.errors import FetchError, GuardError
from active_call.outbound.guard import Guard, Origin, OutboundPolicy
from active_call.outbound.resolver import Resolver
from active_call.testing.clock import run


def addresses(host: str, found: Sequence[str] | Exception, origin: Origin) -> list[str]:
    async def resolve(host: str, port: int) -> list[str]:
        if isinstance(found, Exception):
            raise found
        return list(found)

    return run(Resolver(Guard(OutboundPolicy()), resolve).addresses(host, 80, origin))


def test_a_public_name_of_a_private_host_is_refused() -> None:
    with pytest.raises(GuardError, match=r"rebound\.example: its address 127\.0\.0\.1 is in a private network"):
        addresses("rebound.example", ["127.0.0.1"], Origin.CALL)
    assert addresses("rebound.example", ["127.0.0.1"], Origin.CLIENT) == ["127.0.0.1"]


def test_only_allowed_addresses_are_left() -> None:
    found = ["10.0.0.1", "93.184.216.34", "::ffff:127.0.0.1"]
    assert addresses("a.example", found, Origin.CALL) == ["93.184.216.34"]
    assert addresses("a.example", found, Origin.OPERATOR) == found


def test_an_address_is_its_own() -> None:
    assert addresses("::1", OSError("not asked"), Origin.OPERATOR) == ["::1"]
    with pytest.raises(GuardError):
        addresses("::1", OSError("not asked"), Origin.CALL)


@pytest.mark.parametrize("error", [OSError("Name or service not known"), UnicodeError("label too long")])
def test_a_name_without_address(error: Exception) -> None:
    with pytest.raises(FetchError, match=f"a.example: can't be found: {error}"):
        addresses("a.example", error, Origin.OPERATOR)
