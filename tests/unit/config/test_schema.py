from pathlib import Path

import pytest

from active_call.config import Config, WebhookHandler
from active_call.config.loader import parse_config
from active_call.config.schema import UA_KEYS
from active_call.core.errors import ConfigError
from active_call.outbound import OutboundPolicy


def test_defaults() -> None:
    config = Config()
    assert (config.addr, config.udp_port, config.http_address) == ("0.0.0.0", 25060, ("0.0.0.0", 8080))
    assert (config.rtp_start_port, config.rtp_end_port) == (12000, 42000)
    assert config.codecs == ["pcmu", "pcma", "g722", "g729", "telephone_event", "opus"]
    assert (config.tcp, config.tls_port, config.tls_verify, config.enable_srtp) == (True, None, True, False)
    assert (config.graceful_shutdown, config.graceful_shutdown_timeout) == (True, 30.0)
    assert config.handler is None
    assert config.records_root is None
    assert not config.recording.every_call
    assert config.useragent.startswith("active-call/")
    assert config.not_effective() == []


def test_ua_keys_are_keys() -> None:
    assert set(Config.model_fields) >= UA_KEYS


@pytest.mark.parametrize(
    ("value", "seconds"), [("30", 30.0), ('"50s"', 50.0), ('"1m 30s"', 90.0), ("0.5", 0.5)]
)
def test_durations(value: str, seconds: float) -> None:
    assert parse_config(f"accept_timeout = {value}").accept_timeout == seconds


def test_codecs_have_aliases_and_any_case() -> None:
    config = parse_config('codecs = ["PCMA", "dtmf", "2833", "pcmu"]')
    assert config.codecs == ["pcma", "telephone_event", "pcmu"]
    assert config.audio_codecs == ("pcma", "pcmu")
    assert config.telephone_event
    assert config.not_effective() == []


def test_a_codec_that_this_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "active_call.config.schema.available_codecs", lambda: frozenset(("pcmu", "pcma", "g722"))
    )
    config = parse_config('codecs = ["g729", "g722", "pcmu"]')
    assert config.audio_codecs == ("g722", "pcmu")
    [line] = config.not_effective()
    assert line.startswith("codec g729 is left out: install the library libbcg729")
    assert Config().audio_codecs == ("pcmu", "pcma", "g722")
    assert Config().not_effective() == []


@pytest.mark.parametrize("codecs", ['["opus"]', '["telephone_event"]', "[]"])
def test_a_call_needs_an_audio_codec_that_works(codecs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("active_call.config.schema.available_codecs", lambda: frozenset(("pcmu", "pcma")))
    with pytest.raises(ConfigError, match="name pcmu or pcma"):
        parse_config(f"codecs = {codecs}")


@pytest.mark.parametrize(
    ("start", "end", "good"), [(12001, 12003, True), (12000, 12001, True), (12001, 12002, False)]
)
def test_the_rtp_range_holds_an_even_port_and_the_next(start: int, end: int, good: bool) -> None:
    text = f"rtp_start_port = {start}\nrtp_end_port = {end}"
    if good:
        assert parse_config(text).rtp_start_port == start
    else:
        with pytest.raises(ConfigError, match=":2: rtp_end_port: no even port"):
            parse_config(text)


def test_a_start_port_above_the_default_end_is_noticed() -> None:
    with pytest.raises(ConfigError, match="between 50000 and 42000"):
        parse_config("rtp_start_port = 50000")


def test_records_and_recordings() -> None:
    config = parse_config(
        '[recording]\nenabled = true\nauto_start = true\n[callrecord]\ntype = "local"\nroot = "/var/recordings"'
    )
    assert config.recording.every_call
    assert config.records_root == Path("/var/recordings")


def test_enabled_recording_without_auto_start_waits_to_be_asked() -> None:
    assert not parse_config("[recording]\nenabled = true").recording.every_call


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[callrecord]\ntype = "http"\nurl = "https://cdr.example/"', "callrecord"),
        ('[recording]\nformat = "pcmu"', "recording.format"),
        ("[console]\nany = 1", "console"),
        ("enable_ice_lite = true", "enable_ice_lite"),
    ],
)
def test_keys_without_effect_are_reported(text: str, key: str) -> None:
    [line] = parse_config(text).not_effective()
    assert line.startswith(f"key {key} is not effective yet: ")


def test_a_later_key_at_its_default_is_not_reported() -> None:
    assert parse_config("enable_ice_lite = false").not_effective() == []


def test_the_keys_of_sip_are_effective() -> None:
    config = parse_config(
        'tls_port = 5061\ntls_cert_file = "cert.pem"\ntls_key_file = "key.pem"\ntls_verify = false\n'
        'tls_ca_file = "ca.pem"\ntcp = false\nenable_srtp = "require"\nauto_learn_public_address = true\n'
        'callid_suffix = "gw1.example.com"\nenable_options_response = false\naddr = "::"\n'
        '[[register_users]]\nserver = "pbx.example"\nusername = "1001"\n'
        '[[rewrites]]\nmatch = "a"\nrewrite = "b"\n'
        '[[trunk_rules]]\nmatch.from.user = "^1"\nrewrite.to.host = "b.example"'
    )
    assert config.not_effective() == []
    assert config.enable_srtp == "require"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tls_port = 5061", r":1: tls_port: needs a certificate: write tls_cert_file = "),
        (
            'udp_port = 5060\ntls_cert_file = "c.pem"\ntls_port = 5060',
            ":3: tls_port: 5060 is the port of SIP over UDP and TCP already",
        ),
        ('enable_srtp = "yes"', ':1: enable_srtp: write true .offer it., false or "require"'),
        ('srtp = "require"\nenable_srtp = true', ":1: srtp: is also written as enable_srtp"),
        ('callid_suffix = "a b"', ":1: callid_suffix: does not look right"),
    ],
)
def test_what_does_not_go_together(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_config(text)


def test_tls_and_udp_may_share_a_port_without_tcp() -> None:
    text = 'udp_port = 5060\ntls_cert_file = "c.pem"\ntls_port = 5060\ntcp = false'
    assert parse_config(text).tls_port == 5060


def test_a_certificate_without_a_port_is_reported() -> None:
    assert parse_config('tls_cert_file = "c.pem"').not_effective() == [
        "key tls_cert_file is not effective: there is no tls_port"
    ]


@pytest.mark.parametrize(("text", "policy"), [('srtp = "require"', "require"), ("srtp = true", True)])
def test_srtp_is_another_name(text: str, policy: object) -> None:
    assert parse_config(text).enable_srtp == policy


def test_an_account_may_be_there_once() -> None:
    user = '[[register_users]]\nserver = "{}"\nusername = "1001"\n{}'
    with pytest.raises(ConfigError, match=":1: register_users: 1001 at PBX.example is there twice"):
        parse_config(user.format("pbx.example", "") + user.format("PBX.example", ""))
    two = user.format("pbx.example", "disabled = true\n") + user.format("pbx.example", "")
    assert len(parse_config(two).register_users) == 2


def test_the_keys_of_the_api_are_effective() -> None:
    config = parse_config(
        'http_gzip = true\nhttp_access_skip_paths = ["/health"]\nllmproxy = "http://llm.example/v1"\n'
        'media_cache_path = "/var/cache/media"\naccept_timeout = "20s"\n'
        '[[ice_servers]]\nurls = ["stun:stun.example:3478"]\n'
        "[ambiance]\nduckLevel = 0.2\n[outbound]\nallow_private = false\n"
        '[handler]\ntype = "webhook"\nurl = "http://localhost:8090/webhook"\nmethod = "POST"'
    )
    assert config.not_effective() == []
    assert isinstance(config.handler, WebhookHandler)
    assert config.handler.targets == ("http://localhost:8090/webhook",)


@pytest.mark.parametrize(
    ("path", "logged"),
    [("/health", False), ("/health/x", True), ("/metrics", False), ("/metrics/call", False), ("/call", True)],
)
def test_paths_that_are_kept_out_of_the_access_log(path: str, logged: bool) -> None:
    assert parse_config('http_access_skip_paths = ["/health", "/metrics*"]').logs_access(path) is logged


def test_ice_servers_as_browsers_get_them() -> None:
    config = parse_config(
        '[[ice_servers]]\nurls = ["stun:stun.example:3478"]\n'
        '[[ice_servers]]\nurls = ["turn:turn.example:3478"]\nusername = "user"\ncredential = "pass"'
    )
    assert config.browser_ice_servers == [
        {"urls": ["stun:stun.example:3478"], "username": None, "credential": None},
        {"urls": ["turn:turn.example:3478"], "username": "user", "credential": "pass"},
    ]
    assert [server["urls"] for server in Config().browser_ice_servers] == [["stun:stun.l.google.com:19302"]]


def test_an_ice_server_is_stun_or_turn() -> None:
    with pytest.raises(ConfigError, match=r":2: ice_servers\[0\]\.urls\[0\]: .* write one like stun:"):
        parse_config('[[ice_servers]]\nurls = ["http://stun.example"]')


def test_limits_of_outbound_urls() -> None:
    policy = parse_config(
        '[outbound]\nallow_private = false\nallow_hosts = ["*.Example.com", "10.1.0.0/16"]\n'
        'deny_hosts = ["*"]\nmax_bytes = 1000\ntimeout = "500ms"'
    ).outbound.policy
    assert policy == OutboundPolicy(
        False, ("*.example.com", "10.1.0.0/16"), ("*",), max_bytes=1000, timeout=0.5
    )
    assert Config().outbound.policy == OutboundPolicy()


@pytest.mark.parametrize("host", ["http://a.example", "a.example:80", "10.0.0.0/40", ""])
def test_a_host_that_can_match_nothing_is_an_error(host: str) -> None:
    with pytest.raises(ConfigError, match=r":2: outbound\.deny_hosts\[0\]: .* is not a"):
        parse_config(f'[outbound]\ndeny_hosts = ["{host}"]')


@pytest.mark.parametrize("url", ["ftp://llm.example", "http://", "http://llm.example:99999/", "llm.example"])
def test_llmproxy_is_a_url(url: str) -> None:
    with pytest.raises(ConfigError, match=":1: llmproxy: is not a URL; write one like https"):
        parse_config(f'llmproxy = "{url}"')


def test_s3_records_take_all_vendors_and_hide_keys() -> None:
    config = parse_config(
        '[callrecord]\ntype = "s3"\nvendor = "minio"\nbucket = "b"\nregion = "r"\naccess_key = "hidden-a"\n'
        'secret_key = "hidden-s"\nendpoint = "http://s3.example"\nroot = "/"\nwith_media = true'
    )
    assert "hidden" not in repr(config)


def test_a_wrong_start_port_is_one_error_only() -> None:
    with pytest.raises(ConfigError) as error:
        parse_config('rtp_start_port = "a"', "c.toml")
    assert "rtp_start_port" in str(error.value)
    assert "rtp_end_port" not in str(error.value)
