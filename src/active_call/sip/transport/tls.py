"""TLS for SIP: contexts from files, and whom a certificate is for (RFC 3261 §26.3, RFC 5922)."""

import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from active_call.core.errors import ConfigError
from active_call.sip.hop import is_address


def server_context(cert_file: str, key_file: str | None = None) -> ssl.SSLContext:
    """For listening. PEM of any kind; the key may be in the certificate's file. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, cert_file, key_file)
    return context


def client_context(
    *,
    verify: bool = True,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
) -> ssl.SSLContext:
    """For connecting; our certificate is shown to servers that ask. Raises ConfigError.

    Whom the server's certificate is for is left to `mismatch`, which knows SIP's rules.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls_ca_file {ca_file}: {_why(error, ca_file)}") from error
    if cert_file is not None:
        _load(context, cert_file, key_file)
    return context


def _load(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    for name, file in (("tls_cert_file", cert_file), ("tls_key_file", key_file)):
        try:
            if file is not None:
                Path(file).read_bytes()
        except OSError as error:
            raise ConfigError(f"{name} {file}: {error.strerror or error}") from error
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:
        where = f"tls_cert_file {cert_file}" + (f", tls_key_file {key_file}" if key_file else "")
        raise ConfigError(f"{where}: {_why(error, key_file or cert_file)}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a password")


def _why(error: Exception, file: str) -> str:
    """What OpenSSL means, for people."""
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    if reason in (None, "PEM_LIB", "NO_START_LINE") and isinstance(error, ssl.SSLError):
        return f"{file} is no PEM file with what is needed here (a certificate, and its key)"
    return str(reason or getattr(error, "strerror", None) or error)


# --- whom a certificate is for ---------------------------------------------------------------------------


def mismatch(certificate: Mapping[str, Any] | None, wanted: str) -> str:
    """Why a peer's certificate, as `getpeercert` gives it, does not prove that it is `wanted`; else nothing."""
    names = names_of(certificate or {})
    if any(_matches(name, wanted) for name in names):
        return ""
    return f"the certificate is for {', '.join(names[:5]) or 'nobody'}, not {wanted}"


def names_of(certificate: Mapping[str, Any]) -> list[str]:
    """The domains and addresses that a certificate is for; SIP URIs count as their domains (RFC 5922 §7.1)."""
    names: list[str] = []
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "URI" and value.lower().startswith(("sip:", "sips:")):
            names.append(value.partition(":")[2])
        elif kind in ("DNS", "IP Address"):
            names.append(value)
    if not names:  # certificates of the last century name their subject only
        subject = (pair for group in certificate.get("subject", ()) for pair in group)
        names = [value for key, value in subject if key == "commonName"]
    return list(dict.fromkeys(names))


def _matches(name: str, wanted: str) -> bool:
    name, wanted = name.lower().rstrip("."), wanted.lower().rstrip(".")
    if is_address(wanted):
        return is_address(name) and _normal(name) == _normal(wanted)
    if name.startswith("*."):
        # RFC 5922 §7.2 forbids it, carriers do it all the same: for one label, as in HTTP.
        return "." in wanted and wanted.partition(".")[2] == name[2:]
    return name == wanted


def _normal(address: str) -> str:
    return str(ipaddress.ip_address(address))
