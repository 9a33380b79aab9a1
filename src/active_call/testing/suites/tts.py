"""What every voice must do: subclass in a test module, set the attributes, and pytest runs it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import numpy as np

from active_call.core.audio import SAMPLE_RATE, Pcm
from active_call.core.errors import ProviderError
from active_call.speech.providers import Tts, TtsChunk
from active_call.wire.options import TtsOption


async def pieces(*texts: str) -> AsyncIterator[str]:
    """Texts as a provider gets them."""
    for text in texts:
        yield text


async def spoken(tts: Tts, option: TtsOption, *texts: str) -> Pcm:
    """All audio of `texts`, shape (samples,)."""
    chunks = [chunk.pcm async for chunk in tts.synthesize(pieces(*texts), option)]
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int16)


class TtsSuite:
    """Conformance of one voice."""

    text = "Good morning. How can I help you?"

    def tts(self) -> Tts:
        """The voice under test."""
        raise NotImplementedError

    def option(self) -> TtsOption:
        """With which it works."""
        raise NotImplementedError

    def bad_option(self) -> TtsOption:
        """With which it must raise ProviderError."""
        raise NotImplementedError

    def test_speaks_16_khz_samples(self) -> None:
        pcm = asyncio.run(spoken(self.tts(), self.option(), self.text))
        assert pcm.dtype == np.int16
        assert len(pcm) > SAMPLE_RATE // 10
        assert np.abs(pcm.astype(int)).max() > 500

    def test_pieces_are_joined_to_sentences(self) -> None:
        whole = asyncio.run(spoken(self.tts(), self.option(), self.text))
        cut = asyncio.run(spoken(self.tts(), self.option(), *self.text))
        assert abs(len(cut) - len(whole)) < SAMPLE_RATE // 10

    def test_nothing_to_say_is_silence(self) -> None:
        assert len(asyncio.run(spoken(self.tts(), self.option(), "", " "))) == 0

    def test_each_chunk_says_something_and_texts_are_of_what_was_given(self) -> None:
        async def chunks() -> list[TtsChunk]:
            return [chunk async for chunk in self.tts().synthesize(pieces(self.text), self.option())]

        for chunk in asyncio.run(chunks()):
            assert chunk.pcm.ndim == 1
            assert len(chunk.pcm) > 0
            assert chunk.text is None or chunk.text.strip() in self.text
            assert not chunk.words or chunk.text is not None

    def test_volume_is_heard_or_left_to_the_gateway(self) -> None:
        """A voice without it says `lacks_volume`, and must not do it in part."""

        def loudness(volume: int) -> float:
            option = self.option().model_copy(update={"volume": volume})
            pcm = asyncio.run(spoken(self.tts(), option, self.text)).astype(float)
            return float(np.sqrt(np.mean(pcm**2)))

        quiet, loud = loudness(2), loudness(8)
        if getattr(self.tts(), "lacks_volume", False):
            assert abs(loud - quiet) < 0.1 * quiet
        else:
            assert loud > 1.5 * quiet

    def test_closing_stops_and_leaves_it_usable(self) -> None:
        async def stopped() -> Pcm:
            tts = self.tts()
            speech = cast("AsyncGenerator[TtsChunk]", tts.synthesize(pieces(self.text * 20), self.option()))
            await anext(speech)
            async with asyncio.timeout(1):
                await speech.aclose()
            return await spoken(tts, self.option(), self.text)

        assert len(asyncio.run(stopped())) > 0

    def test_two_at_once_do_not_mix(self) -> None:
        async def both() -> tuple[Pcm, Pcm, Pcm]:
            tts = self.tts()
            alone = await spoken(tts, self.option(), self.text)
            first, second = await asyncio.gather(
                spoken(tts, self.option(), self.text), spoken(tts, self.option(), self.text)
            )
            return alone, first, second

        alone, first, second = asyncio.run(both())
        assert abs(len(first) - len(alone)) < SAMPLE_RATE // 10
        assert abs(len(second) - len(alone)) < SAMPLE_RATE // 10

    def test_bad_option_is_a_provider_error(self) -> None:
        refusal: ProviderError | None = None
        try:
            asyncio.run(spoken(self.tts(), self.bad_option(), self.text))
        except ProviderError as error:
            refusal = error
        assert refusal is not None, "a wrong option was accepted"
        assert str(refusal)
