"""Certificates for tests, made by the openssl program."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

KeyKind = Literal["pkcs8", "pkcs1", "sec1"]


@dataclass(frozen=True)
class Certificate:
    """A certificate that signs itself, so that it is its own authority, and its key."""

    cert: Path
    key: Path

    @property
    def combined(self) -> Path:
        """Both in one file."""
        path = self.cert.with_suffix(".both.pem")
        path.write_bytes(self.key.read_bytes() + self.cert.read_bytes())
        return path


def make_certificate(folder: Path, *names: str, key: KeyKind = "pkcs8") -> Certificate:
    """For `names`, such as `DNS:sip.example.com`, `IP:127.0.0.1` or `URI:sip:example.com`."""
    stem = "".join(char if char.isalnum() else "-" for char in names[0])
    made = Certificate(folder / f"{stem}-{key}.cert.pem", folder / f"{stem}-{key}.key.pem")
    if key == "sec1":
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-out", str(made.key))
    else:
        _openssl("genrsa", *(("-traditional",) if key == "pkcs1" else ()), "-out", str(made.key), "2048")
    subject = ("-subj", "/CN=test", "-days", "2", "-addext", f"subjectAltName={','.join(names)}")
    _openssl("req", "-x509", "-key", str(made.key), "-out", str(made.cert), *subject)
    return made


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)
