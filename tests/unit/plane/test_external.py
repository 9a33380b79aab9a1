"""Lanes without sockets: what is fed is heard, what is played is delivered."""

import numpy as np
import pytest
from numpy.typing import NDArray

from active_call.core.audio import Pcm
from active_call.dsp.g711 import G711, MU_LAW
from active_call.lanes.external import ExternalCodec, frame_bytes
from active_call.lanes.messages import AdjustLane, CloseLane, MediaStarted, SendDigits
from tests.unit.plane.rig import Rig, tone


def counter(start: int, frames: int = 1) -> bytes:
    """Samples that count, so that gaps show."""
    return np.arange(start * 320, (start + frames) * 320).astype(np.int16).tobytes()


def frames_heard(rig: Rig, ticks: int) -> list[int | None]:
    """Which frames of a counter the last ticks heard; None where it isn't one."""
    heard = rig.heard(ticks).reshape(ticks, 320).astype(np.int64)
    whole = (np.diff(heard, axis=1) % 65_536 == 1).all(axis=1)
    return [int(row[0]) % 65_536 // 320 if ok else None for row, ok in zip(heard, whole, strict=True)]


@pytest.mark.parametrize("early_ms", [1, 14, 15, 34])
def test_what_is_fed_is_heard_15_to_35_ms_later(early_ms: int) -> None:
    rig = Rig()
    rig.open_external()
    for number in range(10):
        rig.feed(counter(number), early_ms=early_ms)
        rig.tick()
    later = 1 if early_ms < 15 else 0  # ticks
    assert frames_heard(rig, 10) == [None] * later + list(range(10 - later))


def test_what_is_taken_is_counted() -> None:
    rig = Rig()
    rig.open_external()
    for number in range(10):
        rig.feed(counter(number))
        rig.tick()
    assert (rig.table.rx_packets[0], rig.table.rx_octets[0]) == (9, 9 * 640)
    assert rig.table.concealed[0] == rig.table.external_dropped[0] == 0
    assert rig.table.rx_tick[0] == 9


@pytest.mark.parametrize("size", [100, 641, 1600])
def test_pieces_of_any_length_give_the_same_audio(size: int) -> None:
    rig, data = Rig(), counter(0, 40)
    rig.open_external()
    fed = 0
    for tick in range(40):
        while fed + size <= (tick + 3) * 640:
            rig.feed(data[fed : fed + size])
            fed += size
        rig.tick()
    numbers = [number for number in frames_heard(rig, 40) if number is not None]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= 37


def test_the_first_audio_is_told_once() -> None:
    rig = Rig()
    rig.open_external()
    rig.feed(counter(0, 2), early_ms=25)
    rig.ticks(3)
    assert rig.told(MediaStarted) == [MediaStarted(0, 1, 0)]


def test_a_lone_frame_does_not_wait_for_ever() -> None:
    rig = Rig()
    rig.open_external()
    rig.feed(counter(0))
    rig.ticks(2)
    assert frames_heard(rig, 2) == [None, 0]


def test_what_is_missing_is_concealed_and_the_ring_fills_again() -> None:
    rig = Rig()
    rig.open_external()
    rig.feed(np.full(640, 1000, np.int16).tobytes(), early_ms=25)
    rig.ticks(4)  # two frames, and two that are missing
    assert rig.heard(2).any()
    assert rig.table.concealed[0] == 2
    rig.feed(counter(5))
    rig.tick()
    rig.feed(counter(6))
    rig.tick()
    assert frames_heard(rig, 1) == [5]


def test_a_burst_beyond_200_ms_loses_its_oldest_and_is_counted() -> None:
    rig = Rig()
    rig.open_external()
    for number in range(3):
        rig.feed(counter(number))
        rig.tick()
    for number in range(3, 23):
        rig.feed(counter(number))
    rig.ticks(3)
    assert frames_heard(rig, 3) == [21, 22, None]
    assert rig.table.external_dropped[0] == 19


def test_a_sender_of_long_pieces_has_them_whole() -> None:
    rig = Rig()
    rig.open_external()
    for number in range(0, 64, 16):
        rig.feed(counter(number, 16))
        rig.ticks(16)
    assert frames_heard(rig, 64) == [None, *range(63)]


def test_what_stands_in_the_ring_is_dropped_in_silence() -> None:
    rig, silence = Rig(), bytes(640)
    rig.open_external()
    rig.feed(counter(0, 2), early_ms=25)
    rig.tick()
    for number in range(2, 8):
        rig.feed(counter(number))  # 120 ms at once, for instance after a stall
    for number in range(8, 8 + 150):
        rig.tick()
        rig.feed(counter(number))
    assert rig.table.external_dropped[0] == 0
    for _ in range(20):
        rig.tick()
        rig.feed(silence)
    assert rig.table.delay_ms[0] == 40
    assert rig.table.external_dropped[0] == 5
    assert not rig.heard(5).any()


def test_playback_is_delivered_every_tick() -> None:
    rig, audio = Rig(), tone(3)
    rig.open_external()
    rig.play(audio)
    got = []
    for _ in range(4):
        rig.tick()
        got.append(rig.delivered())
    assert b"".join(got) == audio.tobytes() + bytes(640)
    assert (rig.table.external_sent[0], rig.table.tx_packets[0], rig.table.tx_octets[0]) == (4, 4, 2560)
    assert np.array_equal(rig.sent(4)[:960], audio)


def test_a_flush_of_the_last_moment_reaches_the_peer() -> None:
    rig = Rig()
    rig.open_external()
    rig.play(tone(5))
    rig.prepare()
    rig.flush(fade=0)
    rig.finish()
    assert rig.delivered() == bytes(640)


@pytest.mark.parametrize(
    ("codec", "rate_hz", "late"),
    [("pcm", 8000, 24), ("pcm", 24_000, 16), ("pcm", 48_000, 16), ("pcmu", 8000, 24), ("pcma", 8000, 24)],
)
def test_what_one_lane_plays_another_hears(codec: ExternalCodec, rate_hz: int, late: int) -> None:
    rig, audio = Rig(), tone(20)
    for row in (0, 1):
        rig.open_external(row, codec, rate_hz)
    assert shift(relay(rig, audio), audio) in range(late, 3 * late)


def test_g722_from_lane_to_lane() -> None:
    rig, audio = Rig(), tone(20)
    for row in (0, 1):
        rig.open_external(row, "g722")
    assert shift(relay(rig, audio), audio) == 22


def relay(rig: Rig, audio: Pcm) -> Pcm:
    """Play to lane 0, feed what it hears to lane 1; what that hears, from its first frame on."""
    rig.play(audio)
    for _ in range(25):
        rig.tick()
        rig.feed(rig.delivered(0), 1)
    return rig.heard(23, 1)


def shift(heard: Pcm, audio: Pcm) -> int:
    """How many samples later `audio` is heard, which must be nearly unchanged."""
    part = audio[2000:5000].astype(float)
    fits = [float(np.corrcoef(heard[2000 + at : 5000 + at], part)[0, 1]) for at in range(64)]
    best = int(np.argmax(fits))
    assert fits[best] > 0.99
    levels = np.std(heard[2000 + best : 5000 + best]) / np.std(part)
    assert 0.9 < levels < 1.1
    return best


def test_lanes_of_all_codecs_side_by_side_do_not_mix() -> None:
    rig = Rig()
    kinds: list[tuple[ExternalCodec, int]] = [("pcm", 16_000), ("pcmu", 8000), ("pcm", 48_000), ("pcm", 16_000)]
    rig.open(1)  # a telephone among them
    for row, (codec, rate_hz) in zip((0, 2, 3, 4), kinds, strict=True):
        rig.open_external(row, codec, rate_hz)
        rig.feed(level(1000 * row, codec, rate_hz), row)
        rig.play(np.full(3200, 500 * row, np.int16), row)
    for _ in range(3):
        rig.tick()
    for row in (0, 2, 3, 4):
        assert abs(int(rig.heard(1, row)[160]) - 1000 * row) <= 32
        assert abs(int(rig.sent(1, row)[160]) - 500 * row) == 0
    assert not rig.heard(1, 1).any()
    assert abs(int(np.frombuffer(rig.delivered(3), np.int16)[480]) - 1500) <= 1


def level(value: int, codec: ExternalCodec, rate_hz: int) -> bytes:
    """Three frames of a constant."""
    if codec == "pcm":
        return np.full(3 * frame_bytes(codec, rate_hz) // 2, value, np.int16).tobytes()
    out = np.empty((1, 480), np.uint8)
    return G711(1, 480).encode(np.full((1, 480), value, np.int16), np.array([MU_LAW]), out).tobytes()


def test_the_successor_goes_on_where_the_columns_say() -> None:
    old = Rig()
    spare = Rig(old.table, active=False)
    old.open_external()
    spare.tell_external()
    for number in range(6):
        old.feed(counter(number))
        old.tick()
    old.feed(counter(6))
    old.prepare()  # and dies before the commit
    spare.media.promote(7, {})
    spare.feed(counter(7))
    for number in range(8, 14):
        spare.tick()
        spare.feed(counter(number))
    spare.play(tone(1))
    spare.tick()
    assert frames_heard(spare, 5) == [7, 8, 9, 10, 11]
    assert spare.delivered() == tone(1).tobytes()
    assert spare.table.external_sent[0] == 13


def test_a_reused_row_starts_afresh() -> None:
    rig = Rig()
    rig.open_external()
    rig.feed(counter(0, 3))
    rig.ticks(2)
    rig.media.apply(CloseLane(0, 1))
    rig.tick()
    rig.open_external(codec="pcmu", rate_hz=8000)
    rig.ticks(4)
    assert not rig.heard(4).any()
    assert (rig.table.external_read[0], rig.table.rx_packets[0], rig.table.external_sent[0]) == (0, 0, 4)


def test_detection_gets_what_is_said_at_8_khz() -> None:
    fed: list[NDArray[np.int16]] = []
    rig = Rig()
    rig.vad.heard = fed.append
    rig.open_external()
    rig.watch()
    rig.feed(np.full(3 * 320, 4000, np.int16).tobytes())
    rig.ticks(3)
    assert rig.vad.fed[-1] == ([0], [640], 2)
    assert abs(int(fed[-1][0, 80]) - 4000) <= 1


def test_a_muted_peer_is_zeros_for_everybody() -> None:
    rig = Rig()
    fed: list[NDArray[np.int16]] = []
    rig.vad.heard = fed.append
    rig.open_external()
    rig.watch()
    rig.media.apply(AdjustLane(0, 1, mute_received=True))
    rig.feed(counter(0, 3), early_ms=25)
    rig.ticks(2)
    assert not rig.heard(2).any()
    assert not fed[-1].any()
    rig.media.apply(AdjustLane(0, 1))
    rig.tick()
    assert frames_heard(rig, 1) == [2]


def test_keys_for_a_lane_without_packets_harm_no_other() -> None:
    rig = Rig()
    rig.open(0)
    rig.open_external(1)
    rig.media.apply(SendDigits(1, 1, "5"))
    assert list(rig.tick()) == [0]


def test_after_a_takeover_old_audio_is_no_sign_of_life() -> None:
    rig = Rig()
    rig.open_external()
    rig.feed(counter(0))
    for _ in range(10):
        rig.tick()
    heard = int(rig.table.rx_tick[0])
    successor = Rig(rig.table, active=False)
    successor.tell_external()
    successor.media.promote(10, {})
    successor.tick()
    assert rig.table.rx_tick[0] == heard
