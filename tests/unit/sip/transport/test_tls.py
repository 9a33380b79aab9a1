import ssl
from pathlib import Path
from typing import Any

import pytest

from active_call.core.errors import ConfigError
from active_call.sip.transport.tls import client_context, mismatch, names_of, server_context


def certificate(*names: tuple[str, str], common_name: str = "") -> dict[str, Any]:
    return {"subject": ((("commonName", common_name),),), "subjectAltName": names}


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([("DNS", "sip.example.com")], "SIP.example.com."),
        ([("DNS", "other"), ("URI", "sip:example.com")], "example.com"),
        ([("DNS", "*.pstn.example.com")], "acme.pstn.example.com"),
        ([("IP Address", "127.0.0.1")], "127.0.0.1"),
        ([("IP Address", "0:0:0:0:0:0:0:1")], "::1"),
    ],
)
def test_certificates_that_prove_it(names: list[tuple[str, str]], wanted: str) -> None:
    assert mismatch(certificate(*names), wanted) == ""


@pytest.mark.parametrize(
    ("names", "wanted", "said"),
    [
        ([("DNS", "b.example")], "a.example", "the certificate is for b.example, not a.example"),
        ([("DNS", "*.example")], "a.b.example", "the certificate is for *.example, not a.b.example"),
        ([("DNS", "*.example")], "example", "the certificate is for *.example, not example"),
        ([("DNS", "127.0.0.1")], "127.0.0.2", "the certificate is for 127.0.0.1, not 127.0.0.2"),
        ([("URI", "https:example.com")], "example.com", "the certificate is for nobody, not example.com"),
        ([], "a", "the certificate is for nobody, not a"),
    ],
)
def test_certificates_that_do_not(names: list[tuple[str, str]], wanted: str, said: str) -> None:
    assert mismatch(certificate(*names), wanted) == said


def test_no_certificate_proves_nothing() -> None:
    assert mismatch(None, "a") == "the certificate is for nobody, not a"


def test_the_subject_counts_only_without_other_names() -> None:
    assert names_of(certificate(common_name="old.example")) == ["old.example"]
    assert names_of(certificate(("DNS", "new.example"), common_name="old.example")) == ["new.example"]


@pytest.mark.parametrize(
    "content", [None, b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"]
)
def test_files_that_can_not_be_used_are_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "cert.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match="cert.pem: ."):
        server_context(str(file))
    with pytest.raises(ConfigError, match="tls_ca_file .*cert.pem: ."):
        client_context(ca_file=str(file))


def test_verification_can_be_switched_off() -> None:
    assert client_context(verify=False).verify_mode is ssl.CERT_NONE
    assert client_context().verify_mode is ssl.CERT_REQUIRED
