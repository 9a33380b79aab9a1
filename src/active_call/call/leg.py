"""The peer of a call: its lane, and by what the two of us agree on it.

A SipLeg has a SIP dialog and RTP; the audio of an AudioLeg travels on the client's own socket.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from active_call.call.dialing import DialPlan
from active_call.core.errors import MediaError, RemoteProtocolError
from active_call.lanes.external import ExternalCodec
from active_call.lanes.messages import ConfigureLane, RtpCodec, RtpFormat
from active_call.media.lane import Lane
from active_call.media.supervisor import MediaPlane
from active_call.sdp.negotiate import LocalMedia, Negotiated, accept_answer, answer_offer, make_offer
from active_call.sip.agent import SipAgent, SipCall
from active_call.sip.events import SipEvent
from active_call.sip.usage import UsageState


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """What the configuration says about every lane."""

    codecs: tuple[str, ...] = ("pcmu", "pcma")
    dtmf: bool = True
    latching: bool = True
    jitter_ms: int = 40

    def preferring(self, codec: str | None) -> "MediaPolicy":
        """The same with `codec` first, if it is among them."""
        if codec is None or codec.lower() not in self.codecs:
            return self
        first = codec.lower()
        return replace(self, codecs=(first, *(name for name in self.codecs if name != first)))


_SUPPORTED: dict[str, RtpCodec] = {"pcmu": "pcmu", "pcma": "pcma"}


class Leg(Protocol):
    """One peer of a call, whichever way its audio comes."""

    lane: Lane

    @property
    def codec(self) -> str | None:
        """What the audio is coded with, once that is known."""
        ...

    def hang_up(self, headers: Mapping[str, str]) -> None:
        """Say goodbye in the way that fits; harmless if there is nobody."""
        ...


class AudioLeg:
    """A client that is itself the peer: it sends and gets audio as bytes."""

    def __init__(self, lane: Lane, codec: ExternalCodec) -> None:
        self.lane = lane
        self._codec = codec

    @classmethod
    def open(cls, plane: MediaPlane, codec: ExternalCodec, rate_hz: int) -> "AudioLeg":
        """A leg with a fresh lane; the rate is that of `pcm`. Raises MediaError."""
        return cls(plane.open_external_lane(codec, rate_hz), codec)

    @property
    def codec(self) -> str:
        return self._codec

    def hang_up(self, headers: Mapping[str, str]) -> None:
        """Nothing: the socket's owner closes it after the `hangup` event."""


class SipLeg:
    """Signalling and audio of a SIP peer."""

    def __init__(self, lane: Lane, local: LocalMedia, policy: MediaPolicy) -> None:
        self.lane = lane
        self.local = local
        self.negotiated: Negotiated | None = None
        self.local_sdp = b""
        self._policy = policy
        self._sip: SipCall | None = None

    @classmethod
    def open(cls, plane: MediaPlane, address: str, policy: MediaPolicy) -> "SipLeg":
        """A leg with a fresh lane, advertised at `address`. Raises MediaError."""
        lane = plane.open_lane()
        session_id = secrets.randbits(31)
        local = LocalMedia(
            address, lane.port, policy.codecs, dtmf=policy.dtmf, session_id=session_id, version=1
        )
        return cls(lane, local, policy)

    @property
    def sip(self) -> SipCall:
        """The SIP side. Raises MediaError before there is one."""
        if self._sip is None:
            raise MediaError("this leg has no SIP dialog yet")
        return self._sip

    @property
    def codec(self) -> str | None:
        return self.negotiated.codec if self.negotiated is not None else None

    def negotiate(self, sip: SipCall) -> None:
        """Inbound: match the peer's offer. Raises RemoteProtocolError with the status to refuse with."""
        self._sip = sip
        if sip.remote_sdp is None:
            # An offerless INVITE: we offer in the 200, the answer comes in the ACK (RFC 3261 §13.2.1).
            raise RemoteProtocolError("INVITE without an offer is not supported yet", 488)
        self.local_sdp, self.negotiated = answer_offer(sip.remote_sdp, self.local)

    def accept(self, listener: Callable[[SipEvent], None]) -> bool:
        """Inbound: start the media, answer 200. False if the caller has given up, which `listener` is told."""
        assert self.negotiated is not None
        self.sip.listener = listener
        if self.sip.state is UsageState.ENDED:
            return False
        self._configure(self.negotiated)
        self.sip.accept(self.local_sdp)
        return True

    def progress(self) -> None:
        """Inbound: start the media before the answer, 183. `accept` may follow."""
        assert self.negotiated is not None
        self._configure(self.negotiated)
        self.sip.progress(self.local_sdp)

    def hang_up(self, headers: Mapping[str, str]) -> None:
        """End the dialog in the way that fits its state; harmless without one."""
        if self._sip is not None:
            self._sip.hangup(headers=headers)

    def dial(
        self,
        agent: SipAgent,
        plan: DialPlan,
        *,
        call_id: str,
        listener: Callable[[SipEvent], None],
    ) -> None:
        """Outbound: send INVITE with our offer."""
        self.local_sdp = make_offer(self.local)
        self._sip = agent.invite(
            plan.target,
            caller=plan.caller,
            sdp=self.local_sdp,
            listener=listener,
            headers=plan.headers,
            credentials=plan.credentials,
            call_id=call_id,
        )

    def answered(self, sdp: bytes) -> None:
        """Outbound: apply the peer's answer. Raises RemoteProtocolError."""
        self.negotiated = accept_answer(sdp, self.local)
        self._configure(self.negotiated)

    def reoffered(self, sdp: bytes | None) -> bool:
        """Answer a re-INVITE or UPDATE. Returns whether the peer now holds the call."""
        if self.negotiated is None:
            # RFC 3311 §5.2: an UPDATE before the answer to the offer in our INVITE.
            self.sip.answer_offer(None, 491, "Request Pending")
            return False
        if sdp is None:
            self.sip.answer_offer(None, 488, "Not Acceptable Here")
            return self.negotiated.held
        local = replace(self.local, version=self.local.version + 1)
        try:
            answer, negotiated = answer_offer(sdp, local)
        except RemoteProtocolError as error:
            self.sip.answer_offer(None, error.status, str(error))
            return self.negotiated.held
        self.local, self.local_sdp, self.negotiated = local, answer, negotiated
        self._configure(negotiated)
        self.sip.answer_offer(answer)
        return negotiated.held

    def _configure(self, session: Negotiated) -> None:
        ref = self.lane.ref
        audio = RtpFormat(session.payload_type, _SUPPORTED[session.codec])
        events = None
        if session.dtmf_payload_type is not None:
            events = RtpFormat(session.dtmf_payload_type, "telephone-event")
        self.lane.configure(
            ConfigureLane(
                ref.row,
                ref.generation,
                sends=audio,
                receives=(audio, events) if events is not None else (audio,),
                sends_events=events,
                remote=session.remote,
                remote_rtcp=session.remote_rtcp,
                ptime_ms=session.ptime_ms,
                sending=session.sending,
                receiving=session.receiving,
                latching=self._policy.latching,
                jitter_ms=self._policy.jitter_ms,
            )
        )
