import re

import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.core.tokens import token_source
from active_call.sip.messages.auth import Authenticator, Challenge, Credentials, authorize
from active_call.sip.messages.message import Headers, Response

MUFASA = Credentials("Mufasa", "Circle of Life")
RFC7616 = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


def response_of(value: str) -> str:
    found = re.search(r'response="([0-9a-f]+)"', value)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_vectors_of_rfc_7616(algorithm: str, response: str) -> None:
    credentials = Credentials("Mufasa", "Circle of Life")
    challenge = Challenge.parse(RFC7616.format(algorithm))
    value = authorize(challenge, credentials, "GET", "/dir/index.html", cnonce=CNONCE)
    assert response_of(value) == response
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in value
    assert "nc=00000001" in value
    assert "qop=auth," in value


def test_vector_of_rfc_2617() -> None:
    challenge = Challenge.parse(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", '
        'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    credentials = Credentials("Mufasa", "Circle Of Life")
    value = authorize(challenge, credentials, "GET", "/dir/index.html", cnonce="0a4f113b")
    assert response_of(value) == "6629fae49393a05397450978507c4ef1"


def test_without_qop_as_in_rfc_2069() -> None:
    challenge = Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
    credentials = Credentials("Mufasa", "CircleOfLife")
    value = authorize(challenge, credentials, "GET", "/dir/index.html", cnonce="unused")
    assert response_of(value) == "1949323746fe6a43ef61f9606e7febea"  # RFC 2069 §2.4 with its erratum
    assert "cnonce" not in value


def test_session_variants_hash_the_nonces_too() -> None:
    # MD5(MD5(MD5("u:r:p"):"n":"c") ":n:00000001:c:auth:" MD5("INVITE:sip:x")), calculated step by step.
    import hashlib

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    secret = md5(f"{md5('u:r:p')}:n:c")
    expected = md5(f"{secret}:n:00000001:c:auth:{md5('INVITE:sip:x')}")
    challenge = Challenge("r", "n", "MD5-sess", ("auth",))
    assert response_of(authorize(challenge, Credentials("u", "p"), "INVITE", "sip:x", cnonce="c")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "NoOneKnowsThisScheme opaque-data=here",
        "Digest",
        'Digest realm="r"',
        'Digest realm="r", nonce="n", algorithm=MD6',
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r, nonce="n"',
    ],
)
def test_challenges_that_we_can_not_answer(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        Challenge.parse(text)


def test_passwords_are_never_shown() -> None:
    assert "Circle" not in repr(MUFASA)


# --- at work -----------------------------------------------------------------------------------------------


def refusal(*challenges: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return Response(status, "", Headers((name, value) for value in challenges))


def authenticator(realm: str | None = None) -> Authenticator:
    return Authenticator(Credentials("u", "p", realm), token_source(1))


def nonces(work: Authenticator) -> list[str]:
    found = [re.search(r'nonce="([^"]*)"', value) for _, value in work.headers("INVITE", "sip:a@b")]
    return [one.group(1) for one in found if one is not None]


def test_of_several_challenges_the_first_usable_one_is_answered() -> None:
    work = authenticator()
    challenges = ["Basic x", 'Digest realm="a", nonce="1", algorithm=SHA-256', 'Digest realm="a", nonce="2"']
    assert work.refused(refusal(*challenges), set()) is None
    assert nonces(work) == ["1"]


def test_a_realm_picks_its_challenge() -> None:
    work = authenticator("b")
    challenges = ['Digest realm="a", nonce="1"', 'Digest realm="b", nonce="2"']
    assert work.refused(refusal(*challenges), set()) is None
    assert nonces(work) == ["2"]


def test_several_realms_are_answered_one_after_the_other() -> None:
    work, tried = authenticator(), set[str]()
    challenges = ['Digest realm="a", nonce="1"', 'Digest realm="b", nonce="2"']
    assert work.refused(refusal(*challenges), tried) is None
    assert work.refused(refusal(*challenges), tried) is None
    assert nonces(work) == ["1", "2"]
    fault = work.refused(refusal(*challenges), tried)
    assert fault == "401 twice for realm a: user u or its password is wrong"


def test_a_stale_nonce_counts_once_per_request() -> None:
    work, tried = authenticator(), set[str]()
    stale = 'Digest realm="a", nonce="{}", stale=TRUE'
    assert work.refused(refusal('Digest realm="a", nonce="1"'), tried) is None
    assert work.refused(refusal(stale.format(2)), tried) is None
    assert work.refused(refusal(stale.format(3)), tried) is not None
    assert work.refused(refusal(stale.format(4)), set()) is None


def test_proxy_and_callee_may_share_a_realm() -> None:
    work, tried = authenticator(), set[str]()
    assert work.refused(refusal('Digest realm="a", nonce="1"', status=407), tried) is None
    assert work.refused(refusal('Digest realm="a", nonce="2"'), tried) is None
    assert [name for name, _ in work.headers("BYE", "sip:a@b")] == ["Proxy-Authorization", "Authorization"]


def test_uses_of_a_nonce_are_counted() -> None:
    work = authenticator()
    work.refused(refusal('Digest realm="a", nonce="1", qop="auth"'), set())
    for count in (1, 2, 3):
        ((_, value),) = work.headers("INVITE", "sip:a@b")
        assert f"nc=0000000{count}" in value
    work.accepted(Response(200, "", Headers([("Authentication-Info", 'nextnonce="2"')])))
    ((_, value),) = work.headers("INVITE", "sip:a@b")
    assert "nc=00000001" in value
    assert 'nonce="2"' in value
    work.accepted(Response(200, "", Headers([("Authentication-Info", 'nextnonce="3')])))
    assert nonces(work) == ["2"]


@pytest.mark.parametrize("status", [401, 407])
def test_what_can_not_be_answered_says_why(status: int) -> None:
    nobody = Authenticator(None, token_source(1))
    fault = nobody.refused(refusal('Digest realm="a", nonce="1"', status=status), set())
    assert fault == f"{status} for realm a: no user and password are given"
    assert nobody.headers("INVITE", "sip:a@b") == []
    fault = authenticator().refused(refusal("Basic x", status=status), set())
    assert fault == f"{status} without a challenge that can be answered"


def test_only_so_many_realms_are_remembered() -> None:
    work = authenticator()
    for number in range(100):
        work.refused(refusal(f'Digest realm="{number}", nonce="{number}"'), set())
    assert nonces(work) == [str(number) for number in range(92, 100)]
