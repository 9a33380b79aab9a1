import pytest

from active_call.config.loader import parse_config
from active_call.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("udp_prot = 5", ":1: udp_prot: no such key; did you mean udp_port?"),
        ("[recording]\nauto_strat = true", ":2: recording.auto_strat: no such key; did you mean auto_start?"),
        (
            '[handler]\ntype = "playbook"\n[[handler.rules]]\nplaybook = "a.md"\ncalee = "x"',
            ":5: handler.rules[0].calee: no such key; did you mean callee?",
        ),
        ("[ambiance]\nduckLevl = 1.0", ":2: ambiance.duckLevl: no such key; did you mean duckLevel?"),
        (
            "[recording]\nudp_port = 5",
            ":2: recording.udp_port: no such key here; it is a top-level key: write it above the first [table]",
        ),
        (
            '[callrecord]\ntype = "local"\nzzz = 1',
            ":3: callrecord.zzz: no such key; known here are type, root",
        ),
        ("zzz = 1", ":1: zzz: no such key"),
        ('udp_port = "5060"', ":1: udp_port: is text; write a whole number, without quotes"),
        ("udp_port = true", ":1: udp_port: is true or false; write a whole number, without quotes"),
        ("udp_port = 5060.0", ":1: udp_port: is a number; write a whole number, without quotes"),
        ("udp_port = 65536", ":1: udp_port: 65536 is too large; write 65535 or less"),
        ("udp_port = -1", ":1: udp_port: -1 is too small; write 0 or more"),
        ("addr = 5", ':1: addr: is a number; write text in quotes, "..."'),
        ('enable_srtp = "yes"', ':1: enable_srtp: write true (offer it), false or "require"'),
        ('codecs = "pcmu"', ":1: codecs: is text; write a list, [...]"),
        ('codecs = [\n"pcmu",\n"opsu"]', ':3: codecs[1]: "opsu" is not a codec; did you mean opus?'),
        ('handler = "a.md"', ":1: handler: is text; write a table"),
        ("recording = true", ":1: recording: is true or false; write a table, [recording]"),
        (
            '[register_users]\nserver = "a"\nusername = "b"',
            ":1: register_users: is one table; there may be several, so write [[register_users]]",
        ),
        (
            '[handler]\ntype = "playbook"\n[handler.rules]\nplaybook = "a.md"',
            ":3: handler.rules: is one table; there may be several, so write [[handler.rules]]",
        ),
        ("[recording]\nsamplerate = 44099", ":2: recording.samplerate: 44099 is not a multiple of 25"),
        ('log_level = "warning"', ':1: log_level: "warning" is not known; did you mean warn?'),
        ('log_level = "x"', 'write one of "trace", "debug", "info", "warn", "error"'),
        ('accept_timeout = "50 parsecs"', ':1: accept_timeout: "50 parsecs" is not a duration'),
        ('external_ip = "1.2.3.4:5060"', ':1: external_ip: "1.2.3.4:5060" is not an IP address'),
        ('external_ip = "YOUR_PUBLIC_IP"', ':1: external_ip: "YOUR_PUBLIC_IP" is not an IP address'),
        ('external_ip = "0.0.0.0"', "is no address that others can reach"),
        ('http_addr = "8080"', ':1: http_addr: "8080" is not an address; write IP:port'),
        ('[handler]\ndefault = "a.md"', ':1: handler.type: is missing; write one of "playbook", "webhook"'),
        ('[handler]\ntype = "playbok"', ':2: handler.type: "playbok" is not known; did you mean playbook?'),
        ('[handler]\ntype = "webhook"', ":1: handler: a webhook needs a url"),
        (
            '[handler]\ntype = "playbook"\n[[handler.rules]]\ncaller = "(("\nplaybook = "a.md"',
            ':4: handler.rules[0].caller: "((" is not a regular expression: missing )',
        ),
        (
            '[handler]\ntype = "playbook"\n[[handler.rules]]\ncaller = "1"',
            ":3: handler.rules[0].playbook: is missing",
        ),
        ('useragent = ""', ":1: useragent: is empty"),
        ('useragent = "a\\r\\nb"', ":1: useragent: does not look right"),
        (
            "[[register_users]]\nserver = 5\nusername = 'a'",
            ":2: register_users[0].server: is a number; write text",
        ),
    ],
)
def test_an_error_names_line_and_key_and_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "a.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.toml:")


def test_all_errors_are_listed_in_the_order_of_the_file() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(
            '[recording]\nenabled = 1\nauto_strat = true\n[handler]\ntype = "x"\n[ua]\nadr = "1"', "a.toml"
        )
    lines = str(caught.value).splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "3", "5", "7"]


def test_secrets_are_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(
            '[[register_users]]\nserver = "a"\nusername = "b"\ncredential = { username = "c", password = 987 }'
        )
    assert "credential.password: is a number" in str(caught.value)
    assert "987" not in str(caught.value)
