"""`/call`: audio in binary frames, in every codec and rate, and what clients do wrong with it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from active_call.client import ClientError, Refused, Rest, connect
from active_call.testing.process import GatewayProcess
from active_call.wire import events
from active_call.wire.options import RecorderOption
from tests.e2e.api import (
    CODECS,
    PCM,
    TALK,
    Codec,
    Log,
    collect,
    loud,
    option,
    purity,
    read_wav,
    run,
    send_paced,
    tone,
    until,
    write_wav,
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), {"talk.md": TALK}) as process:
        write_wav(process.directory / "config" / "media" / "tone.wav", tone(16_000, 600, 1.0))
        yield process


def recordings(gateway: GatewayProcess) -> Path:
    return gateway.directory / "config" / "recorders"


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: f"{codec.name} {codec.rate_hz}")
def test_a_tone_goes_in_and_another_comes_out(gateway: GatewayProcess, codec: Codec) -> None:
    name = f"in-{codec.name}-{codec.rate_hz}.wav"

    async def scene() -> list[bytes]:
        async with connect(gateway.ws_url, "webSocket") as call:
            frames: list[bytes] = []
            call.on_audio = frames.append
            recorder = RecorderOption(recorder_file=name)
            await call.start(option(codec=codec.name, sample_rate=codec.rate_hz, recorder=recorder))
            await call.until(events.Answer)
            await call.tts("a" * 50, end_of_stream=True)  # 2 s of 440 Hz
            spoken = codec.encode(tone(codec.rate_hz, 700, 1.5))
            await send_paced(call, spoken, codec.frame_bytes)
            await call.until(events.TrackEnd)
            await asyncio.sleep(0.1)
            await call.hangup()
            await call.until(events.Hangup)
            return frames

    frames = run(scene())
    assert {len(frame) for frame in frames} == {codec.frame_bytes}
    sounding = loud(codec.decode(b"".join(frames)), codec.rate_hz)
    assert abs(len(sounding) / codec.rate_hz - 2.0) < 0.1
    assert purity(sounding, codec.rate_hz, 440) > 0.95
    rate, recorded = read_wav(recordings(gateway) / name)
    caller, agent = loud(recorded[:, 0], rate), loud(recorded[:, 1], rate)
    assert abs(len(caller) / rate - 1.5) < 0.2  # what was late is covered up, and the end fades
    assert purity(caller, rate, 700) > 0.95
    assert purity(agent, rate, 440) > 0.95


def test_frames_may_have_any_size(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with connect(gateway.ws_url, "webSocket") as call:
            recorder = RecorderOption(recorder_file="sizes.wav")
            await call.start(option(codec="pcm", sample_rate=16_000, recorder=recorder))
            await call.until(events.Answer)
            await send_paced(call, PCM.encode(tone(16_000, 700, 1.5)), PCM.frame_bytes, message_bytes=777)
            await asyncio.sleep(0.2)
            await call.hangup()
            await call.until(events.Hangup)

    run(scene())
    rate, recorded = read_wav(recordings(gateway) / "sizes.wav")
    caller = loud(recorded[:, 0], rate)
    assert abs(len(caller) / rate - 1.5) < 0.2  # what was late is covered up, and the end fades
    assert purity(caller, rate, 700) > 0.95


def test_a_file_is_played(gateway: GatewayProcess) -> None:
    async def scene() -> tuple[Log, bytes]:
        async with connect(gateway.ws_url, "webSocket") as call:
            log = Log.of(call)
            heard = bytearray()
            call.on_audio = heard.extend
            await call.start(option(codec="pcm", sample_rate=16_000))
            await call.play("tone.wav", auto_hangup=True)
            await call.until(events.Hangup)
            return log, bytes(heard)

    log, heard = run(scene())
    assert purity(loud(PCM.decode(heard), 16_000), 16_000, 600) > 0.95
    assert [end.play_id for end in log.all(events.TrackEnd) if end.play_id] == ["tone.wav"]
    assert log.seen[-1].event == "hangup"


def test_a_playbook_leads_by_option_and_by_pending_session(gateway: GatewayProcess) -> None:
    async def led(session_id: str | None, playbook: str | None) -> Log:
        async with connect(gateway.ws_url, "webSocket", id=session_id) as call:
            log = Log.of(call)
            await call.start(option(codec="pcm", sample_rate=16_000, playbook=playbook))
            await call.until(events.TrackEnd)
            assert len(loud(PCM.decode(await collect(call, 0.1)), 16_000)) > 0
            await call.hangup()
            return log

    async def scene() -> None:
        async with Rest(gateway.http_url) as rest:
            pending = await rest.run(content=TALK)
        for log in (await led(None, "talk.md"), await led(pending, None)):
            assert [line.text for line in log.all(events.AddHistory)] == ["hello hello"]

    run(scene())


def test_audio_before_the_start_is_one_error(gateway: GatewayProcess) -> None:
    async def scene() -> Log:
        async with connect(gateway.ws_url, "webSocket") as call:
            log = Log.of(call)
            for _ in range(5):
                await call.send_audio(bytes(640))
            await call.start(option(codec="pcm", sample_rate=16_000))
            await call.until(events.Answer)
            await call.tts("a", auto_hangup=True)
            await call.until(events.Hangup)
            return log

    log = run(scene())
    assert log.names()[0] == "error"
    assert len(log.all(events.Error)) == 1
    assert log.names()[-1] == "hangup"


def test_a_second_socket_with_the_same_id_is_refused(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with connect(gateway.ws_url, "webSocket", id="only-one") as call:
            await call.start(option(codec="pcm", sample_rate=16_000))
            await call.until(events.Answer)
            with pytest.raises(Refused, match="only-one") as refused:
                async with connect(gateway.ws_url, "webSocket", id="only-one"):
                    pass
            assert refused.value.status == 409
            await call.tts("a", auto_hangup=True)
            assert (await call.until(events.Hangup)).reason == "system"

    run(scene())


@pytest.mark.parametrize("session_id", ["../../etc/passwd", "a@b:5060/c~d", "1+2", "%41&x=y"])
def test_ids_are_names_and_no_paths(gateway: GatewayProcess, session_id: str) -> None:
    before = {path for path in gateway.directory.rglob("*") if "recorders" not in path.parts}

    async def scene() -> None:
        async with connect(gateway.ws_url, "webSocket", id=session_id) as call:
            await call.start(option(codec="pcm", sample_rate=16_000))
            answer = await call.until(events.Answer)
            assert answer.track_id == session_id
            async with Rest(gateway.http_url) as rest:
                assert session_id in [entry["id"] for entry in await rest.calls()]
                await rest.kill(session_id)
            await call.until(events.Hangup)

    run(scene())
    after = {path for path in gateway.directory.rglob("*") if "recorders" not in path.parts}
    assert all("cdr" in path.parts for path in after - before)
    assert not (gateway.directory.parent / "etc").exists()


def test_a_vanished_client_frees_the_call(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with connect(gateway.ws_url, "webSocket", id="vanishing") as call:
            await call.start(option(codec="pcm", sample_rate=16_000))
            await call.until(events.Answer)
            await call.tts("a" * 200)
            call._socket.transport.abort()
            async with asyncio.timeout(2.0):
                await asyncio.to_thread(gateway.wait_calls)
                await asyncio.to_thread(gateway.wait_lanes)
            with pytest.raises(ClientError):
                await call.until(events.Hangup)

    run(scene())


def test_a_connection_may_do_nothing_at_all(gateway: GatewayProcess) -> None:
    async def scene() -> None:
        async with connect(gateway.ws_url, "webSocket"):
            await until(lambda: gateway.health()[1]["calls"]["active"] == 1)
        await asyncio.to_thread(gateway.wait_calls, 0, 2.0)

    run(scene())
