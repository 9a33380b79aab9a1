import re

import pytest

from active_call.core.errors import RemoteProtocolError
from active_call.sip.auth import Challenge, Credentials, authorize, choose_challenge

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


def test_of_several_challenges_the_first_usable_one_is_taken() -> None:
    values = ["Basic x", 'Digest realm="a", nonce="1", algorithm=SHA-256', 'Digest realm="a", nonce="2"']
    chosen = choose_challenge(values)
    assert chosen is not None
    assert chosen.nonce == "1"


def test_a_realm_picks_its_challenge() -> None:
    values = ['Digest realm="a", nonce="1"', 'Digest realm="b", nonce="2"']
    chosen = choose_challenge(values, "b")
    assert chosen is not None
    assert chosen.nonce == "2"
    assert choose_challenge(values, "c") == choose_challenge(values)
    assert choose_challenge([]) is None


def test_passwords_are_never_shown() -> None:
    assert "Circle" not in repr(MUFASA)
