import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.records.ladder import DumpError, ladder

INVITE = (
    "< INVITE sip:agent@10.0.0.1 SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\n"
    "v=0\r\nc=IN IP4 10.1.0.2\r\nm=audio 4000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)
REFUSAL = (
    "> SIP/2.0 488 Not Acceptable Here\r\n"
    'Reason: SIP;cause=488;text="no common codec"\r\nCSeq: 1 INVITE\r\n\r\n'
)


def line(kind: str, content: str, ms: int, peer: str = "udp 10.1.0.2:5060") -> str:
    return json.dumps({"type": kind, "timestamp": ms, "content": content, "peer": peer})


def test_messages_are_arrows_with_seconds_since_the_first() -> None:
    shown = list(ladder([line("sip", INVITE, 1000), line("sip", REFUSAL, 1250)]))
    arrows = [one for one in shown if "►" in one or "◄" in one]
    assert arrows[0].startswith("    0.000  INVITE sip:agent@10.0.0.1 SDP ─")
    assert arrows[0].endswith("►")
    assert arrows[1].startswith("    0.250  ◄─")
    assert arrows[1].endswith("488 Not Acceptable Here (INVITE)")


def test_reasons_and_media_are_told_beside_them() -> None:
    text = "\n".join(ladder([line("sip", INVITE, 1000), line("sip", REFUSAL, 1250)]))
    assert "RTP/AVP at 10.1.0.2:4000 PCMU/8000" in text
    assert 'Reason: SIP;cause=488;text="no common codec"' in text
    assert "[1] udp 10.1.0.2:5060" in text


def test_events_that_explain_the_call_stand_between() -> None:
    hangup = json.dumps({"event": "hangup", "reason": "rejected"})
    speech = json.dumps({"event": "asrDelta", "text": "hello"})
    text = "\n".join(ladder([line("sip", INVITE, 0), line("event", speech, 1), line("event", hangup, 2)]))
    assert "* hangup reason=rejected" in text
    assert "asrDelta" not in text


def test_the_last_line_says_why_the_call_ended() -> None:
    party = json.dumps({"event": "hangup", "detail": "the callee hung up", "refer": True})
    call = json.dumps({"event": "hangup", "reason": "rejected", "detail": "no common codec"})
    lines = [line("sip", INVITE, 0), line("event", call, 1), line("event", party, 2), line("sip", REFUSAL, 3)]
    assert list(ladder(lines))[-1] == "ended: no common codec"


def test_legs_are_told_apart_by_their_number() -> None:
    bye = "> BYE sip:target@10.2.0.2 SIP/2.0\r\nCSeq: 2 BYE\r\n\r\n"
    text = "\n".join(ladder([line("sip", INVITE, 0), line("sip", bye, 1, "tls 10.2.0.2:5061")]))
    assert "[2] BYE sip:target@10.2.0.2" in text


def test_what_is_no_dump_is_named_by_its_line() -> None:
    with pytest.raises(DumpError, match="line 2"):
        list(ladder([line("sip", INVITE, 0), "not json"]))
    with pytest.raises(DumpError, match="empty"):
        list(ladder([]))


@given(st.lists(st.text(), max_size=5), st.text())
def test_any_text_gives_a_ladder_or_a_dump_error(lines: list[str], content: str) -> None:
    try:
        list(ladder([*lines, line("sip", content, 0), line("event", content, 1)]))
    except DumpError:
        pass
