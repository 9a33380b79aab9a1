import logging

import pytest

from active_call.api.access_log import AccessLog, client_address


def test_a_line_has_client_method_status_length_time_and_target(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "http.access")
    AccessLog().log("192.0.2.1", {}, "GET", "/list?a=1", 200, length="12", ms=1.23456)
    assert caplog.messages == ["192.0.2.1 | GET | 200 | 12 | 1.235 ms | /list?a=1"]


def test_secrets_in_the_query_are_masked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "http.access")
    AccessLog().log("192.0.2.1", {}, "GET", "/call?id=a@b:1&token=hunter2", 101)
    assert "hunter2" not in caplog.text
    assert "id=a@b:1" in caplog.text


def test_unwanted_paths_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "http.access")
    log = AccessLog(lambda path: path != "/health")
    log.log("-", {}, "GET", "/health?verbose", 200)
    log.log("-", {}, "GET", "/list", 200)
    assert [message.rpartition(" ")[2] for message in caplog.messages] == ["/list"]


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "192.0.2.1"),
        ({"x-forwarded-for": "198.51.100.7, 10.0.0.1"}, "198.51.100.7"),
        ({"x-real-ip": "198.51.100.8", "x-client-ip": "198.51.100.9"}, "198.51.100.9"),
        ({"cf-connecting-ip": "2001:db8::1"}, "2001:db8::1"),
        ({"x-client-ip": "a\nforged line"}, "192.0.2.1"),
        ({"x-client-ip": " "}, "192.0.2.1"),
    ],
)
def test_a_proxy_says_who_the_client_is(headers: dict[str, str], address: str) -> None:
    assert client_address(headers.get, "192.0.2.1") == address
