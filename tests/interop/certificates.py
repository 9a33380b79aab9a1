"""A certificate authority for one test run: who it signs for is 127.0.0.1."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """PEM files. `combined` holds certificate and key, as some programs want them."""

    ca: Path
    certificate: Path
    key: Path
    combined: Path


def make_certificates(folder: Path, *names: str) -> Certificates:
    """A fresh authority, and a certificate for `names`, 127.0.0.1 and localhost by default."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
    made = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem", folder / "combined.pem")
    authority.cert_pem.write_to_path(str(made.ca))
    made.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(made.key))
    issued.private_key_and_cert_chain_pem.write_to_path(str(made.combined))
    return made
