import pytest

from active_call.core.urls import MASK
from active_call.records.masking import mask, mask_info, mask_text


@pytest.mark.parametrize(
    "key", ["secretKey", "secret_id", "apiKey", "api_key", "password", "Authorization", "accessKey", "token"]
)
def test_telling_keys_are_masked_at_any_depth(key: str) -> None:
    assert mask({"a": [{key: "hush", "b": 1}]}) == {"a": [{key: MASK, "b": 1}]}


def test_absent_secrets_stay_absent() -> None:
    assert mask({"password": None}) == {"password": None}


def test_everything_under_a_telling_key_is_masked() -> None:
    assert mask({"secrets": ["one", "two"]}) == {"secrets": [MASK, MASK]}


def test_srtp_keys_leave_sdp() -> None:
    line = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abcDEF+/0123=|2^20"
    assert mask({"sdp": line}) == {"sdp": f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{MASK}|2^20"}


def test_credentials_leave_sip_headers_folded_or_not() -> None:
    message = "INVITE sip:a SIP/2.0\r\nProxy-Authorization: Digest\r\n response=xyz\r\nTo: b\r\n\r\n"
    assert mask_text(message) == f"INVITE sip:a SIP/2.0\r\nProxy-Authorization: {MASK}\r\nTo: b\r\n\r\n"


def test_header_names_with_hyphens_are_telling_too() -> None:
    assert mask({"headers": {"X-Api-Key": "hush"}}) == {"headers": {"X-Api-Key": MASK}}


def test_secrets_in_urls_are_masked() -> None:
    url = "https://user:hush@example.com/x?api_key=hush&room=7#top"
    assert mask_text(url) == f"https://user:{MASK}@example.com/x?api_key={MASK}&room=7#top"
    assert mask_text("see https://example.com:8080/a@b?q=1") == "see https://example.com:8080/a@b?q=1"


def test_numbers_of_tokens_are_no_secret() -> None:
    assert mask({"max_tokens": 200, "password": 1234}) == {"max_tokens": 200, "password": MASK}


def test_the_text_of_a_playbook_may_hold_keys() -> None:
    told = mask({"option": {"playbook": "---\nllm: {apiKey: sk-123}\n---\nHi"}, "name": {"playbook": "a.md"}})

    assert "sk-123" not in str(told)
    assert told["name"] == {"playbook": "a.md"}


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("Signal=5\r\nDuration=160", "Signal=*\r\nDuration=160"),
        ("Signal= #\r\n", "Signal=*\r\n"),
        ("signal: 11\r\nduration=1", "signal:*\r\nduration=1"),
        ("5", "*"),
    ],
)
def test_keys_in_info_are_masked(body: str, left: str) -> None:
    head = "INFO sip:a SIP/2.0\r\nCall-ID: 5\r\nContent-Type: application/dtmf-relay\r\n\r\n"
    assert mask_info(head + body) == head + left


@pytest.mark.parametrize(
    "message",
    [
        "INFO sip:a SIP/2.0\r\nContent-Type: text/plain\r\n\r\nSignal=5",
        "MESSAGE sip:a SIP/2.0\r\nContent-Type: application/dtmf\r\n\r\n5",
        "INFO sip:a SIP/2.0\r\nc: application/dtmf",
    ],
)
def test_other_messages_are_left_alone(message: str) -> None:
    assert mask_info(message) == message
