import pytest
from pydantic import ValidationError

from active_call.config import PlaybookHandler, WebhookHandler
from active_call.config.handler import user_part

LINES = PlaybookHandler.model_validate(
    {
        "type": "playbook",
        "default": "default.md",
        "rules": [
            {"caller": "^\\+1\\d{10}$", "callee": "^sip:support@.*", "playbook": "support.md"},
            {"caller": "^\\+86\\d+", "playbook": "chinese.md"},
            {"callee": "^sip:sales@.*", "playbook": "sales.md"},
        ],
    }
)


@pytest.mark.parametrize(
    ("caller", "callee", "playbook"),
    [
        ("sip:+12125551234@carrier.example:5060", "sip:support@pbx.example", "support.md"),
        ("sip:+1212555123@carrier.example", "sip:support@pbx.example", "default.md"),
        ("sip:+12125551234@carrier.example", "sip:sales@pbx.example", "sales.md"),
        ("sip:+8613800138000@carrier.example", "sip:sales@pbx.example", "chinese.md"),
        ("sip:alice@example.com", "sip:sales@pbx.example", "sales.md"),
        ("sip:alice@example.com", "sip:bob@pbx.example", "default.md"),
        ("tel:+8613800138000", "sip:bob@pbx.example", "chinese.md"),
        ("", "", "default.md"),
    ],
)
def test_t12_the_first_rule_whose_patterns_all_match_decides(caller: str, callee: str, playbook: str) -> None:
    assert LINES.route(caller, callee) == playbook


def test_t12_without_a_match_and_a_default_the_call_is_rejected() -> None:
    handler = PlaybookHandler.model_validate(
        {"type": "playbook", "rules": [{"callee": "^1001$", "playbook": "a.md"}]}
    )
    assert handler.route("sip:x@y", "sip:1002@z") is None
    assert handler.route("sip:x@y", "sip:1001@z") == "a.md"


def test_a_rule_without_patterns_matches_anybody() -> None:
    handler = PlaybookHandler.model_validate({"type": "playbook", "rules": [{"playbook": "all.md"}]})
    assert handler.route("sip:x@y", "sip:1002@z") == "all.md"


def test_patterns_are_searched_not_matched_from_the_start() -> None:
    handler = PlaybookHandler.model_validate(
        {"type": "playbook", "rules": [{"callee": "pbx", "playbook": "a.md"}]}
    )
    assert handler.route("sip:x@y", "sip:bob@the-pbx.example") == "a.md"


def test_an_overlong_uri_matches_no_pattern() -> None:
    handler = PlaybookHandler.model_validate(
        {"type": "playbook", "rules": [{"callee": "x", "playbook": "a.md"}]}
    )
    assert handler.route("sip:a@b", "sip:" + "x" * 252) == "a.md"
    assert handler.route("sip:a@b", "sip:" + "x" * 253) is None


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("sip:alice@example.com", "alice"),
        ("SIPS:alice:secret@example.com:5061;transport=tcp", "alice"),
        ("sip:%2B1212@example.com", "+1212"),
        ("sip:+1212;npdi@example.com;user=phone", "+1212"),
        ("tel:+1-212;phone-context=x", "+1-212"),
        ("sip:example.com", ""),
        ("1001", ""),
    ],
)
def test_user_part(uri: str, user: str) -> None:
    assert user_part(uri) == user


def test_webhook_headers_are_pairs_or_a_table() -> None:
    pairs = WebhookHandler.model_validate({"type": "webhook", "url": "http://h/", "headers": [["X-A", "1"]]})
    table = WebhookHandler.model_validate({"type": "webhook", "url": "http://h/", "headers": {"X-A": "1"}})
    assert pairs.headers == table.headers == [("X-A", "1")]


def test_the_targets_of_a_webhook_are_each_named_once() -> None:
    handler = WebhookHandler.model_validate(
        {"type": "webhook", "url": "http://a/", "urls": ["http://b/", "http://a/"]}
    )
    assert handler.targets == ("http://a/", "http://b/")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("url", "ftp://h/", "is not a URL"),
        ("urls", ["http://h/", "h"], "is not a URL"),
        ("method", "FETCH", "is not a method"),
        ("headers", [["X A", "1"]], "is not the name of a header"),
        ("headers", {"X-A": "a\r\nX-B: b"}, "the value of X-A"),
    ],
)
def test_what_a_webhook_can_not_be_told(key: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        WebhookHandler.model_validate({"type": "webhook", "url": "http://h/", key: value})


def test_the_method_of_a_webhook_may_be_lower_case() -> None:
    handler = WebhookHandler.model_validate({"type": "webhook", "url": "http://h/", "method": "put"})
    assert handler.method == "PUT"


def test_a_webhook_needs_a_target() -> None:
    with pytest.raises(ValidationError, match="needs a url"):
        WebhookHandler.model_validate({"type": "webhook"})
