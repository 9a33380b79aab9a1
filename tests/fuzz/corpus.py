"""What fuzzing starts from: proper SIP messages and descriptions of every kind that we handle."""

import os
from pathlib import Path

_DATA = Path(os.environ.get("ACTIVE_CALL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

OFFERS = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8 9 96 101\r\na=rtpmap:96 opus/48000/2\r\n"
    b"a=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:60\r\na=rtcp-mux\r\na=rtcp:4001\r\na=sendrecv\r\n",
    b"v=0\r\no=x 99 2 IN IP6 2001:db8::1\r\ns=talk\r\nc=IN IP6 2001:db8::1\r\nb=AS:80\r\nt=0 0\r\n"
    b"a=inactive\r\nm=video 0 RTP/AVP 31\r\nm=audio 4000 RTP/SAVP 18 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 "
    b"inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4\r\na=crypto:2 AEAD_AES_256_GCM "
    b"inline:HGAPy4Cedy/qumbZvpuCZSVT7rNDk8vG4TdUXp5hkyWqJCqiLRGab0KJy1g=\r\n",
    b"v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 0.0.0.0\n"
    b"a=rtpmap:111 opus/48000/2\na=ice-ufrag:x\na=ice-pwd:y\na=fingerprint:sha-256 AB:CD\na=setup:actpass\n",
)


def _message(start: str, *headers: str, body: bytes = b"", kind: str = "application/sdp") -> bytes:
    lines = [start, *headers]
    if body:
        lines.append(f"Content-Type: {kind}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_COMMON = (
    "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKfuzz;rport",
    "Max-Forwards: 70",
    'From: "Alice" <sip:alice@10.0.0.1>;tag=f1',
    "To: <sip:bob@10.0.0.2>",
    "Call-ID: fuzz@10.0.0.1",
    "Contact: <sip:alice@10.0.0.1:5060;transport=udp>",
)
_TAGGED = (*_COMMON[:3], "To: <sip:bob@10.0.0.2>;tag=LOCALTAG", *_COMMON[4:])

MESSAGES = (
    _message("INVITE sip:bob@10.0.0.2 SIP/2.0", *_COMMON, "CSeq: 1 INVITE", body=OFFERS[0]),
    _message(
        "INVITE sips:bob@10.0.0.2;transport=tls SIP/2.0",
        *_COMMON,
        "CSeq: 1 INVITE",
        "Supported: 100rel, timer, replaces",
        "Session-Expires: 90;refresher=uas",
        "Min-SE: 90",
        "Replaces: abc@x;to-tag=1;from-tag=2;early-only",
        "Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>",
        "P-Asserted-Identity: <tel:+123456789>",
        body=OFFERS[1],
    ),
    _message("INVITE sip:bob@10.0.0.2 SIP/2.0", *_COMMON, "CSeq: 1 INVITE", "Require: 100rel"),
    _message("ACK sip:bob@10.0.0.2 SIP/2.0", *_TAGGED, "CSeq: 1 ACK", body=OFFERS[0]),
    _message("PRACK sip:bob@10.0.0.2 SIP/2.0", *_TAGGED, "CSeq: 2 PRACK", "RAck: 1 1 INVITE"),
    _message("BYE sip:bob@10.0.0.2 SIP/2.0", *_TAGGED, "CSeq: 9 BYE", 'Reason: Q.850;cause=16;text="bye"'),
    _message("CANCEL sip:bob@10.0.0.2 SIP/2.0", *_COMMON, "CSeq: 1 CANCEL"),
    _message("UPDATE sip:bob@10.0.0.2 SIP/2.0", *_TAGGED, "CSeq: 3 UPDATE", body=OFFERS[0]),
    _message(
        "INFO sip:bob@10.0.0.2 SIP/2.0",
        *_TAGGED,
        "CSeq: 4 INFO",
        body=b"Signal=5\r\nDuration=160",
        kind="application/dtmf-relay",
    ),
    _message("MESSAGE sip:bob@10.0.0.2 SIP/2.0", *_TAGGED, "CSeq: 5 MESSAGE", body=b"hello", kind="text/plain"),
    _message(
        "REFER sip:bob@10.0.0.2 SIP/2.0",
        *_TAGGED,
        "CSeq: 6 REFER",
        "Refer-To: <sip:carol@10.0.0.3?Replaces=abc%40x%3Bto-tag%3D1%3Bfrom-tag%3D2>",
        "Referred-By: <sip:alice@10.0.0.1>",
    ),
    _message(
        "NOTIFY sip:bob@10.0.0.2 SIP/2.0",
        *_TAGGED,
        "CSeq: 7 NOTIFY",
        "Event: refer",
        "Subscription-State: terminated;reason=noresource",
        body=b"SIP/2.0 200 OK\r\n",
        kind="message/sipfrag;version=2.0",
    ),
    _message("OPTIONS sip:bob@10.0.0.2 SIP/2.0", *_COMMON, "CSeq: 1 OPTIONS", "Accept: application/sdp"),
    _message("REGISTER sip:10.0.0.2 SIP/2.0", *_COMMON, "CSeq: 1 REGISTER", "Expires: 60"),
    _message(
        "SIP/2.0 401 Unauthorized",
        *_COMMON,
        "CSeq: 1 INVITE",
        'WWW-Authenticate: Digest realm="x", nonce="n", algorithm=SHA-256, qop="auth,auth-int", opaque="o"',
    ),
    _message(
        "SIP/2.0 183 Session Progress", *_TAGGED, "CSeq: 1 INVITE", "RSeq: 1", "Require: 100rel", body=OFFERS[0]
    ),
    _message("SIP/2.0 302 Moved", *_COMMON, "CSeq: 1 INVITE"),
    _message("SIP/2.0 200 OK", *_TAGGED, "CSeq: 1 INVITE", "Session-Expires: 90;refresher=uac", body=OFFERS[0]),
)


def torture() -> tuple[bytes, ...]:
    """The messages of RFC 4475, where the data folder is there."""
    return tuple(path.read_bytes() for path in sorted((_DATA / "rfc4475").glob("*.dat")))
