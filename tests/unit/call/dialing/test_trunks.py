"""The operator's rules for calls that we make."""

import pytest

from active_call.call.dialing.trunks import Trunks, accounts_of, parse_uri, rewritten
from active_call.config.loader import parse_config
from active_call.config.trunks import PartyRewrite
from active_call.core.errors import RemoteProtocolError


def trunks(text: str) -> Trunks:
    return Trunks.of(parse_config(text))


def users(*servers: str, more: str = "") -> Trunks:
    """An account at each server; their users are numbered from 1."""
    return trunks(
        "\n".join(
            f'[[register_users]]\nserver = "{server}"\nusername = "{number}"\npassword = "p"\n{more}'
            for number, server in enumerate(servers, 1)
        )
    )


def rewrites(*pairs: tuple[str, str]) -> Trunks:
    return trunks("\n".join(f"[[rewrites]]\nmatch = '{match}'\nrewrite = '{by}'" for match, by in pairs))


@pytest.mark.parametrize(
    ("pairs", "target", "hop"),
    [
        ([(r"192\.0\.2\.1", "10.0.0.5")], "sip:bob@192.0.2.1:5070", "sip:bob@10.0.0.5:5070"),
        ([(r"@([a-z]+)\.example", "@$1.internal:5080")], "sip:bob@pbx.example", "sip:bob@pbx.internal:5080"),
        ([(r"other\.example", "10.0.0.5")], "sip:bob@pbx.example", None),
        (
            [("pbx", "sbc"), ("sbc.example", "10.0.0.7"), ("pbx", "never")],
            "sip:b@pbx.example",
            "sip:b@10.0.0.7",
        ),
    ],
)
def test_t29_where_a_call_is_sent_to(pairs: list[tuple[str, str]], target: str, hop: str | None) -> None:
    assert rewrites(*pairs).next_hop(target) == hop


@pytest.mark.parametrize(
    ("server", "target"),
    [
        ("pbx.example", "sip:bob@pbx.example"),
        ("pbx.example", "sip:bob@PBX.example:5070"),
        ("pbx.example:5060", "sip:bob@pbx.example"),
        ("sips:pbx.example", "sip:bob@pbx.example"),
        ("pbx.example", "sips:bob@pbx.example"),
        ("192.0.2.1:5070", "sip:bob@192.0.2.1"),
        ("[2001:db8::1]", "sip:bob@[2001:db8::1]:5060"),
        ("pbx.example", '"Bob" <sip:bob@pbx.example;transport=tcp>'),
        ("pbx.example", "bob@pbx.example"),
    ],
)
def test_t26_the_account_at_the_callees_server(server: str, target: str) -> None:
    account = users(server).account(target)
    assert account is not None
    assert account.credentials is not None
    assert account.credentials.username == "1"


@pytest.mark.parametrize(
    "target",
    ["sip:bob@other.example", "sip:bob@x.pbx.example", "sip:bob@pbx.example;maddr=192.0.2.9", "garbage <"],
)
def test_other_servers_get_no_credentials(target: str) -> None:
    assert users("pbx.example").account(target) is None


def test_of_several_accounts_the_one_at_the_port_and_for_the_user() -> None:
    several = users("pbx.example", "pbx.example:5070", "pbx.example:5070")
    for target, user, found in [
        ("sip:b@pbx.example:5070", None, "2"),
        ("sip:b@pbx.example:5070", "3", "3"),
        ("sip:b@pbx.example", None, "1"),
        ("sip:b@pbx.example:5070", "nobody", "2"),
    ]:
        account = several.account(target, user)
        assert account is not None
        assert account.username == found


def test_t25_disabled_accounts_are_not_there() -> None:
    off = users("pbx.example", more="disabled = true")
    assert off.account("sip:b@pbx.example") is None
    assert off.registrars == ()
    config = parse_config('[[register_users]]\nserver = "pbx.example"\nusername = "1"\ndisabled = true')
    assert accounts_of(config.register_users) == []


def test_what_is_registered() -> None:
    config = parse_config(
        '[[register_users]]\nserver = "sips:pbx.example"\nusername = "my:bot"\ndisplay_name = "Bot"\n'
        'expires = 120\ncredential = {username = "10%1", password = "p"}'
    )
    [account] = accounts_of(config.register_users)
    assert account.address == "sips:10%251@pbx.example"
    assert (account.contact_user, account.display_name, account.expires) == ("my%3Abot", "Bot", 120)


RULES = """
[[trunk_rules]]
name = "german"
match.to.user = '^\\+49'
rewrite.to.host = "de.example:5070"

[[trunk_rules]]
match.from.host = 'internal$'
match.to.host = 'carrier'
rewrite.from.host = "public.example"

[[trunk_rules]]
rewrite.to.host = "rest.example"
"""


@pytest.mark.parametrize(
    ("caller", "callee", "number"),
    [
        ("sip:a@x", "sip:+4930@carrier", 0),
        ("sip:a@x", "sip:%2B4930@carrier", 0),
        ('"A" <sip:a@pbx.internal>', "sip:1@carrier", 1),
        ("sip:a@x", "sip:1@carrier", 2),
        ("sip:a@x", f"sip:+49{'1' * 300}@carrier", 2),
    ],
)
def test_the_first_rule_that_matches(caller: str, callee: str, number: int) -> None:
    rules = trunks(RULES)
    assert rules.rule(caller, callee) is rules.rules[number]


def test_no_rule() -> None:
    assert trunks("").rule("sip:a@x", "sip:b@y") is None


@pytest.mark.parametrize(
    ("party", "user", "host", "made"),
    [
        ("sip:a@x:5070", "b", None, "sip:b@x:5070"),
        ("sip:a@x:5070", None, "y", "sip:a@y:5070"),
        ("sip:a@x:5070", None, "y:5080", "sip:a@y:5080"),
        ('"A" <sip:a@x>', "b", "y", '"A" <sip:b@y>'),
        ("sips:x;transport=tcp", "b", None, "sips:b@x;transport=tcp"),
        ("sip:a@x", None, None, "sip:a@x"),
    ],
)
def test_other_parts_of_an_address(party: str, user: str | None, host: str | None, made: str) -> None:
    assert rewritten(party, PartyRewrite(user=user, host=host)) == made


def test_what_is_no_address_can_not_be_rewritten() -> None:
    with pytest.raises(RemoteProtocolError):
        rewritten("tel:1", PartyRewrite(user="b"))
    assert rewritten("tel:1", None) == "tel:1"


def test_call_ids_may_tell_where_they_are_from() -> None:
    suffixed = trunks('callid_suffix = "gw1"')
    assert [suffixed.sip_call_id("a"), suffixed.sip_call_id("a@b"), Trunks().sip_call_id("a")] == [
        "a@gw1",
        "a@b",
        "a",
    ]


def test_uris_as_people_write_them() -> None:
    assert [str(parse_uri(text)) for text in ("sip:a@x", "a@x", '"A" <sips:a@x>', "x:5060")] == [
        "sip:a@x",
        "sip:a@x",
        "sips:a@x",
        "sip:x:5060",
    ]
    assert parse_uri("tel:1") is None
