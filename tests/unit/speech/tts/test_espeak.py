import asyncio

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="needs the extra: pip install 'active-call[local]'")

# ruff: noqa: E402
from active_call.core.errors import ProviderError
from active_call.speech.providers import Tts
from active_call.speech.tts.espeak import EspeakTts
from active_call.testing.suites.tts import TtsSuite, pieces, spoken
from active_call.wire.options import TtsOption


class TestEspeak(TtsSuite):
    def tts(self) -> Tts:
        return EspeakTts()

    def option(self) -> TtsOption:
        return TtsOption(provider="espeak")

    def bad_option(self) -> TtsOption:
        return TtsOption(provider="espeak", speaker="alloy")


def length(text: str, **option: object) -> int:
    return len(asyncio.run(spoken(EspeakTts(), TtsOption.model_validate(option), text)))


def test_speed_shortens_speech() -> None:
    assert length("One two three four five.", speed=2.0) < 0.7 * length("One two three four five.")


def test_volume_changes_loudness_and_zero_is_silent() -> None:
    def peak(volume: int) -> int:
        pcm = asyncio.run(spoken(EspeakTts(), TtsOption(volume=volume), "Hello."))
        return int(np.abs(pcm.astype(int)).max())

    assert peak(0) < peak(2) < peak(5)
    assert peak(0) < 10


def test_voice_by_language() -> None:
    assert length("\u4f60\u597d\uff0c\u4e16\u754c", language="zh-CN") != length(
        "\u4f60\u597d\uff0c\u4e16\u754c"
    )


def test_unknown_region_falls_back_to_the_language() -> None:
    assert length("Hello.", language="en-IN") > 0


@pytest.mark.parametrize("option", [{"speaker": "en-us+nobody"}, {"language": "xx"}, {"speaker": "../x"}])
def test_a_wrong_voice_is_named(option: dict[str, str]) -> None:
    with pytest.raises(ProviderError, match=next(iter(option.values())).replace("+", r"\+")):
        length("Hello.", **option)


def test_chunks_are_short_and_carry_their_sentence() -> None:
    async def chunks() -> list[tuple[int, str | None]]:
        speech = EspeakTts().synthesize(pieces("First. ", "Second."), TtsOption())
        return [(len(chunk.pcm), chunk.text) async for chunk in speech]

    result = asyncio.run(chunks())
    assert max(samples for samples, _ in result) <= 16_000 * 0.1
    assert list(dict.fromkeys(text for _, text in result)) == ["First.", " Second."]
