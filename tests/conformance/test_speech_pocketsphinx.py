"""The recogniser in its own processes, hearing the espeak voice."""

import asyncio
import os
import signal
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

_EXTRA = "needs the extra: pip install 'active-call[local]'"
pytest.importorskip("pocketsphinx", reason=_EXTRA)
pytest.importorskip("espeakng_loader", reason=_EXTRA)

# ruff: noqa: E402
from active_call.core.audio import Pcm
from active_call.core.errors import ProviderError
from active_call.core.resample import resample
from active_call.speech.asr.pocketsphinx import PocketSphinxAsr
from active_call.speech.providers import Asr
from active_call.speech.tts.espeak import EspeakTts
from active_call.testing.suites.asr import AsrSuite, feed, heard
from active_call.testing.suites.tts import spoken
from active_call.wire.options import AsrOption, TtsOption

BOOK = "I would like to book a table"
PHRASES = [BOOK, "What time do you open?", "Opening hours", "Goodbye", "Yes"]
_PAD = np.zeros(4_800, np.int16)


@pytest.fixture(scope="module", autouse=True)
def recogniser() -> Iterator[PocketSphinxAsr]:
    asr = _recogniser()
    yield asr
    asr.close()
    _recogniser.cache_clear()


@cache
def _recogniser() -> PocketSphinxAsr:
    return PocketSphinxAsr()


@cache
def said(text: str) -> Pcm:
    """`text` as the telephone would carry it."""
    pcm = asyncio.run(spoken(EspeakTts(), TtsOption(speaker="en-us"), text))
    noise = np.random.default_rng(0).normal(0, 15, len(pcm) + 2 * len(_PAD))
    wide = (np.concatenate((_PAD, pcm // 2, _PAD)) + noise).astype(np.int16)
    return resample(resample(wide, 16_000, 8_000), 8_000)


def texts(*utterances: Pcm, **option: object) -> list[str]:
    option.setdefault("phrases", PHRASES)
    results = asyncio.run(heard(_recogniser(), AsrOption.model_validate(option), *utterances))
    return [result.text for result in results]


class TestPocketSphinx(AsrSuite):
    text = "What time do you open?"

    def asr(self) -> Asr:
        return _recogniser()

    def speech(self) -> Pcm:
        return said(self.text)

    def option(self) -> AsrOption:
        return AsrOption(provider="pocketsphinx", phrases=PHRASES)

    def bad_option(self) -> AsrOption:
        return AsrOption(provider="pocketsphinx", language="zh")


@pytest.mark.parametrize("text", PHRASES[:4])
def test_expected_phrases_are_told_apart(text: str) -> None:
    assert texts(said(text)) == [text]


@pytest.mark.parametrize("text", ["The weather is nice today", "I am eating a sandwich", "Purple elephants"])
def test_unrelated_speech_is_nothing(text: str) -> None:
    assert texts(said(text)) == []


def test_expect_replaces_the_phrases() -> None:
    pcm = said(BOOK)

    async def scene() -> list[str]:
        async with _recogniser().open(AsrOption(phrases=["goodbye"])) as stream:
            await stream.expect(PHRASES)
            await feed(stream, pcm)
            await stream.finish()
            return [result.text async for result in stream if result.final]

    assert asyncio.run(scene()) == [BOOK]


def test_results_come_while_speaking() -> None:
    pcm = said(BOOK)

    async def scene() -> list[bool]:
        async with _recogniser().open(AsrOption(phrases=PHRASES)) as stream:
            finals: list[bool] = []

            async def read() -> None:
                finals.extend([result.final async for result in stream])

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(read())
                await stream.speech_started(4_800)
                for at in range(0, len(pcm), 1_600):
                    await stream.send(pcm[at : at + 1_600], at)
                    await asyncio.sleep(0.05)
                await stream.speech_ended(len(pcm))
                await stream.finish()
            return finals

    finals = asyncio.run(scene())
    assert len(finals) > 1
    assert finals == [False] * (len(finals) - 1) + [True]


def test_without_phrases_it_takes_dictation() -> None:
    (text,) = texts(said("What time do you open?"), phrases=None)
    assert "open" in text or "time" in text or "what" in text


def test_words_without_pronunciation_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert texts(said(BOOK), phrases=[BOOK, "xqzzyvw"]) == [BOOK]
    assert caplog.text.count("xqzzyvw") == 1


def test_compound_words_are_heard_in_parts() -> None:
    assert texts(said("web hook"), phrases=["Webhook", "no"]) == ["Webhook"]


def test_other_languages_are_refused_with_a_reason() -> None:
    with pytest.raises(ProviderError, match="English model only"):
        texts(language="zh-CN")


def test_a_killed_process_is_replaced(recogniser: PocketSphinxAsr, caplog: pytest.LogCaptureFixture) -> None:
    assert texts(said(BOOK)) == [BOOK]
    for pid in recogniser.pids:
        os.kill(pid, signal.SIGKILL)
    assert texts(said(BOOK)) == [BOOK]
    assert "died" in caplog.text


def test_the_event_loop_stays_free() -> None:
    pcm = said(BOOK)

    async def scene() -> float:
        loop = asyncio.get_running_loop()
        worst = 0.0
        done = asyncio.Event()

        async def watch() -> None:
            nonlocal worst
            while not done.is_set():
                before = loop.time()
                await asyncio.sleep(0.001)
                worst = max(worst, loop.time() - before)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(watch())
            await heard(_recogniser(), AsrOption(phrases=PHRASES), *[pcm] * 4)
            done.set()
        return worst

    assert asyncio.run(scene()) < 0.15
