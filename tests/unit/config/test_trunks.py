"""Accounts, rewrites and trunk rules as the file has them."""

import pytest

from active_call.config import Config
from active_call.config.loader import parse_config
from active_call.core.errors import ConfigError
from active_call.sip.messages.auth import Credentials

SEED = """
[[register_users]]
server = "pbx.example.com:5060"
username = "1001"
disabled = false
[register_users.credential]
username = "1001"
password = "secret123"
realm = "pbx.example.com"
"""


def rewrite(match: str, by: str) -> Config:
    return parse_config(f"[[rewrites]]\nmatch = '{match}'\nrewrite = '{by}'")


def test_an_account() -> None:
    [user] = parse_config(SEED).register_users
    assert str(user.registrar) == "sip:pbx.example.com:5060"
    assert user.credentials == Credentials("1001", "secret123", "pbx.example.com")
    assert "secret123" not in repr(user)


def test_the_user_is_that_of_the_credential() -> None:
    [user] = parse_config(
        SEED.replace('username = "1001"\ndisabled', 'username = "bot"\ndisabled')
    ).register_users
    assert (user.user, user.username) == ("1001", "bot")


def test_a_pbx_may_want_another_authentication_id() -> None:
    text = SEED.replace('password = "secret123"', 'password = "secret123"\nauth_username = "id-77"')
    [user] = parse_config(text).register_users
    assert user.user == "1001"
    assert user.credentials == Credentials("id-77", "secret123", "pbx.example.com")


def test_the_password_may_stand_beside_the_username() -> None:
    [user] = parse_config(
        '[[sip_registrations]]\nname = "main"\nserver = "sip.example.com"\nusername = "u"\n'
        'password = "p"\nrealm = "r"'
    ).register_users
    assert (user.user, user.credentials) == ("u", Credentials("u", "p", "r"))


@pytest.mark.parametrize(
    ("server", "uri"),
    [
        ("sip:pbx.example;transport=tcp", "sip:pbx.example;transport=tcp"),
        ("sips:pbx.example", "sips:pbx.example"),
        ("[2001:db8::1]:5070", "sip:[2001:db8::1]:5070"),
    ],
)
def test_servers(server: str, uri: str) -> None:
    [user] = parse_config(f'[[register_users]]\nserver = "{server}"\nusername = "u"').register_users
    assert str(user.registrar) == uri
    assert user.credentials is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'server = "sip:u@pbx"\nusername = "u"',
            r":2: register_users\[0\]\.server: .* is not a SIP server; write one",
        ),
        ('server = "sip:pbx;transport=ws"\nusername = "u"', r"server: .* is not a SIP server"),
        ('server = "http://pbx"\nusername = "u"', r":2: register_users\[0\]\.server: .* is not a SIP server"),
        ('server = "pbx"\nusername = "u@pbx"', r":3: register_users\[0\]\.username: .* before the @"),
        ('server = "pbx"\nusername = "u"\nexpires = 5', r":4: register_users\[0\]\.expires: 5 is too small"),
        (
            'server = "pbx"\nusername = "u"\npasword = "p"',
            r":4: .*pasword: no such key; did you mean password\?",
        ),
        (
            'server = "pbx"\nusername = "u"\npassword = "p"\ncredential = {username = "u", password = "p"}',
            r":1: register_users\[0\]: has a credential",
        ),
    ],
)
def test_accounts_that_can_not_be(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        parse_config(f"[[register_users]]\n{text}")
    assert '"p"' not in str(error.value)


@pytest.mark.parametrize(
    ("match", "by", "uri", "made"),
    [
        ("a", "b", "sip:a@a", "sip:b@b"),
        (r"@(.*)", "@x-$1", "sip:u@h", "sip:u@x-h"),
        (r"sip:(?P<who>\w+)@", "sip:${who}1@", "sip:u@h", "sip:u1@h"),
        (r"(\d+)(x)?", "$1$2", "sip:5@h", "sip:5@h"),
        ("@", "$$", "sip:5@h", "sip:5$h"),
        ("@", r"\1", "sip:5@h", r"sip:5\1h"),
    ],
)
def test_what_a_rewrite_makes(match: str, by: str, uri: str, made: str) -> None:
    [rule] = rewrite(match, by).rewrites
    assert rule.apply(uri) == made


def test_an_overlong_uri_is_not_searched() -> None:
    [rule] = rewrite("(a+)+$", "").rewrites
    uri = f"sip:{'a' * 300}!"
    assert rule.apply(uri) == uri


@pytest.mark.parametrize(
    ("match", "by", "complaint"),
    [
        ("((", "", r":2: rewrites\[0\]\.match: .* is not a regular expression"),
        ("(a)", "$2", r":1: rewrites\[0\]: .* match has no group 2$"),
        ("(a)", "$1x", r"match has no group 1x; write \${1}"),
        ("a", "${name}", "match has no group name"),
    ],
)
def test_rewrites_that_can_not_be(match: str, by: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        rewrite(match, by)


@pytest.mark.parametrize("host", ["u@h", "sip:h", "h;x=1", "h h"])
def test_a_rule_names_a_host(host: str) -> None:
    with pytest.raises(ConfigError, match=r"trunk_rules\[0\]\.rewrite\.to\.host: "):
        parse_config(f'[[trunk_rules]]\nrewrite.to.host = "{host}"')
