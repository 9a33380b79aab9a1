import logging

import pytest

from active_call.core.log import TRACE
from active_call.sip.hop import Hop
from active_call.sip.trace import Trace, without_secrets

PEER = Hop("10.0.0.9", 5061, "tls", "pbx.example")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b'Authorization: Digest username="u", response="s3cret"', b"Authorization: <hidden>"),
        (b"proxy-authorization : Digest a,\r\n s3cret", b"proxy-authorization : <hidden>"),
        (
            b"a=crypto:1 AEAD_AES_128_GCM inline:s3cret|2^31",
            b"a=crypto:1 AEAD_AES_128_GCM inline:<hidden>|2^31",
        ),
        (b"a=crypto:1 X inline:s3cret;inline:s3cret2", b"a=crypto:1 X inline:<hidden>;inline:<hidden>"),
        (b"a=CRYPTO:2 X INLINE:s3cret", b"a=CRYPTO:2 X INLINE:<hidden>"),
        (b"X-Note: inline:fine", b"X-Note: inline:fine"),
    ],
)
def test_secrets_are_hidden(line: bytes, shown: bytes) -> None:
    message = b"INVITE sip:x SIP/2.0\r\n%s\r\nCall-ID: 1\r\n\r\n"
    assert without_secrets(message % line) == message % shown


def test_messages_are_shown_with_call_transport_and_peer(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[object, ...]] = []
    trace = Trace(lambda *message: seen.append(message))
    with caplog.at_level(TRACE, "active_call.sip.trace"):
        trace.note(">", b"BYE sip:x SIP/2.0\r\ni: c1\r\n\r\n", PEER, 1.5)
    assert seen == [(">", b"BYE sip:x SIP/2.0\r\ni: c1\r\n\r\n", 1.5, "c1", Hop("10.0.0.9", 5061, "tls"))]
    assert caplog.records[0].getMessage().startswith("> 10.0.0.9:5061 over TLS\nBYE")


def test_keep_alives_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[object] = []
    with caplog.at_level(logging.NOTSET):
        Trace(lambda *message: seen.append(message)).note("<", b"\r\n\r\n", PEER, 0.0)
    assert seen == []
