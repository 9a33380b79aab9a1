"""What is done with a call's audio besides playing and hearing it.

Recording, noise reduction, ambience, volume, mute, the subscription of a client, and a media pass.
"""

from typing import TYPE_CHECKING, Literal

from active_call.call.audio.mediapass import MediaPass
from active_call.call.audio.mix import Mix
from active_call.call.recording import RecordingPlan
from active_call.call.services import CallServices
from active_call.core.audio import Pcm
from active_call.core.errors import ActiveCallError, LocalProtocolError, MediaError
from active_call.core.owner import Owner
from active_call.media.lane import Lane
from active_call.outbound.guard import Origin
from active_call.wire.options import AmbianceOption, CallOption, RecorderOption, merge

if TYPE_CHECKING:
    from active_call.call.call import Call

_DUCK_LEVEL, _NORMAL_LEVEL, _TRANSITION = 0.1, 0.3, 0.01
_SERVER_SIDE_NAMES = ("serverSideTrack", "server-side-track")


class Effects:
    """The audio settings of one call. Before it has a lane they are kept for it."""

    _call = Owner["Call"]()

    def __init__(self, call: "Call", services: CallServices) -> None:
        self.recording: RecordingPlan | None = None
        self.media_pass: MediaPass | None = None
        self._mix: Mix | None = None
        self._call = call
        self._services = services
        self._lane: Lane | None = None
        self._muted = {"received": False, "sent": False}

    def attach(self, lane: Lane) -> None:
        """From now on there is a lane."""
        self._lane = lane
        if self._mix is None:
            self._mix = Mix(lane)
        else:
            self._mix.move(lane)
        lane.on_audio = self._to_client
        if any(self._muted.values()):
            lane.mute(**self._muted)

    def apply(self, option: CallOption) -> None:
        """The call is answered: all that `option` asks for."""
        self._shape(option)
        if option.media_pass is not None:
            call, origin = self._call, self._call.setup.origin("media_pass")
            outbound, track = self._services.outbound, call.server_side_track
            self.media_pass = MediaPass(
                self._attached(), option.media_pass, outbound, call, track, origin=origin
            )
            call.spawn(self.media_pass.run(), "media pass")

    def move(self, lane: Lane) -> None:
        """The peer has another lane: all goes on there, the recording in another file."""
        self.attach(lane)
        self._shape(self._call.option)
        if self.media_pass is not None:
            self.media_pass.move(lane)
        if self.recording is not None:
            self.recording = self.recording.next_part()
            self._start_recording(self.recording)

    def _shape(self, option: CallOption) -> None:
        lane = self._attached()
        if option.denoise:
            kind: Literal["webrtc", "rnnoise"] = "rnnoise" if option.denoise == "rnnoise" else "webrtc"
            try:
                lane.denoise(kind)
            except MediaError as error:
                self._call.complain("denoise", str(error))
        if option.volume is not None:
            lane.set_volume(option.volume)
        lane.mask_digits(option.mask_dtmf)
        self._call.news.dump.mask_digits = option.mask_dtmf
        if option.subscribe and self._call.call_type != "webSocket":
            lane.tap(self._subscribed)
        self._start_ambience(option.ambiance)

    @property
    def mix(self) -> Mix:
        """Whom the peer hears besides playback."""
        assert self._mix is not None, "others are heard when there is a lane"
        return self._mix

    # --- recording ------------------------------------------------------------------------------------

    def record(self, asked: RecorderOption | None, origin: Origin) -> None:
        """Start the recording that the option or the configuration asks for, once."""
        if self.recording is not None:
            return
        try:
            plan = self._services.recording.plan(asked, self._call.id, trusted=origin is Origin.OPERATOR)
        except LocalProtocolError as error:
            self._call.complain("recorder", str(error))
            return
        if plan is not None:
            self.recording = plan
            self._start_recording(plan)

    def _start_recording(self, plan: RecordingPlan) -> None:
        self._attached().start_recording(plan.path, rate_hz=plan.rate_hz, flush_ms=plan.flush_ms)

    # --- mute -----------------------------------------------------------------------------------------

    def mute(self, track_id: str | None, *, muted: bool) -> None:
        """Silence the caller's track, the server side's, or both. Raises LocalProtocolError for another."""
        call = self._call
        if track_id is None:
            ways = ["received", "sent"]
        elif track_id == call.id:
            ways = ["received"]
        elif track_id in (call.server_side_track, *_SERVER_SIDE_NAMES):
            ways = ["sent"]
        else:
            raise LocalProtocolError(
                f'there is no track "{track_id}"; tracks: "{call.id}" (the peer), "{call.server_side_track}"'
            )
        changes = dict.fromkeys(ways, muted)
        self._muted |= changes
        if self._lane is not None:
            self._lane.mute(**changes)

    # --- ambience -------------------------------------------------------------------------------------

    def _start_ambience(self, asked: AmbianceOption | None) -> None:
        ambience = merge(self._services.ambiance, asked)
        if ambience is None or ambience.enabled is False or not ambience.path:
            return
        origin = Origin.OPERATOR if asked is None or asked.path is None else self._call.setup.origin("ambiance")
        self._call.spawn(self._play_ambience(ambience, origin), "ambience")

    async def _play_ambience(self, ambience: AmbianceOption, origin: Origin) -> None:
        assert ambience.path is not None
        try:
            path = await self._services.sounds.sound_file(ambience.path, origin)
        except ActiveCallError as error:
            self._call.complain("ambiance", str(error))
            return
        self._attached().ambience(
            str(path),
            duck=_given(ambience.duck_level, _DUCK_LEVEL),
            normal=_given(ambience.normal_level, _NORMAL_LEVEL),
            step=_given(ambience.transition_speed, _TRANSITION),
        )

    # --- audio for the client -------------------------------------------------------------------------

    def _to_client(self, frame: bytes) -> None:
        if self._call.on_audio is not None:
            self._call.on_audio(None, frame)

    def _subscribed(self, track: int, pcm: Pcm, position: int) -> None:
        if self._call.on_audio is not None:
            self._call.on_audio(track, pcm.astype("<i2", copy=False).tobytes())

    def _attached(self) -> Lane:
        assert self._lane is not None, "effects begin when there is a lane"
        return self._lane


def _given(value: float | None, default: float) -> float:
    return default if value is None else value
