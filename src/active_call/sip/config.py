"""What an operator may say about SIP."""

from dataclasses import dataclass

from active_call import __version__


@dataclass(frozen=True)
class SipConfig:
    """Where the agent listens and what it says of itself."""

    host: str
    """An address: `0.0.0.0` (or nothing) for IPv4, `::` for IPv4 and IPv6."""
    port: int
    """Of UDP and TCP; 0 for any."""
    external_ip: str | None = None
    """What peers see instead of our address, if there is a NAT between."""
    user_agent: str = f"active-call/{__version__}"
    tcp: bool = True
    """Whether to listen on TCP, at the same port as UDP, and to use it."""
    tls_port: int | None = None
    """Where to listen for TLS (0 for any); None: nowhere. Calls of ours may use TLS in any case."""
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    """None: the key is in the certificate's file."""
    tls_verify: bool = True
    """Whether servers must have a certificate that we trust, and that is for their domain."""
    tls_ca_file: str | None = None
    """Whom to trust; None: whom this machine trusts."""
    answer_options: bool = True
    """Whether OPTIONS outside a call is answered."""
    callid_suffix: str | None = None
    """What the Call-IDs that we make end with, after an @."""
    learn_public_address: bool = False
    """Whether to believe peers who tell by `received` and `rport` from where our messages reach them."""
    srv: bool = True
    """Whether to ask DNS for NAPTR and SRV records."""
