import os
from pathlib import Path

import pytest

from active_call.config import Config, PlaybookHandler, load_config
from active_call.config.loader import load_env, parse_config
from active_call.core.errors import ConfigError

BASIC = """
addr = "0.0.0.0"
http_addr = "0.0.0.0:8080"
udp_port = 25060
log_level = "debug"
media_cache_path = "./config/mediacache"
"""

NAT = """
external_ip = "1.2.3.4"
rtp_start_port = 12000
rtp_end_port = 42000
"""

OPTIONAL = """
http_gzip = true
log_file = "/tmp/active-call.log"
http_access_skip_paths = ["/health", "/metrics*"]
"""

TLS = """
addr = "0.0.0.0"
udp_port = 5060
tls_port = 5061
tls_cert_file = "./certs/cert.pem"
tls_key_file = "./certs/key.pem"
enable_srtp = true
external_ip = "198.51.100.7"
rtp_start_port = 12000
rtp_end_port = 42000
"""

ICE = """
[[ice_servers]]
urls = ["stun:stun.l.google.com:19302"]
[[ice_servers]]
urls = ["turn:turn.example.com:3478"]
username = "turnuser"
credential = "turnpass"
"""

WEBHOOK = """
[handler]
type = "webhook"
url = "http://localhost:8090/webhook"
method = "POST"
"""

RULES = """
[handler]
type = "playbook"
default = "default.md"
[[handler.rules]]
caller = "^\\\\+1\\\\d{10}$"
callee = "^sip:support@.*"
playbook = "support.md"
[[handler.rules]]
caller = "^\\\\+86\\\\d+"
playbook = "chinese.md"
[[handler.rules]]
callee = "^sip:sales@.*"
playbook = "sales.md"
"""

REGISTER_RULES = """
[handler]
type = "playbook"
default = "default.md"
[[handler.rules]]
callee = "^sip:1001@.*"
playbook = "tech_support.md"
[[handler.rules]]
callee = "^sip:1002@.*"
playbook = "sales.md"
[[handler.rules]]
caller = "^sip:vip.*"
playbook = "vip_service.md"
"""

RECORDS = """
[recording]
enabled = true
auto_start = true
[callrecord]
type = "local"
root = "./config/cdr"
"""

REGISTER = """
addr = "0.0.0.0"
udp_port = 25060
[[register_users]]
server = "pbx.example.com:5060"
username = "1001"
disabled = false
[register_users.credential]
username = "1001"
password = "secret123"
realm = "pbx.example.com"
[[register_users]]
server = "pbx.example.com:5060"
username = "1002"
disabled = false
[register_users.credential]
username = "1002"
password = "secret456"
realm = "pbx.example.com"
"""

BROWSER = """
http_addr = "0.0.0.0:8080"
[[ice_servers]]
urls = ["stun:stun.l.google.com:19302"]
[[ice_servers]]
urls = ["turn:turn.example.com:3478"]
username = "turnuser"
credential = "turnpass"
# If behind NAT, configure external IP
external_ip = "1.2.3.4"
"""

PRODUCTION_BROWSER = (
    """
addr = "0.0.0.0"
http_addr = "0.0.0.0:8080"
log_level = "info"
media_cache_path = "./config/mediacache"
"""
    + ICE
    + RECORDS
)

PRODUCTION_SIP = (
    """
addr = "0.0.0.0"
http_addr = "0.0.0.0:8080"
udp_port = 25060
log_level = "info"
external_ip = "203.0.113.1"
media_cache_path = "./config/mediacache"
rtp_start_port = 12000
rtp_end_port = 42000
[[ice_servers]]
urls = ["stun:stun.l.google.com:19302"]
[handler]
type = "playbook"
default = "default.md"
[[handler.rules]]
callee = "^sip:support@.*"
playbook = "support.md"
"""
    + RECORDS
)

PRODUCTION_REGISTERED = """
addr = "0.0.0.0"
http_addr = "0.0.0.0:8080"
udp_port = 25060
log_level = "info"
external_ip = "203.0.113.1"
media_cache_path = "./config/mediacache"
[[register_users]]
server = "pbx.company.com:5060"
username = "ai-agent-1"
disabled = false
[register_users.credential]
username = "ai-agent-1"
password = "ComplexPassword123"
realm = "pbx.company.com"
[handler]
type = "webhook"
url = "http://crm.company.com:8090/call-routing"
method = "POST"
[recording]
enabled = true
auto_start = true
[callrecord]
type = "local"
root = "/var/recordings"
"""

GUIDE = [
    BASIC,
    NAT,
    OPTIONAL,
    TLS,
    ICE,
    WEBHOOK,
    RULES,
    REGISTER_RULES,
    RECORDS,
    REGISTER,
    BROWSER,
    PRODUCTION_BROWSER,
    PRODUCTION_SIP,
    PRODUCTION_REGISTERED,
]


@pytest.mark.parametrize("text", GUIDE)
def test_the_examples_of_the_guide_are_valid(text: str) -> None:
    assert isinstance(parse_config(text), Config)


def test_values_arrive() -> None:
    config = parse_config(PRODUCTION_SIP)
    assert config.external_ip == "203.0.113.1"
    assert isinstance(config.handler, PlaybookHandler)
    assert config.handler.route("sip:a@b", "sip:support@x") == "support.md"


def test_accounts_have_their_own_credentials() -> None:
    first, second = parse_config(REGISTER).register_users
    assert first.credential is not None
    assert first.credential.password.get_secret_value() == "secret123"
    assert second.username == "1002"


def test_an_external_ip_below_the_ice_servers_is_the_top_level_key() -> None:
    config = parse_config(BROWSER)
    assert config.external_ip == "1.2.3.4"
    assert len(config.ice_servers) == 2


def test_the_shipped_example_is_valid_and_holds_defaults() -> None:
    config = load_config(Path(__file__).parents[3] / "active-call.toml")
    changed = {name for name in Config.model_fields if getattr(config, name) != getattr(Config(), name)}
    assert changed == {"handler", "recording", "callrecord"}
    assert config.not_effective() == []


def test_ua_is_another_place_for_sip_keys() -> None:
    config = parse_config(
        'http_addr = "0.0.0.0:80"\n[ua]\naddr = "127.0.0.1"\nudp_port = 13050\naccept_timeout = "5s"'
    )
    assert (config.addr, config.udp_port, config.accept_timeout) == ("127.0.0.1", 13050, 5.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[ua]\naddr = "x"', ':2: ua.addr: "x" is not an IP address'),
        ("[ua]\nudp_prot = 1", ":2: ua.udp_prot: no such key; did you mean udp_port?"),
        ("udp_port = 1\n[ua]\nudp_port = 2", ":3: ua.udp_port: is also written as udp_port"),
        (
            '[ua]\n[ua.handler]\ntype = "playbook"\ndefalt = "x"',
            ":4: ua.handler.defalt: no such key; did you mean default?",
        ),
        ("ua = 1", ":1: ua: no such key"),
    ],
)
def test_errors_in_ua_point_there(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert message in str(caught.value)


def test_no_file_means_defaults() -> None:
    assert load_config() == Config()


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('udp_port = 5070\nhttp_addr = "0.0.0.0:80"\n' + RULES)
    handler = {"type": "playbook", "default": "other.md"}
    config = load_config(file, {"udp_port": ("--sip", 5080), "handler": ("--handler", handler)})
    assert (config.udp_port, config.http_addr) == (5080, "0.0.0.0:80")
    assert isinstance(config.handler, PlaybookHandler)
    assert config.handler.rules == []


def test_a_wrong_flag_is_named_and_its_file_is_not(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("udp_port = 5070\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {"http_addr": ("--http", "nowhere")})
    assert str(caught.value) == '--http: "nowhere" is not an address; write IP:port, like 0.0.0.0:8080'


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = = 2\n", ":2: not valid TOML: "),
        (b"a = 1\nb =", ":2: not valid TOML: "),
        (b"a = 1\na = 2\n", ":2: not valid TOML: Cannot overwrite a value; the key stands there twice"),
        (b"addr = 0.0.0.0\n", "; text needs quotes"),
        (
            b'addr = "0.0.0.0\nudp_port = 1\n',
            ":1: not valid TOML: Illegal character '\\n'; the quotes are not closed",
        ),
        (b"a = '\xff'\n", "is not UTF-8 text"),
    ],
)
def test_an_unreadable_file_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert message in str(caught.value)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xef\xbb\xbfudp_port = 1\n")
    assert load_config(file).udp_port == 1


def test_the_environment_wins_over_env_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVE_CALL_KEPT", "old")
    monkeypatch.setenv("ACTIVE_CALL_NEW", "")
    monkeypatch.delenv("ACTIVE_CALL_NEW")
    (tmp_path / ".env").write_text("ACTIVE_CALL_KEPT=new\nACTIVE_CALL_NEW=from file\n")
    load_env(tmp_path)
    assert os.environ["ACTIVE_CALL_KEPT"] == "old"
    assert os.environ["ACTIVE_CALL_NEW"] == "from file"


def test_no_env_file_is_fine(tmp_path: Path) -> None:
    load_env(tmp_path)
