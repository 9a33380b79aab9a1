"""mediaPass: a service of the client's takes over the audio of a call."""

import asyncio
from collections.abc import Iterator

import pytest

from active_call.client import connect
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import MediaPassOption
from tests.e2e.api import PCM, Log, echo_service, loud, option, purity, run, send_paced, tone

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000])
def test_the_service_hears_the_caller_and_is_heard(gateway: GatewayProcess, rate_hz: int) -> None:
    async def scene() -> tuple[Log, list[int], list[str], bytes]:
        async with echo_service() as echo, connect(gateway.ws_url, "webSocket") as call:
            log = Log.of(call)
            heard = bytearray()
            call.on_audio = heard.extend
            media = MediaPassOption(
                url=echo.url, input_sample_rate=rate_hz, output_sample_rate=rate_hz, packet_size=640
            )
            await call.start(option(codec="pcm", sample_rate=16_000, media_pass=media))
            await call.until(events.Answer)
            await send_paced(call, PCM.encode(tone(16_000, 700, 2.0)), PCM.frame_bytes)
            await asyncio.sleep(0.3)
            await call.hangup()
            await call.until(events.Hangup)
            return log, echo.sizes, echo.paths, bytes(heard)

    log, sizes, paths, heard = run(scene())
    assert set(sizes) == {640}
    assert paths == [f"/media?sample_rate={rate_hz}&packet_size=640"]
    sounding = loud(PCM.decode(heard), 16_000)
    assert abs(len(sounding) / 16_000 - 2.0) < 0.15
    assert purity(sounding, 16_000, 700) > 0.95
    assert log.all(events.Error) == []
    assert log.names("speaking", "silence", "eou", "asrFinal").count("trackEnd") == 2


def test_a_service_that_is_not_there_is_named(gateway: GatewayProcess) -> None:
    url = "ws://127.0.0.1:1/media"

    async def scene() -> None:
        async with connect(gateway.ws_url, "webSocket") as call:
            media = MediaPassOption(url=url)
            await call.start(option(codec="pcm", sample_rate=16_000, media_pass=media))
            error = await call.until(events.Error)
            assert error.sender == f"media_pass: {url}"
            await call.hangup()
            await call.until(events.Hangup)

    run(scene())
