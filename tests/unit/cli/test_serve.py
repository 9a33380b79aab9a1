import pytest

from active_call.cli.serve import first_error, serve
from active_call.config import load_config
from active_call.core.errors import ConfigError, MediaError


def test_a_call_needs_a_playbook() -> None:
    with pytest.raises(ConfigError, match="add --handler"):
        serve(load_config(), call="sip:1001@127.0.0.1")


def test_a_log_file_that_cannot_be_written_is_named() -> None:
    with pytest.raises(ConfigError, match="log_file: /nowhere/a.log: No such file or directory"):
        serve(load_config(overrides={"log_file": ("", "/nowhere/a.log")}), call=None)


def test_our_own_error_is_found_in_nested_groups() -> None:
    ours = MediaError("no ports")
    group = ExceptionGroup("", [ValueError("x"), ExceptionGroup("", [ours, KeyError("y")])])
    assert first_error(group) is ours


def test_a_single_foreign_error_comes_out_of_its_groups() -> None:
    foreign = ValueError("x")
    assert first_error(ExceptionGroup("", [ExceptionGroup("", [foreign])])) is foreign


def test_several_foreign_errors_stay_together() -> None:
    group = ExceptionGroup("", [ValueError("x"), KeyError("y")])
    assert first_error(group) is group
