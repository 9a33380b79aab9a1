"""What every recogniser must do: subclass in a test module, set the attributes, and pytest runs it."""

import asyncio

from active_call.core.audio import TICK_SAMPLES, Pcm
from active_call.core.errors import ProviderError
from active_call.speech.providers import Asr, AsrResult, AsrStream
from active_call.wire.options import AsrOption


async def feed(stream: AsrStream, pcm: Pcm, position: int = 0) -> int:
    """Send `pcm` tick by tick, as one utterance that fills it; the position after it."""
    for first in range(0, len(pcm), TICK_SAMPLES):
        await stream.send(pcm[first : first + TICK_SAMPLES], position + first)
        if first == 0:
            await stream.speech_started(position)
    await stream.speech_ended(position + len(pcm))
    return position + len(pcm)


async def heard(asr: Asr, option: AsrOption, *utterances: Pcm) -> list[AsrResult]:
    """The final results for `utterances`, spoken one after the other."""
    async with asr.open(option) as stream:
        position = 0
        for pcm in utterances:
            position = await feed(stream, pcm, position)
        await stream.finish()
        return [result async for result in stream if result.final]


class AsrSuite:
    """Conformance of one recogniser."""

    text = "Yes"

    def asr(self) -> Asr:
        """The recogniser under test."""
        raise NotImplementedError

    def speech(self) -> Pcm:
        """Somebody saying `text`, with a little silence around."""
        raise NotImplementedError

    def option(self) -> AsrOption:
        """With which it hears `text`."""
        raise NotImplementedError

    def bad_option(self) -> AsrOption:
        """With which it must raise ProviderError, when opened or when decoding."""
        raise NotImplementedError

    def test_speech_becomes_text(self) -> None:
        (result,) = asyncio.run(heard(self.asr(), self.option(), self.speech()))
        assert result.text == self.text

    def test_results_carry_lane_positions_in_order(self) -> None:
        first, second = asyncio.run(heard(self.asr(), self.option(), self.speech(), self.speech()))
        assert 0 <= first.start < first.end <= second.end
        assert second.start < second.end

    def test_finish_without_speech_ends_the_iterator(self) -> None:
        assert asyncio.run(heard(self.asr(), self.option())) == []

    def test_leaving_in_mid_utterance_leaves_it_usable(self) -> None:
        speech = self.speech()

        async def left() -> list[AsrResult]:
            asr = self.asr()
            async with asr.open(self.option()) as stream:
                await stream.send(speech, 0)
                await stream.speech_started(0)
            return await heard(asr, self.option(), speech)

        assert len(asyncio.run(left())) == 1

    def test_two_at_once(self) -> None:
        speech = self.speech()

        async def both() -> list[list[AsrResult]]:
            asr = self.asr()
            return await asyncio.gather(*(heard(asr, self.option(), speech) for _ in range(2)))

        assert [[result.text for result in one] for one in asyncio.run(both())] == [[self.text]] * 2

    def test_bad_option_is_a_provider_error(self) -> None:
        refusal: ProviderError | None = None
        try:
            asyncio.run(heard(self.asr(), self.bad_option(), self.speech()))
        except ProviderError as error:
            refusal = error
        assert refusal is not None, "a wrong option was accepted"
        assert str(refusal)
