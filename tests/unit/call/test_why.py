"""One sentence for each way in which a call fails."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.call.why import LONGEST, Silence, refusal, sentence, silence, words_of

NOTHING = Silence(8, 0, ours="203.0.113.5:12000", theirs="198.51.100.7:4000")


# --- the callee's answer --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "headers", "outcome"),
    [
        (486, "Busy Here", {}, "the callee answered 486 Busy Here"),
        (486, "", {}, "the callee answered 486 Busy Here"),
        (477, "", {}, "the callee answered 477"),
        (
            603,
            "Decline",
            {"Reason": 'SIP;cause=603;text="I am at \\"lunch\\""'},
            'the callee answered 603 Decline (I am at "lunch")',
        ),
        (
            480,
            "Temporarily Unavailable",
            {"reason": "Q.850;cause=20"},
            "the callee answered 480 Temporarily Unavailable (Q.850 cause 20, subscriber absent)",
        ),
        (500, "Error", {"Reason": "Q.850;cause=99"}, "the callee answered 500 Error (Q.850 cause 99)"),
        (
            488,
            "Not Acceptable Here",
            {"Warning": '304 pbx "no codec"'},
            "the callee answered 488 Not Acceptable Here (no codec); we offered PCMU over plain RTP",
        ),
        (404, "No such user", {"Warning": '399 x "No such user"'}, "the callee answered 404 No such user"),
    ],
)
def test_a_refusal_is_told_with_the_callees_words(
    status: int, reason: str, headers: dict[str, str], outcome: str
) -> None:
    assert refusal(status, reason, headers, offered="PCMU over plain RTP") == outcome


@given(st.integers(300, 699), st.text(), st.dictionaries(st.sampled_from(["Reason", "Warning"]), st.text()))
def test_whatever_is_answered_makes_a_sentence(status: int, reason: str, headers: dict[str, str]) -> None:
    text = refusal(status, reason, headers)
    assert text.startswith(f"the callee answered {status}")
    assert len(text) <= LONGEST
    assert "\n" not in text


def test_reason_comes_before_warning() -> None:
    assert words_of({"Warning": '399 x "second"', "Reason": 'SIP;text="first"'}) == "first"
    assert words_of({"Warning": '399 x "second"', "Reason": "SIP;cause=486"}) == "second"
    assert words_of({"Reason": '"never closed'}) == ""


# --- silence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (
            NOTHING,
            "no RTP arrived for 8 s; their SDP asked for audio at 198.51.100.7:4000, ours at 203.0.113.5:12000"
            ": does a firewall drop UDP, is external_ip right?",
        ),
        (
            replace(NOTHING, theirs="10.0.0.5:4000", private=True),
            "no RTP arrived for 8 s; their SDP asked for audio at 10.0.0.5:4000 (private): "
            "is a NAT or firewall in the way?",
        ),
        (
            replace(NOTHING, theirs="10.0.0.5:4000", private=True, latching=False),
            "no RTP arrived for 8 s; their SDP asked for audio at 10.0.0.5:4000 (private): "
            "is a NAT or firewall in the way, with enable_rtp_latching off?",
        ),
        (
            replace(NOTHING, stranger=400, latching=False),
            "no RTP arrived for 8 s; 400 packets came from elsewhere, "
            "not from 198.51.100.7:4000 as in their SDP (enable_rtp_latching is off)",
        ),
        (
            replace(NOTHING, rejected=400),
            "no RTP arrived for 8 s; 400 packets could not be decrypted: the SRTP keys don't fit",
        ),
        (
            replace(NOTHING, invalid=1),
            "no RTP arrived for 8 s; 1 packet came with no payload type that we agreed on",
        ),
        (
            replace(NOTHING, received=412, invalid=2),
            "no RTP arrived for 8 s, after 412 packets to our 203.0.113.5:12000; there was no BYE either",
        ),
        (
            replace(NOTHING, received=412, stranger=90),
            "no RTP arrived for 8 s, after 412 packets; 90 packets came from elsewhere, "
            "not from 198.51.100.7:4000 as in their SDP",
        ),
        (
            replace(NOTHING, theirs=""),
            "no RTP arrived for 8 s; their SDP asked for audio at no address that we reach, "
            "ours at 203.0.113.5:12000: does a firewall drop UDP, is external_ip right?",
        ),
    ],
)
def test_silence_is_told_with_what_came_instead(found: Silence, outcome: str) -> None:
    assert silence(found) == outcome


# --- any sentence ---------------------------------------------------------------------------------------


def test_a_sentence_stays_on_its_line_and_keeps_no_secret() -> None:
    text = sentence("webhook\n http://u:hunter2@h/?token=abc\t answered 500")
    assert text == "webhook http://u:**********@h/?token=********** answered 500"


def test_a_sentence_has_an_end() -> None:
    assert len(sentence("a" * 10_000)) == LONGEST
