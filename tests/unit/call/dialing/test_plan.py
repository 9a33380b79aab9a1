"""What an outbound INVITE is made of."""

import contextlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from active_call.call.dialing.plan import DialPlan, plan_call
from active_call.call.dialing.trunks import Trunks
from active_call.config.loader import parse_config
from active_call.core.errors import LocalProtocolError
from active_call.sip.agent import Credentials, SipAgent
from active_call.wire.options import CallOption

ACCOUNT = """
[[register_users]]
server = "pbx.example:5060"
username = "1001"
display_name = "Bot"
credential = {username = "1001", password = "hush", realm = "pbx"}
"""
OURS = Credentials("1001", "hush", "pbx")


class FakeAgent:
    address = ("0.0.0.0", 25060)
    tls_port = 5061

    def advertised_host(self, peer: str) -> str:
        return f"to-{peer}".replace(":", "-")


def plan(
    text: str = "", callee: str = "sip:bob@pbx.example", caller: str | None = None, **sip: Any
) -> DialPlan:
    option = CallOption.model_validate({"callee": callee, "caller": caller, "sip": sip})
    return plan_call(option, cast("SipAgent", FakeAgent()), Trunks.of(parse_config(text)))


def test_a_plan_has_what_the_option_says() -> None:
    made = plan(
        username="u",
        password="p",
        realm="r",
        headers={"X-A": "1"},
        contact="sip:u@192.0.2.1",
        ring_timeout="20s",
    )
    assert (made.target, made.caller, made.address) == ("sip:bob@pbx.example", "sip:u@r", "to-pbx.example")
    assert made.credentials == Credentials("u", "p", "r")
    assert made.headers == {"X-A": "1"}
    assert (made.contact, made.next_hop, made.ring_timeout) == ("sip:u@192.0.2.1", None, 20.0)


@pytest.mark.parametrize("sip", [{}, {"headers": {"X-A": "1"}}, {"username": "1001"}])
@pytest.mark.parametrize("callee", ["sip:bob@pbx.example", "sips:bob@pbx.example", "2000"])
def test_t26_an_account_gives_its_credentials(sip: dict[str, Any], callee: str) -> None:
    assert plan(ACCOUNT, callee, **sip).credentials == OURS


def test_t26_also_without_a_sip_option() -> None:
    option = CallOption(callee="sip:bob@pbx.example")
    made = plan_call(option, cast("SipAgent", FakeAgent()), Trunks.of(parse_config(ACCOUNT)))
    assert (made.credentials, made.caller) == (OURS, '"Bot" <sip:1001@pbx.example>')


@pytest.mark.parametrize("sip", [{"username": "u", "password": "p"}, {"username": "u"}])
def test_credentials_of_the_option_win(sip: dict[str, Any]) -> None:
    made = plan(ACCOUNT, **sip).credentials
    assert made == (Credentials("u", "p") if "password" in sip else None)


def test_other_servers_get_nothing_of_an_account() -> None:
    made = plan(ACCOUNT, "sip:bob@other.example")
    assert (made.credentials, made.caller) == (None, "sip:active-call@to-other.example")


@pytest.mark.parametrize(("caller", "uri"), [("1234", "sip:1234@pbx.example"), ("sip:a@b", "sip:a@b")])
def test_a_bare_caller_stands_at_the_accounts_server(caller: str, uri: str) -> None:
    assert plan(ACCOUNT, caller=caller).caller == uri


def test_of_several_accounts_that_of_the_caller() -> None:
    other = ACCOUNT.replace("1001", "1002")
    for caller in ("1002", "sip:1002@any.example", '"Two" <sip:1002@pbx.example>'):
        credentials = plan(ACCOUNT + other, caller=caller).credentials
        assert credentials is not None
        assert credentials.username == "1002"


def test_a_number_is_called_over_the_accounts_transport() -> None:
    text = ACCOUNT.replace("pbx.example:5060", "sip:pbx.example;transport=tcp")
    assert plan(text, "2000").target == "sip:2000@pbx.example;transport=tcp"


RULE = """
[[trunk_rules]]
match.to.user = '^\\+49'
rewrite.from = {user = "+493012345", host = "us.example"}
rewrite.to.host = "de.example"
rewrite.contact.user = "trunk"
"""


def test_a_trunk_rule_rewrites_the_parties() -> None:
    made = plan(RULE, "sip:+4989@any.example:5070", "alice")
    assert (made.target, made.caller) == ("sip:+4989@de.example:5070", "sip:+493012345@us.example")
    assert made.address == "to-de.example-5070"
    assert made.contact == "<sip:trunk@to-de.example-5070:25060>"


def test_a_rewritten_contact_is_for_the_transport_of_the_call() -> None:
    assert plan(RULE, "sips:+49@x", "a").contact == "<sips:trunk@to-de.example:5061>"
    over_tcp = plan(RULE, "sip:+49@x;transport=tcp", "a").contact
    assert over_tcp == "<sip:trunk@to-de.example:25060;transport=tcp>"


def test_other_calls_stay_as_they_are() -> None:
    made = plan(RULE, "sip:+1@any.example", "alice")
    assert (made.target, made.contact) == ("sip:+1@any.example", None)


def test_a_contact_of_the_option_is_rewritten_too() -> None:
    assert plan(RULE, "sip:+49@x", contact="sip:a@192.0.2.1:5090").contact == "sip:trunk@192.0.2.1:5090"


def test_the_account_is_that_of_the_rewritten_callee() -> None:
    rule = '[[trunk_rules]]\nrewrite.to.host = "pbx.example"'
    assert plan(ACCOUNT + rule, "sip:bob@any.example").credentials == OURS


def test_another_server_gets_no_credentials_because_of_a_rule() -> None:
    rule = '[[trunk_rules]]\nrewrite.to.host = "other.example"'
    made = plan(ACCOUNT + rule)
    assert (made.credentials, made.caller) == (None, '"Bot" <sip:1001@pbx.example>')


def test_rewrites_change_only_where_it_is_sent() -> None:
    rewrite = "[[rewrites]]\nmatch = '@pbx.example'\nrewrite = '@192.0.2.9:5070'"
    made = plan(rewrite)
    assert (made.target, made.next_hop) == ("sip:bob@pbx.example", "sip:bob@192.0.2.9:5070")
    assert made.address == "to-192.0.2.9-5070"


def test_a_rewrite_that_makes_no_address_is_named() -> None:
    with pytest.raises(LocalProtocolError, match='rewrites made "tel:1" of "sip:bob@pbx.example"'):
        plan("[[rewrites]]\nmatch = '^.*$'\nrewrite = 'tel:1'")


@pytest.mark.parametrize(
    ("sip", "headers"),
    [
        ({"identity": "+4930"}, {"P-Asserted-Identity": "<sip:+4930@us.example>"}),
        ({"identity": "tel:+4930"}, {"P-Asserted-Identity": "<tel:+4930>"}),
        ({"identity": '"Us" <sip:x@y>'}, {"P-Asserted-Identity": '"Us" <sip:x@y>'}),
        ({"privacy": "id"}, {"P-Asserted-Identity": "<sip:a@us.example>", "Privacy": "id"}),
        (
            {"privacy": "ID; critical", "identity": "b@c"},
            {"P-Asserted-Identity": "<sip:b@c>", "Privacy": "id;critical"},
        ),
        ({"privacy": "none"}, {"Privacy": "none"}),
        ({"privacy": "id", "headers": {"p-asserted-identity": "<sip:z@z>", "privacy": "user"}}, None),
    ],
)
def test_identity_and_privacy(sip: dict[str, Any], headers: dict[str, str] | None) -> None:
    assert plan(caller="sip:a@us.example", **sip).headers == (headers or sip["headers"])


_TEXTS = st.one_of(
    st.text(max_size=40), st.from_regex(r"(sips?:)?[a-z0-9+@:;<>\[\].=? \"-]{0,30}", fullmatch=True)
)


@given(_TEXTS, _TEXTS, st.sampled_from(["identity", "contact", "realm", "privacy", "username"]), _TEXTS)
def test_whatever_a_client_writes_is_a_plan_or_an_error(
    callee: str, caller: str, name: str, value: str
) -> None:
    with contextlib.suppress(LocalProtocolError):
        made = plan(ACCOUNT + RULE, callee, caller, **{name: value})
        assert "\n" not in "".join(made.headers.values())


@pytest.mark.parametrize(
    ("sip", "complaint"),
    [
        ({"contact": "http://x"}, r'option\.sip\.contact: "http://x" is not a SIP URI'),
        ({"contact": "sip:a@0.0.0.0"}, r'option\.sip\.contact: nobody can reach "0\.0\.0\.0"'),
        ({"identity": "a b"}, r"option\.sip\.identity: "),
        ({"privacy": "secret"}, r'option\.sip\.privacy: "secret" is not known; known are critical, header'),
        ({"realm": "a b"}, r"option\.sip\.realm: .* is not a SIP server"),
    ],
)
def test_what_can_not_be_used_is_named(sip: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalProtocolError, match=complaint):
        plan(callee="123" if "realm" in sip else "sip:b@x", **sip)
