"""Merging of options, layer over layer."""

import pytest
from pydantic import SecretStr, ValidationError

from active_call.wire.options import CallOption, RecorderOption, SipOption, TtsOption, merge

OPERATOR = CallOption(
    tts=TtsOption(provider="openai", speaker="alloy", speed=1.2, secret_key=SecretStr("hush"), app_id="1")
)


def merged_tts(over: TtsOption) -> TtsOption:
    merged = merge(OPERATOR, CallOption(tts=over))
    assert merged is not None
    assert merged.tts is not None
    return merged.tts


def test_what_is_not_given_stays() -> None:
    tts = merged_tts(TtsOption(speaker="echo"))
    assert (tts.speaker, tts.speed, tts.secret_key) == ("echo", 1.2, SecretStr("hush"))


@pytest.mark.parametrize("over", [TtsOption(endpoint="http://elsewhere"), TtsOption(provider="other")])
def test_credentials_do_not_go_elsewhere(over: TtsOption) -> None:
    tts = merged_tts(over)
    assert tts.secret_key is None
    assert tts.app_id is None
    assert tts.speed == 1.2


def test_credentials_that_come_with_the_other_service_are_taken() -> None:
    tts = merged_tts(TtsOption(endpoint="http://elsewhere", secret_key=SecretStr("mine")))
    assert tts.secret_key == SecretStr("mine")


def test_naming_the_same_service_again_changes_nothing() -> None:
    assert merged_tts(TtsOption(provider="openai")).secret_key == SecretStr("hush")


def test_a_provider_named_for_the_first_time_gets_the_key_that_waited() -> None:
    base, over = TtsOption(secret_key=SecretStr("hush")), TtsOption(provider="openai")
    merged = merge(base, over)
    assert merged is not None
    assert merged.secret_key == SecretStr("hush")


def test_options_without_a_service_merge_by_field() -> None:
    merged = merge(SipOption(username="u", password=SecretStr("p")), SipOption(realm="r"))
    assert merged == SipOption(username="u", password=SecretStr("p"), realm="r")


def test_a_recording_has_a_rate_that_its_filter_can_do() -> None:
    with pytest.raises(ValidationError, match="multiple of 25"):
        RecorderOption(samplerate=47_999)
    assert RecorderOption(samplerate=44_100).samplerate == 44_100


@pytest.mark.parametrize(
    "given",
    [
        {"vad": {"speechPadding": 10**23}},
        {"vad": {"silencePadding": 10**23}},
        {"vad": {"silenceTimeout": 10**400}},
        {"vad": {"maxBufferDurationSecs": 1e300}},
        {"recorder": {"ptime": 10**23}},
        {"eou": {"timeout": -5}},
        {"ambiance": {"duckLevel": float("inf")}},
        {"inactivityTimeout": float("inf")},
    ],
)
def test_numbers_that_no_call_can_use_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CallOption.model_validate(given)
