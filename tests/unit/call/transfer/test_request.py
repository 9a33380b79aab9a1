"""A peer's REFER."""

from typing import cast

import pytest

from active_call.call.leg import MediaPolicy, SipLeg
from active_call.call.transfer.request import TransferRequest
from active_call.media.supervisor import MediaPlane
from active_call.sip.agent import SipCall
from active_call.sip.events import ReferReceived
from tests.unit.call.fakes import NotingSip
from tests.unit.media.fakes import NotingPlane


def made(event: ReferReceived) -> tuple[TransferRequest, NotingSip]:
    sip = NotingSip()
    leg = SipLeg.open(cast("MediaPlane", NotingPlane()), "192.0.2.1", MediaPolicy())
    leg.negotiate(cast("SipCall", sip))
    return TransferRequest(leg, event), sip


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("sip:carol@example.com", True),
        ("<sip:carol@Example.com;transport=tcp>", True),
        ('"Carol" <sip:carol@example.com:5080>', True),
        ("sip:dave@example.com", False),
        ("sip:carol@example.net", False),
    ],
)
def test_the_same_party_is_known_by_user_and_host(target: str, same: bool) -> None:
    request, _ = made(ReferReceived("sip:carol@example.com", None, None))
    assert request.asks_for(target) is same


def test_it_is_told_of_progress_once() -> None:
    request, sip = made(ReferReceived("sip:carol@example.com", None, None))
    for status in (180, 180, 200, 486):
        request.tell(status, "so")
    request.decline()
    assert sip.done == ["notify 180 so", "notify 200 so final"]


def test_the_new_call_says_who_asked_and_what_it_replaces() -> None:
    request, _ = made(ReferReceived("sip:carol@example.com", "<sip:a@b>", "x;to-tag=1;from-tag=2"))
    assert request.headers == {"Referred-By": "<sip:a@b>", "Replaces": "x;to-tag=1;from-tag=2"}
    assert made(ReferReceived("sip:carol@example.com", None, None))[0].headers == {}
