import asyncio

import numpy as np
import pytest

from active_call.call.audio.track import Spoken, Track
from active_call.core.channel import ChannelFull
from active_call.speech.providers import TtsChunk
from active_call.testing.clock import run
from active_call.wire.commands import Tts


def chunk(text: str | None, samples: int, *words: int) -> TtsChunk:
    return TtsChunk(np.zeros(samples, np.int16), text, words)


@pytest.mark.parametrize(("position", "words"), [(0, 0), (99, 0), (100, 1), (250, 2), (399, 3), (500, 4)])
def test_words_are_shared_out_evenly(position: int, words: int) -> None:
    assert Spoken("one two three four", 0, 400).words_before(position) == words


def test_scripts_without_spaces_count_characters() -> None:
    assert Spoken("\u4f60\u597d\u5417", 0, 300).words_before(150) == 1


@pytest.mark.parametrize(("position", "words"), [(0, 0), (50, 0), (310, 1), (399, 1)])
def test_known_times_of_words_win(position: int, words: int) -> None:
    assert Spoken("one two", 0, 400, [50, 310]).words_before(position) == words


def test_chunks_of_one_text_are_one_subtitle() -> None:
    track = Track("p")
    track.take(chunk("one two", 100, 0), 1_000)
    track.take(chunk("one two", 100, 150), 1_100)
    track.take(chunk(None, 50), 1_200)
    track.take(chunk("three", 100), 1_250)
    assert track.spoken == [Spoken("one two", 1_000, 1_200, [1_000, 1_150]), Spoken("three", 1_250, 1_350)]
    assert track.position_in_text(1_160) == ("one two", 1)
    assert track.position_in_text(1_300) == ("three", 2)
    assert Track("q").position_in_text(5) == (None, None)


def test_pieces_come_in_order_up_to_the_end_of_the_stream() -> None:
    async def pieces() -> list[str]:
        track = Track("p", streaming=True)
        track.add(Tts(text="a"))
        track.add(Tts(text="b", end_of_stream=True))
        texts = []
        while (piece := await track.piece(1)) is not None:
            texts.append(piece.text)
        return texts

    assert run(pieces()) == ["a", "b"]


def test_a_piece_is_waited_for_but_not_for_ever() -> None:
    async def waiting() -> None:
        track = Track("p", streaming=True)
        asyncio.get_running_loop().call_later(3, track.add, Tts(text="late"))
        piece = await track.piece(5)
        assert piece is not None
        assert piece.text == "late"
        with pytest.raises(TimeoutError):
            await track.piece(5)
        assert asyncio.get_running_loop().time() == 8

    run(waiting())


def test_what_one_piece_asked_for_the_end_stays_until_disarmed() -> None:
    track = Track("p")
    track.add(Tts(text="a", auto_hangup=True, wait_input_timeout=5))
    track.add(Tts(text="b"))
    assert (track.auto_hangup, track.wait_input_timeout) == (True, 5)
    track.disarm()
    assert (track.auto_hangup, track.wait_input_timeout) == (False, None)


def test_too_many_pieces_are_refused() -> None:
    track = Track("p")
    for _ in range(1_000):
        track.add(Tts(text="a"))
    with pytest.raises(ChannelFull):
        track.add(Tts(text="a"))


def test_play_ids_tell_what_continues_a_track() -> None:
    track = Track("p")
    assert track.continued_by(Tts(text="a", play_id="p"))
    assert track.continued_by(Tts(text="a"))
    assert not track.continued_by(Tts(text="a", play_id="q"))
    assert not Track("x.wav", file=True).continued_by(Tts(text="a"))
    assert not Track(None).continued_by(Tts(text="a", play_id="p"))
