"""What the planes tell each other about lanes. Audio never travels here: it is in the table.

Control messages go to the active media plane and to its spare, in the same order; events come back from the
active one, batched per tick. Both are msgspec structs, one SOCK_SEQPACKET message per batch. A lane is
addressed by (row, generation): what names an older generation is ignored.

Positions count 16 kHz samples: *playback positions* since the lane opened in its playback ring, *lane
positions* in what the lane received and sent (320 per tick).
"""

from typing import Literal, TypeAlias

import msgspec

from active_call.lanes.external import ExternalCodec

RtpCodec: TypeAlias = Literal["pcmu", "pcma", "g722", "opus", "g729", "l16", "telephone-event", "cn"]
SrtpSuite: TypeAlias = Literal[
    "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"
]
VadKind: TypeAlias = Literal["silero", "webrtc", "energy"]
DenoiseKind: TypeAlias = Literal["webrtc", "rnnoise"]


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Base of all messages that name a lane."""

    row: int
    generation: int


# --- control plane -> media plane -----------------------------------------------------------------------


class OpenLane(Message, frozen=True, tag=True, array_like=True):
    """Take the row into the tick. Carries two descriptors: the RTP and the RTCP socket, bound, non-blocking."""

    ssrc: int
    first_sequence: int
    first_timestamp: int
    cname: str
    """RTCP canonical name (RFC 3550 §6.5.1)."""


class OpenExternal(Message, frozen=True, tag=True, array_like=True):
    """Take the row into the tick as an external lane, whose audio is in the table's external rings."""

    codec: ExternalCodec
    rate_hz: int


class AdjustLane(Message, frozen=True, tag=True, array_like=True):
    """What can be changed at any time; each message has all of it. Takes effect with the next tick."""

    mute_received: bool = False
    """What the peer says is zeros for everybody; its keys are still told."""
    mute_sent: bool = False
    """The peer hears nothing; playback goes on."""
    paused: bool = False
    """Playback stands still, and its marks with it; what is flushed is gone all the same."""
    gain: float = 1.0
    """Of all that the peer hears."""
    tapped: bool = False
    """Somebody reads the `sent` ring, so it is written."""
    mask_digits: bool = False
    """Keys are told, but their tones are zeros for recogniser, taps, mixes and recording."""


class RtpFormat(msgspec.Struct, frozen=True, array_like=True):
    """One payload type of a session."""

    payload_type: int
    codec: RtpCodec
    clock_hz: int = 8000
    """Of the RTP timestamps: 48000 for Opus, the sample rate for L16, 8000 for G.722 (RFC 3551 §4.5.2)."""


PCMU = RtpFormat(0, "pcmu")
PCMA = RtpFormat(8, "pcma")
TELEPHONE_EVENT = RtpFormat(101, "telephone-event")


class SrtpKeys(msgspec.Struct, frozen=True, array_like=True):
    """SDES keys of both directions: master key and salt, as after `inline:` (RFC 4568 §6.1)."""

    suite: SrtpSuite
    send: bytes
    receive: bytes
    receive_suite: SrtpSuite | None = None
    """If it is another one than ours."""
    receive_mki: int = 0
    """Bytes of the master key identifier that the peer says it puts into its packets (RFC 3711 §3.1)."""

    def __repr__(self) -> str:
        return f"SrtpKeys({self.suite})"


class ConfigureLane(Message, frozen=True, tag=True, array_like=True):
    """The negotiated session of a lane; sent again whenever it changes."""

    sends: RtpFormat
    """How our audio is coded, under the payload type that the peer gave it."""
    receives: tuple[RtpFormat, ...]
    """All that the peer may send: audio, telephone-event, comfort noise. Other payload types are not heard."""
    sends_events: RtpFormat | None
    """Telephone-event (RFC 4733) for the keys that we press; None: the peer does not take it."""
    remote: tuple[str, int] | None
    """Where the peer said it receives RTP; None sends nothing until latched."""
    remote_rtcp: tuple[str, int] | None
    ptime_ms: int = 20
    sending: bool = True
    receiving: bool = True
    latching: bool = True
    """Follow the source address of the RTP that really arrives (symmetric RTP), after probation."""
    jitter_ms: int = 40
    """Initial and minimal jitter delay; 20 to 100."""
    rtcp_mux: bool = False
    """RTCP shares RTP's port, both ways (RFC 5761)."""
    srtp: SrtpKeys | None = None
    """Encrypts RTP and RTCP; what does not authenticate is dropped and counted."""
    peer_host: str | None = None
    """Where the peer's signalling comes from: RTP from that address is believed before that of others."""
    inband_digits: bool = False
    """Detect keys by their tones in the audio: the peer has no telephone-event."""


class ConfigureVad(Message, frozen=True, tag=True, array_like=True):
    """Voice activity detection of what the lane receives; `kind` None switches it off."""

    kind: VadKind | None
    threshold: float = 0.5
    """Probability above which a window is speech."""
    speech_padding_ms: int = 250
    """Speech must last so long before SpeechStarted is told."""
    silence_padding_ms: int = 100
    """Silence must last so long before SpeechEnded is told."""
    ratio: float = 0.5
    """Share of positive windows within speech_padding_ms that makes speech."""
    max_speech_seconds: float = 50.0
    """Forces a SpeechEnded (and a new SpeechStarted) in endless speech."""
    gate: bool = True
    """Skip the model while an energy gate is sure that the lane is silent."""


class SetDenoise(Message, frozen=True, tag=True, array_like=True):
    """Reduce the noise in what speech detection and recogniser get; a recording keeps the original."""

    kind: DenoiseKind | None


class SetAmbience(Message, frozen=True, tag=True, array_like=True):
    """Background sound under all that the peer hears: a file of int16 LE samples at 16 kHz; None ends it."""

    path: str | None
    duck: float = 0.1
    """Level while the lane plays."""
    normal: float = 0.3
    """Level else."""
    step: float = 0.01
    """Change of the level per tick, on the way from one to the other."""


class PutMark(Message, frozen=True, tag=True, array_like=True):
    """Report when playback reaches `position`."""

    mark: int
    position: int


class SendDigits(Message, frozen=True, tag=True, array_like=True):
    """Press keys, one after another: RFC 4733 events, or tones in the audio if `tones`."""

    digits: str
    duration_ms: int = 160
    gap_ms: int = 60
    tones: bool = False


class MixSource(msgspec.Struct, frozen=True, array_like=True):
    """Another lane, whose peer is heard."""

    row: int
    generation: int
    gain: float = 1.0


class SetMix(Message, frozen=True, tag=True, array_like=True):
    """From now on the peer also hears what the peers of these lanes say; replaces what was set before.

    A source that was closed since is silent.
    """

    sources: tuple[MixSource, ...]


class StartRecording(Message, frozen=True, tag=True, array_like=True):
    """Write a stereo WAV file: left what the lane receives, right what it sends, from now on."""

    path: str
    rate_hz: int = 16_000
    flush_ms: int = 200


class StopRecording(Message, frozen=True, tag=True, array_like=True):
    """Finish the lane's file."""


class CloseLane(Message, frozen=True, tag=True, array_like=True):
    """Send RTCP BYE, finish the recording, drop the sockets, answer with LaneClosed."""


class Quit(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Close all files and exit."""


ControlMessage: TypeAlias = (
    OpenLane
    | OpenExternal
    | AdjustLane
    | ConfigureLane
    | ConfigureVad
    | SetDenoise
    | SetAmbience
    | PutMark
    | SendDigits
    | SetMix
    | StartRecording
    | StopRecording
    | CloseLane
    | Quit
)


# --- media plane -> control plane -----------------------------------------------------------------------


class LaneEvent(Message, frozen=True, tag=True, array_like=True):
    """Base of what happens on a lane; `tick` is when."""

    tick: int


class MediaStarted(LaneEvent, frozen=True, tag=True, array_like=True):
    """The first valid RTP packet of this lane arrived; or the first audio of an external one, from nowhere."""

    ip: str = ""
    port: int = 0


class Latched(LaneEvent, frozen=True, tag=True, array_like=True):
    """RTP now goes where it comes from."""

    ip: str
    port: int


class SsrcChanged(LaneEvent, frozen=True, tag=True, array_like=True):
    """The peer started a new RTP stream on the same lane."""

    ssrc: int


class SpeechStarted(LaneEvent, frozen=True, tag=True, array_like=True):
    """The caller speaks; `position` is the lane position of the onset."""

    position: int
    probability: float


class SpeechEnded(LaneEvent, frozen=True, tag=True, array_like=True):
    """The caller is silent since lane position `end`; the utterance began at `start`."""

    start: int
    end: int


class DigitReceived(LaneEvent, frozen=True, tag=True, array_like=True):
    """A key was pressed: one of 0-9 * # A-D."""

    digit: str
    position: int


class MarkPlayed(LaneEvent, frozen=True, tag=True, array_like=True):
    """The tick that played the audio up to the mark's position."""

    mark: int
    position: int


class Flushed(LaneEvent, frozen=True, tag=True, array_like=True):
    """Barge-in took effect: playback was heard up to `position`, the rest up to `flushed_to` never was."""

    position: int
    flushed_to: int


class RtcpByeReceived(LaneEvent, frozen=True, tag=True, array_like=True):
    """The peer says by RTCP that it stopped sending."""


class RecordingClosed(LaneEvent, frozen=True, tag=True, array_like=True):
    """The WAV file is complete: `samples` frames per channel at its rate."""

    path: str
    samples: int
    error: str = ""


class LaneClosed(LaneEvent, frozen=True, tag=True, array_like=True):
    """This process dropped the lane's sockets. Sent by the spare too (`active` False)."""

    active: bool


class PlaneReady(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The process is set up and runs (`active`) or waits as a spare."""

    pid: int
    active: bool


class PlanePromoted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The spare took over after the active plane died or hung at tick `last_tick`."""

    pid: int
    last_tick: int
    first_tick: int


PlaneEvent: TypeAlias = (
    MediaStarted
    | Latched
    | SsrcChanged
    | SpeechStarted
    | SpeechEnded
    | DigitReceived
    | MarkPlayed
    | Flushed
    | RtcpByeReceived
    | RecordingClosed
    | LaneClosed
    | PlaneReady
    | PlanePromoted
)

_encoder = msgspec.msgpack.Encoder()
_controls = msgspec.msgpack.Decoder(list[ControlMessage])
_events = msgspec.msgpack.Decoder(list[PlaneEvent])


def encode_controls(messages: list[ControlMessage]) -> bytes:
    """One datagram of control messages."""
    return _encoder.encode(messages)


def decode_controls(data: bytes) -> list[ControlMessage]:
    """Inverse of encode_controls. Raises msgspec.DecodeError."""
    return _controls.decode(data)


def encode_events(events: list[PlaneEvent]) -> bytes:
    """One datagram of events."""
    return _encoder.encode(events)


def decode_events(data: bytes) -> list[PlaneEvent]:
    """Inverse of encode_events. Raises msgspec.DecodeError."""
    return _events.decode(data)
