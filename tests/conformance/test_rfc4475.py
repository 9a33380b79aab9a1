"""SIP torture messages (RFC 4475): what our server does with each.

The RFC's own files are used where the test data has them; for the others there are messages of their kind.
"""

import os
from pathlib import Path

import pytest

from active_call.sip.hop import Hop
from active_call.sip.messages.message import BadMessage, Request, Response, parse_message
from active_call.sip.messages.uri import SipUri
from tests.unit.sip.support import BOB, OFFER, Agent, message

DATA = Path(os.environ.get("ACTIVE_CALL_TEST_DATA", Path(__file__).parents[2] / "../shared/data")) / "rfc4475"
SOURCE = Hop("192.0.2.1", 5060)

DROPPED = 0
CALL = 100

FILES = {
    "badaspec": 400,  # spaces within the URI of To
    "baddate": CALL,  # a Date that we don't use is no reason to refuse a call
    "badinv01": 400,  # empty parameters in Via and Contact
    "bcast": DROPPED,  # a response with two Vias isn't for us
    "bigcode": DROPPED,
    "cparam01": 405,  # we are no registrar
    "dblreq": 405,  # a REGISTER; what follows it in the datagram doesn't count
    "esc02": 501,  # RE%47IST%45R is not REGISTER
    "escruri": 400,  # headers in the Request-URI
    "intmeth": 501,  # valid, with a method of strange characters
    "invut": 415,  # unknown Content-Type
    "ltgtruri": 400,
    "lwsruri": 400,
    "mcl01": 400,  # two Content-Lengths
    "mismatch02": 501,  # CSeq differs from a method that we don't know
    "multi01": 400,  # two of everything
    "noreason": DROPPED,  # valid, but it answers nothing
    "quotbal": 400,  # an open quote
    "regbadct": 400,  # Contact with ? but without brackets
    "scalar02": 400,  # CSeq and more out of range
    "sdp01": 406,  # Accept without SDP
    "test": DROPPED,  # no Via
    "trws": 400,  # space after the version
    "unksm2": 405,  # strange URI schemes in From and To are no concern of ours
    "wsinv": 481,  # valid in spite of all the white space; To has a tag, of a dialog that we don't have
}


def outcome(data: bytes) -> int:
    """The first status that a fresh server answers; it must be alive afterwards."""
    agent = Agent(BOB)
    said = agent.hear(data, source=SOURCE)
    assert agent.statuses(message("OPTIONS", branch="z9hG4bKalive", call_id="alive")) == [200]
    if not said:
        return DROPPED
    assert isinstance(said[0], Response)
    assert bool(agent.incoming) is (said[0].status == CALL)
    return said[0].status


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no RFC 4475 messages in {DATA}")
@pytest.mark.parametrize("name", FILES)
def test_files_of_the_rfc(name: str) -> None:
    assert outcome((DATA / f"{name}.dat").read_bytes()) == FILES[name]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no RFC 4475 messages in {DATA}")
def test_every_file_has_its_outcome() -> None:
    assert {path.stem for path in DATA.glob("*.dat")} == set(FILES)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no RFC 4475 messages in {DATA}")
@pytest.mark.parametrize("name", ["wsinv", "intmeth", "esc02", "cparam01", "unksm2", "noreason"])
def test_valid_files_round_trip(name: str) -> None:
    parsed = parse_message((DATA / f"{name}.dat").read_bytes())
    assert parse_message(bytes(parsed)) == parsed


def changed(data: bytes, *changes: tuple[str, str]) -> bytes:
    for old, new in changes:
        assert old.encode() in data
        data = data.replace(old.encode(), new.encode("utf-8", "surrogateescape"))
    return data


VIA = "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1"
CONTACT = "Contact: <sip:alice@10.0.0.1:5060>"
TO = "To: <sip:bob@10.0.0.2>"
OPTIONS = message("OPTIONS")
INVITE = message("INVITE", body=OFFER)
REGISTER = message("REGISTER")

EQUIVALENTS = {
    # --- valid (§3.1.1) ---
    "escapes in user parts": (
        message("INVITE", uri="sip:sips%3Auser%40example.com@example.net", body=OFFER),
        CALL,
    ),
    "escaped nulls": (
        changed(REGISTER, (CONTACT, "Contact: <sip:%00@host>\r\nContact: <sip:%00%00@host>")),
        405,
    ),
    "no space before the bracket": (changed(OPTIONS, ("From: <", "From: caller<")), 200),
    "long values": (
        changed(
            message("INVITE", headers=f"Unknown-{'long' * 20}: {'value ' * 500}\r\n", body=OFFER),
            ("From: <", f'From: "{"name " * 200}" <'),
            ("Call-ID: c1", f"Call-ID: {'long' * 100}"),
            (VIA, ", ".join([VIA, *(f"SIP/2.0/TCP sip{n}.example.com" for n in range(40))])),
        ),
        CALL,
    ),
    "semicolons in the user part": (message("OPTIONS", uri="sip:user;par=u%40example.net@example.com"), 200),
    "varied transports": (
        changed(
            OPTIONS,
            (
                f"Via: {VIA}",
                "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKk\r\nVia: SIP/2.0/SCTP t2.example.com\r\n"
                "Via: SIP/2.0/TLS t3.example.com;branch=z\r\nVia: SIP/2.0/UNKNOWN t4.example.com;branch=y",
            ),
        ),
        200,
    ),
    "a signed multipart body": (
        changed(
            message(
                "MESSAGE",
                body=b"--7a9\r\nContent-Type: text/plain\r\n\r\nHi\r\n--7a9\r\n\r\n\x00\xff\r\n--7a9--",
            ),
            ("application/sdp", "multipart/signed;boundary=7a9"),
        ),
        405,
    ),
    # --- invalid (§3.1.2) ---
    "Content-Length beyond the end": (
        changed(INVITE, (f"Content-Length: {len(OFFER)}", "Content-Length: 9999")),
        400,
    ),
    "negative Content-Length": (
        changed(INVITE, (f"Content-Length: {len(OFFER)}", "Content-Length: -999")),
        400,
    ),
    "space before the method": (b" " + OPTIONS, 400),
    "several spaces in the request line": (changed(OPTIONS, ("OPTIONS sip:", "OPTIONS  sip:")), 400),
    # Quotes that are missing there may be inferred: a caller's name is no reason to lose its call.
    "a comma in an unquoted name": (changed(OPTIONS, ("From: <", "From: Bell, Alexander <")), 200),
    "unknown version": (changed(OPTIONS, ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia")), 505),
    "CSeq of another known method": (message("OPTIONS", cseq_method="INVITE"), 400),
    "an overlarge Max-Forwards": (changed(REGISTER, ("Max-Forwards: 70", "Max-Forwards: 300")), 400),
    # --- transactions (§3.2) ---
    "a branch of nothing but the cookie": (changed(OPTIONS, ("z9hG4bK1", "z9hG4bK")), 200),
    # --- applications (§3.3) ---
    "nothing but Via and CSeq": (
        f"INVITE sip:x@y SIP/2.0\r\nVia: {VIA}\r\nCSeq: 1 INVITE\r\n\r\n".encode(),
        400,
    ),
    "unknown scheme": (message("OPTIONS", uri="nobodyKnowsThisScheme:totallyopaquecontent"), 416),
    "known but odd scheme": (message("OPTIONS", uri="soap.beep://192.0.2.103:3002"), 416),
    "unknown extensions": (
        message("OPTIONS", headers="Require: nothingSupportsThis, norThis\r\nProxy-Require: noProxyEither\r\n"),
        420,
    ),
    "unknown authorization": (
        message("REGISTER", headers="Authorization: NoOneKnowsThisScheme opaque=x\r\n"),
        405,
    ),
    "Max-Forwards 0 at its destination": (changed(OPTIONS, ("Max-Forwards: 70", "Max-Forwards: 0")), 200),
    "a bracketed Contact parameter": (
        changed(REGISTER, (CONTACT, "Contact: <sip:+1@gw.example.net;unknown>")),
        405,
    ),
    "escaped headers in Contact": (
        changed(REGISTER, (CONTACT, "Contact: <sip:u@e.com?Route=%3Csip:s.e.com%3E>")),
        405,
    ),
    # --- RFC 2543 (§3.4) ---
    "an INVITE as of 1999": (
        b"INVITE sip:UserB@example.com SIP/2.0\r\nVia: SIP/2.0/UDP iftgw.example.com\r\n"
        b"From: <sip:+13035551111@ift.client.example.net;user=phone>\r\n"
        b"Record-Route: <sip:UserB@example.com;maddr=ss1>\r\n"
        b"To: sip:+16505552222@ss1.example.net;user=phone\r\nCall-ID: inv2543.1717@ift\r\nCSeq: 56 INVITE\r\n"
        b"Content-Type: application/sdp\r\n\r\n" + OFFER,
        CALL,
    ),
}


@pytest.mark.parametrize("name", EQUIVALENTS)
def test_messages_of_the_same_kind(name: str) -> None:
    data, expected = EQUIVALENTS[name]
    assert outcome(data) == expected


def test_unsupported_extensions_are_listed() -> None:
    (response,) = Agent(BOB).hear(EQUIVALENTS["unknown extensions"][0])
    assert response.headers.get("unsupported") == "nothingSupportsThis, norThis"


def test_escaped_nulls_stay_escaped() -> None:
    assert SipUri.parse("sip:null-%00-null@example.com").user == "null-%00-null"


def test_a_reason_phrase_of_any_characters() -> None:
    line = "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое"
    parsed = parse_message(f"{line}\r\n\r\n".encode())
    assert isinstance(parsed, Response)
    assert parsed.start_line == line


@pytest.mark.parametrize(
    "headers", ["CSeq: 9292394834772304023312 OPTIONS\r\n", "CSeq: 2147483648 OPTIONS\r\n"]
)
def test_a_response_with_overlarge_numbers_is_dropped(headers: str) -> None:
    data = (
        f"SIP/2.0 503 x\r\nVia: {VIA}\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\n{headers}\r\n"
    )
    assert outcome(data.encode()) == DROPPED


def test_the_second_request_of_a_datagram_does_not_count() -> None:
    agent = Agent(BOB)
    assert [one.start_line[:11] for one in agent.hear(OPTIONS + b"\r\n\r\n" + INVITE)] == ["SIP/2.0 200"]
    assert agent.incoming == []


def test_no_prefix_of_a_message_does_harm() -> None:
    for data in (INVITE, OPTIONS, REGISTER):
        for length in range(0, len(data), 7):
            agent = Agent(BOB)
            agent.hear(data[:length])
            try:
                parsed = parse_message(data[:length])
            except BadMessage:
                continue
            assert isinstance(parsed, Request)
