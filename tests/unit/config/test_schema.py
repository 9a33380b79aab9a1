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
    assert config.codecs == ["pcmu", "pcma", "telephone_event"]
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
    config = parse_config('codecs = ["PCMA", "opus", "dtmf", "2833", "pcmu"]')
    assert config.codecs == ["pcma", "opus", "telephone_event", "pcmu"]
    assert config.audio_codecs == ("pcma", "pcmu")
    assert config.telephone_event
    assert config.not_effective() == ["codec opus is not effective yet"]


@pytest.mark.parametrize("codecs", ['["opus"]', '["telephone_event"]', "[]"])
def test_a_call_needs_an_audio_codec_that_works(codecs: str) -> None:
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
        ("tls_port = 5061", "tls_port"),
        ("enable_srtp = true", "enable_srtp"),
        ('[[register_users]]\nserver = "pbx.example"\nusername = "1001"', "register_users"),
        ('[[rewrites]]\nmatch = "a"\nrewrite = "b"', "rewrites"),
        ('[[trunk_rules]]\nmatch.from.user = "^1"\nrewrite.to.host = "b.example"', "trunk_rules"),
        ('[callrecord]\ntype = "http"\nurl = "https://cdr.example/"', "callrecord"),
        ('[recording]\nformat = "pcmu"', "recording.format"),
        ("[console]\nany = 1", "console"),
    ],
)
def test_keys_without_effect_are_reported(text: str, key: str) -> None:
    [line] = parse_config(text).not_effective()
    assert line.startswith(f"key {key} is not effective yet: ")


def test_a_later_key_at_its_default_is_not_reported() -> None:
    assert parse_config("enable_srtp = false\nregister_users = []").not_effective() == []


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
    with pytest.raises(ConfigError, match=r":2: ice_servers\[0\]\.urls\[0\]: does not look right"):
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
