"""Lanes of all kinds that are opened, changed, mixed and closed at random, while anything arrives."""

import random

import numpy as np

from active_call.dsp.rtp import packet
from active_call.lanes.messages import (
    PCMA,
    PCMU,
    TELEPHONE_EVENT,
    AdjustLane,
    CloseLane,
    Message,
    MixSource,
    RtpFormat,
    SendDigits,
    SetDenoise,
    SetMix,
    StartRecording,
    StopRecording,
)
from tests.unit.dsp.voice import FORMATS
from tests.unit.plane.rig import REMOTE, Peer, Rig, hum

LANES = 5
_EVENTS = (TELEPHONE_EVENT, RtpFormat(110, "telephone-event", 48_000), RtpFormat(13, "cn"))
_STEPS = (1, 1, 1, 1, 0, 2, -3, 200, 30_000)
_STRIDES = (160, 160, 320, 960, 0, 37, -160, 10**6, 2**31)


class Turmoil:
    """The same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.rig = Rig()
        self._random = random.Random(seed)
        self._open: dict[int, dict[str, object] | None] = {}
        """The session of each open lane; None of an external one."""
        self._payloads = {
            form: [data[12:] for data in Peer(self.rig, form).packets(hum(3))] for form in FORMATS
        }
        self._sequence, self._timestamp = [0] * LANES, [0] * LANES

    def step(self) -> None:
        """Something happens to one lane, something arrives on each, and a tick goes by."""
        row = self._random.randrange(LANES)
        if row not in self._open:
            self._begin(row)
        else:
            self._change(row)
        for lane, session in self._open.items():
            if session is None:
                self.rig.feed(self._random.randbytes(self.rig.frame_bytes[lane]), lane)
                continue
            for _ in range(self._random.randrange(4)):
                self._arrive(lane)
        self.rig.tick()

    def take_over(self) -> None:
        """The process dies, and one that was only told how things are goes on."""
        media, spare = self.rig.media, Rig(self.rig.table, active=False)
        spare.frame_bytes = self.rig.frame_bytes
        for row, session in self._open.items():
            if session is None:
                spare.tell_external(row)
            else:
                spare.tell(row, **session)
        connected = {row: REMOTE for row, session in self._open.items() if session is not None}
        spare.media.promote(media.next_tick + 1, dict(connected))
        self.rig = spare

    def _begin(self, row: int) -> None:
        self._open[row] = session = self._session() if self._random.random() < 0.7 else None
        if session is None:
            self.rig.open_external(row)
        else:
            self.rig.open(row, **session)

    def _change(self, row: int) -> None:
        choose, session = self._random.choice, self._open[row]
        if session is not None and self._random.random() < 0.3:
            self._open[row] = session = self._session()
            self.rig.configure(row, **session)
            return
        generations = self.rig.table.generation.tolist()
        named = row, generations[row]
        sources = self._random.sample(range(LANES), self._random.randrange(LANES))
        message: Message = choose(
            [
                CloseLane(*named),
                AdjustLane(*named, mute_received=choose([True, False]), paused=choose([True, False])),
                AdjustLane(*named, gain=choose([0.5, 1.0]), mask_digits=choose([True, False]), tapped=True),
                SetMix(
                    *named, tuple(MixSource(other, generations[other] - choose([0, 1])) for other in sources)
                ),
                SendDigits(*named, choose(["1#", "ABCD"]), tones=choose([True, False])),
                SetDenoise(*named, choose(["webrtc", None])),
                StartRecording(*named, "a.wav"),
                StopRecording(*named),
            ]
        )
        self.rig.media.apply(message)
        if isinstance(message, CloseLane):
            del self._open[row]
        self.rig.play(np.zeros(self._random.randrange(1000), np.int16), row)
        if choose([True, False]):
            self.rig.flush(choose([0, 320]), row)

    def _session(self) -> dict[str, object]:
        choose = self._random.choice
        return {
            "sends": choose(FORMATS),
            "receives": (PCMU, PCMA, *self._random.sample(FORMATS, 2), choose(_EVENTS)),
            "sends_events": choose([None, *_EVENTS[:2]]),
            "ptime_ms": choose([10, 20, 20, 30, 40, 60]),
            "sending": choose([True, True, False]),
            "receiving": choose([True, True, False]),
            "inband_digits": choose([True, False]),
            "latching": choose([True, False]),
        }

    def _arrive(self, row: int) -> None:
        choose = self._random.choice
        self._sequence[row] = (self._sequence[row] + choose(_STEPS)) & 0xFFFF
        self._timestamp[row] = (self._timestamp[row] + choose(_STRIDES)) & 0xFFFF_FFFF
        form = choose([*FORMATS, *_EVENTS])
        sizes = (0, 1, 3, 4, 80, 159, 161, 800, 1280, 1281)
        payload = self._random.randbytes(choose(sizes))
        if form in self._payloads and choose([True, True, False]):
            payload = choose(self._payloads[form])
        data = bytearray(
            packet(form.payload_type, self._sequence[row], self._timestamp[row], choose([9, 9, 9, 10]), payload)
        )
        if self._random.random() < 0.1:
            data[0] = self._random.randrange(256)
        self.rig.arrive(bytes(data), row, choose([None, REMOTE, ("192.0.2.7", 4001), ("10.0.0.1", 7)]))
