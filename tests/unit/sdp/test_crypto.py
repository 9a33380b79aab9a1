import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.sdp.crypto import (
    CryptoLine,
    UnusableCrypto,
    attributes,
    crypto_value,
    fresh_keys,
    parse_crypto,
    usable_lines,
    without_keys,
)

KEY = bytes(range(30))
INLINE = "inline:" + base64.b64encode(KEY).decode()
SHA1_80 = "AES_CM_128_HMAC_SHA1_80"


@pytest.mark.parametrize(
    ("value", "mki_bytes"),
    [
        (f"1 {SHA1_80} {INLINE}", 0),
        (f"1  {SHA1_80.lower()}  {INLINE} ", 0),
        (f"1 {SHA1_80} {INLINE}|2^31", 0),
        (f"1 {SHA1_80} {INLINE}|1048576", 0),
        (f"1 {SHA1_80} {INLINE}|1:1", 1),
        (f"1 {SHA1_80} {INLINE}|2^31|1:1", 1),
        (f"1 {SHA1_80} {INLINE}|2^20|1066:4", 4),
        (f"1 {SHA1_80} {INLINE} WSH=64 KDR=0 -X", 0),
    ],
)
def test_usable_lines(value: str, mki_bytes: int) -> None:
    assert parse_crypto(value) == CryptoLine("1", "AES_CM_128_HMAC_SHA1_80", KEY, mki_bytes)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "needs a tag"),
        (f"x {SHA1_80} {INLINE}", "needs a tag"),
        (f"1 F8_128_HMAC_SHA1_80 {INLINE}", "suite F8_128_HMAC_SHA1_80 is not known"),
        (f"1 {SHA1_80} {INLINE[:-4]}", "has 27 bytes, not 30"),
        (f"1 AEAD_AES_256_GCM {INLINE}", "has 30 bytes, not 44"),
        (f"1 {SHA1_80} inline:!!!", "not base64"),
        (f"1 {SHA1_80} uri:x", "not inline"),
        (f"1 {SHA1_80} {INLINE};{INLINE}", "several keys"),
        (f"1 {SHA1_80} {INLINE}|x", "neither lifetime nor MKI"),
        (f"1 {SHA1_80} {INLINE}|1:0", "neither lifetime nor MKI"),
        (f"1 {SHA1_80} {INLINE} UNENCRYPTED_SRTP", "session parameter UNENCRYPTED_SRTP"),
        (f"1 {SHA1_80} {INLINE} UNENCRYPTED_SRTCP", "UNENCRYPTED_SRTCP"),
        (f"1 {SHA1_80} {INLINE} UNAUTHENTICATED_SRTP", "UNAUTHENTICATED_SRTP"),
        (f"1 {SHA1_80} {INLINE} KDR=1", "KDR=1"),
        (f"1 {SHA1_80} {INLINE} {INLINE}", "session parameter of an unknown kind"),
        (f"1 {SHA1_80} {INLINE} FEC_ORDER=FEC_SRTP", "FEC_ORDER"),
    ],
)
def test_what_cant_be_taken_is_named_without_its_key(value: str, why: str) -> None:
    with pytest.raises(UnusableCrypto, match=why) as error:
        parse_crypto(value)
    assert INLINE[7:30] not in str(error.value)


def test_the_usable_lines_in_their_order() -> None:
    lines, problems = usable_lines(["1 NEW inline:x", f"2 {SHA1_80} {INLINE}", "3 x"])
    assert [line.tag for line in lines] == ["2"]
    assert len(problems) == 2


def test_our_lines_are_usable() -> None:
    keys = fresh_keys()
    lines, problems = usable_lines(attributes(keys, None))
    assert problems == []
    assert {line.suite: line.key for line in lines} == keys
    assert [line.tag for line in lines] == ["1", "2", "3", "4"]
    assert lines[0].suite == "AES_CM_128_HMAC_SHA1_80"
    assert len({line.key for line in lines}) == 4
    first, *_ = usable_lines(attributes(keys, "AEAD_AES_128_GCM"))[0]
    assert first.suite == "AEAD_AES_128_GCM"
    assert fresh_keys() != keys


def test_keys_are_never_shown() -> None:
    value = crypto_value("1", "AES_CM_128_HMAC_SHA1_80", KEY)
    assert repr(KEY) not in repr(parse_crypto(value))
    shown = without_keys(f"a=sendrecv\r\na=crypto:{value}|2^31|1:1\r\na=ptime:20\r\n")
    assert shown == f"a=sendrecv\r\na=crypto:1 {SHA1_80} inline:***|2^31|1:1\r\na=ptime:20\r\n"


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_line_breaks_us(value: str, more: str) -> None:
    lines, problems = usable_lines([value, f"1 {SHA1_80} {INLINE}{more}"])
    assert len(lines) + len(problems) == 2
