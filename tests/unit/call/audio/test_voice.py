import asyncio
import base64
import io
import wave
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import SecretStr

from active_call.call.audio import voice as voice_module
from active_call.call.audio.voice import Speech, Voice, key_of, option_of, precache
from active_call.core.audio import Pcm
from active_call.core.errors import MediaError, ProviderError
from active_call.media.cache import SPEECH, MediaCache
from active_call.speech.providers import TtsChunk
from active_call.testing.clock import run
from active_call.wire.commands import Tts
from active_call.wire.options import TtsOption
from tests.unit.call.fakes import SampleVoice

OPTION = TtsOption(provider="sample")


class QuietVoice:
    """Can't do `volume`; says what it is told to."""

    lacks_volume: ClassVar[bool] = True

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks

    async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
        async for _ in text:
            for data in self._chunks:
                yield TtsChunk(np.frombuffer(data, np.int16))


def speak(
    command: Tts,
    option: TtsOption,
    monkeypatch: pytest.MonkeyPatch,
    provider: Any = None,
    cache: MediaCache | None = None,
) -> tuple[Pcm, list[tuple[str, dict[str, Any]]]]:
    """What is heard of a command, and what was measured."""
    monkeypatch.setattr(voice_module, "load_tts", lambda name: provider or SampleVoice())
    measured: list[tuple[str, dict[str, Any]]] = []

    async def heard() -> Pcm:
        voice = Voice(cache, lambda key, ms, details: measured.append((key, details)), lambda: 0)
        pieces = [chunk.pcm async for chunk in voice.say(command, option, 4)]
        return np.concatenate([np.zeros(0, np.int16), *pieces])

    return run(heard()), measured


def test_the_commands_speaker_wins_over_both_options() -> None:
    base = TtsOption(provider="a", speaker="x", speed=1.2, extra={"k": "v"})
    assert option_of(base, Tts(text="t")) == base
    merged = option_of(base, Tts(text="t", speaker="z", option=TtsOption(speaker="y", volume=3)))
    assert (merged.provider, merged.speaker, merged.speed, merged.volume) == ("a", "z", 1.2, 3)
    assert option_of(None, Tts(text="t")) == TtsOption()


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "other"},
        {"model": "m"},
        {"speaker": "a.b"},
        {"speed": 1.5},
        {"volume": 6},
        {"emotion": "happy"},
        {"language": "en"},
        {"samplerate": 8_000},
        {"codec": "pcm"},
        {"endpoint": "http://x"},
        {"extra": {"a": "b"}},
    ],
)
def test_all_that_changes_the_sound_changes_the_key(change: dict[str, Any]) -> None:
    base = TtsOption(provider="sample", speed=1.2)
    assert key_of(Tts(text="a"), base) != key_of(Tts(text="a"), base.model_copy(update=change))
    assert key_of(Tts(text="a"), base) != key_of(Tts(text="b"), base)


def test_secrets_and_the_like_do_not_change_the_key() -> None:
    secret = OPTION.model_copy(update={"secret_key": SecretStr("s"), "app_id": "1", "max_concurrent_tasks": 3})
    assert key_of(Tts(text="a"), OPTION) == key_of(Tts(text="a", play_id="p"), secret)
    assert key_of(Tts(text="a", cache_key="mine"), OPTION) == "mine"


def test_measurements_name_command_and_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Tts(text="hello", play_id="p")
    _, measured = speak(command, TtsOption(provider="sample", speaker="anna"), monkeypatch)
    details = {"cmdSeq": 4, "playId": "p", "speaker": "anna"}
    done = {"length": 3_200, "cached": False, "ttfb": 0, "duration": 0}
    assert measured == [("ttfb.tts.sample", details), ("completed.tts.sample", details | done)]


@pytest.mark.parametrize(("volume", "heard"), [(None, 100), (5, 100), (10, 200), (1, 20), (0, 0)])
def test_volume_is_done_for_voices_that_lack_it(
    monkeypatch: pytest.MonkeyPatch, volume: int | None, heard: int
) -> None:
    quiet = QuietVoice(np.full(10, 100, np.int16).tobytes())
    pcm, _ = speak(Tts(text="a"), TtsOption(provider="sample", volume=volume), monkeypatch, quiet)
    assert pcm.tolist() == [heard] * 10
    pcm, _ = speak(Tts(text="a"), TtsOption(provider="sample", volume=volume), monkeypatch)
    assert pcm.tolist() == [100] * 320


def test_loud_samples_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = QuietVoice(np.array([30_000, -30_000], np.int16).tobytes())
    pcm, _ = speak(Tts(text="a"), TtsOption(provider="sample", volume=10), monkeypatch, quiet)
    assert pcm.tolist() == [32_767, -32_768]


def wav(samples: bytes, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples)
    return file.getvalue()


@pytest.mark.parametrize("extra", [b"", b"LIST\4\0\0\0abcd"])
def test_a_wav_header_before_the_samples_is_not_heard(monkeypatch: pytest.MonkeyPatch, extra: bytes) -> None:
    data = wav(b"\1\0\2\0")
    data = data[:36] + extra + data[36:]
    pcm, _ = speak(Tts(text="a"), OPTION, monkeypatch, QuietVoice(data, b"RIFF"))
    assert pcm.tobytes() == b"\1\0\2\0RIFF"


def test_base64_is_raw_samples_or_a_wav_file(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.arange(160, dtype="<i2").tobytes()
    for data, rate, heard in ((samples, None, 160), (samples, 8_000, 320), (wav(samples, 8_000), None, 320)):
        text = base64.encodebytes(data).decode()  # with line ends
        option = TtsOption(samplerate=rate)
        pcm, measured = speak(Tts(text=text, base64=True), option, monkeypatch)
        assert len(pcm) == heard
        assert measured == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no!", "not base64"),
        ("AAA", "not base64"),
        ("\u00e4", "not base64"),
        ("AAAA", "3 bytes are no whole number"),
        (base64.b64encode(b"RIFF\0\0\0\0WAVE").decode(), "without its fmt chunk"),
    ],
)
def test_wrong_base64_is_refused(monkeypatch: pytest.MonkeyPatch, text: str, error: str) -> None:
    with pytest.raises(ProviderError, match=error):
        speak(Tts(text=text, base64=True), OPTION, monkeypatch)


def test_a_cache_key_plays_what_is_under_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = MediaCache(tmp_path)
    cache.write_speech("../mine", np.arange(5, dtype=np.int16))
    pcm, measured = speak(Tts(text="hello", cache_key="../mine"), OPTION, monkeypatch, cache=cache)
    assert pcm.tolist() == [0, 1, 2, 3, 4]
    assert measured[0][1]["cached"]


def test_a_cache_that_fails_does_not_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    pcm, _ = speak(Tts(text="hello"), OPTION, monkeypatch, cache=MediaCache(tmp_path / "file" / "folder"))
    assert len(pcm) == 1_600


def test_base64_is_never_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speak(Tts(text="AAAA" * 4, base64=True, cache_key="k"), OPTION, monkeypatch, cache=MediaCache(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_precached_speech_is_played_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())
    cache, command = MediaCache(tmp_path), Tts(text="hello", option=OPTION)
    first, second = (asyncio.run(precache(command, None, cache)) for _ in range(2))
    assert (first.status, second.status) == ("cached", "exists")
    assert first.key == second.key == key_of(command, OPTION)
    assert first.bytes == second.bytes == cache.size(first.key, SPEECH) == 3_200
    _, measured = speak(Tts(text="hello"), OPTION, monkeypatch, cache=cache)
    assert measured[-1][1]["cached"]
    _, measured = speak(Tts(text="other", cache_key=first.key), OPTION, monkeypatch, cache=cache)
    assert measured[-1][1]["cached"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (Tts(text="fail", option=OPTION), "hoarse"),
        (Tts(text="hello"), "no tts provider is named"),
        (Tts(text=" ", option=OPTION), "nothing to say"),
        (Tts(text="AAAA", base64=True, option=OPTION), "not cached"),
    ],
)
def test_what_can_not_be_precached_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Tts, error: str
) -> None:
    monkeypatch.setattr(voice_module, "load_tts", lambda name: SampleVoice())
    with pytest.raises((MediaError, ProviderError), match=error):
        asyncio.run(precache(command, None, MediaCache(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_long_text_is_cached_whole_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [np.full(16_000, second, np.int16).tobytes() for second in range(1, 26)]
    cache = MediaCache(tmp_path)
    spoken, _ = speak(Tts(text="long"), OPTION, monkeypatch, QuietVoice(*seconds), cache)
    again, measured = speak(Tts(text="long"), OPTION, monkeypatch, QuietVoice(), cache)
    assert len(again) == 25 * 16_000
    assert again.tolist() == spoken.tolist()
    assert measured[-1][1]["cached"] is True


def test_a_voice_that_fails_half_way_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(QuietVoice):
        async def synthesize(self, text: AsyncIterable[str], option: TtsOption) -> AsyncIterator[TtsChunk]:
            for _ in range(12):
                yield TtsChunk(np.ones(16_000, np.int16))
            raise ProviderError("sample", "no more")

    with pytest.raises(ProviderError, match="no more"):
        speak(Tts(text="long"), OPTION, monkeypatch, Broken(), MediaCache(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_voice_that_is_five_seconds_ahead_waits() -> None:
    made = 0

    async def chunks() -> AsyncIterator[TtsChunk]:
        nonlocal made
        for _ in range(30):
            made += 1
            yield TtsChunk(np.zeros(16_000, np.int16))

    async def main() -> None:
        speech = Speech()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(speech.make(chunks()))
            await asyncio.sleep(1)
            assert made == 6
            assert len([chunk async for chunk in speech.chunks()]) == 30

    run(main())
