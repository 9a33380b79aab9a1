"""The peer of a call: its lane, and by what the two of us agree on it.

A SipLeg has a SIP dialog and RTP; the audio of an AudioLeg travels on the client's own socket.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

from active_call.call.dialing.plan import DialPlan
from active_call.call.info import InfoKeys
from active_call.call.session import configuration, describe, is_loopback
from active_call.core.errors import MediaError, RemoteProtocolError
from active_call.lanes.external import ExternalCodec
from active_call.media.lane import Lane
from active_call.media.supervisor import MediaPlane
from active_call.sdp.codecs import ACCEPTED_UNNAMED
from active_call.sdp.compare import same_session
from active_call.sdp.negotiate import LocalMedia, Negotiated, Srtp, accept_answer, answer_offer, make_offer
from active_call.sdp.remote import address_in
from active_call.sip.agent import SipAgent, SipCall
from active_call.sip.dialogs.usage import UsageState
from active_call.sip.events import SipEvent
from active_call.sip.hop import is_public

KeyMode: TypeAlias = Literal["auto", "rfc4733", "info", "inband"]
"""How keys are pressed: as RFC 4733 events, by SIP INFO, as tones in the audio; or events if there are, else
tones."""


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """What the configuration says about every lane."""

    codecs: tuple[str, ...] = ("pcmu", "pcma")
    dtmf: bool = True
    latching: bool = True
    jitter_ms: int = 40
    srtp: Srtp = False
    """Whether encrypted audio is offered; what a peer offers is answered as it is, unless "require"."""
    ptime_ms: int = 20

    def preferring(self, codec: str | None) -> "MediaPolicy":
        """The same with `codec` first, if it is among them, or needs no more than to be named."""
        if codec is None or codec.lower() not in (*self.codecs, *ACCEPTED_UNNAMED):
            return self
        first = codec.lower()
        return replace(self, codecs=(first, *(name for name in self.codecs if name != first)))

    def encrypting(self, srtp: Srtp | None) -> "MediaPolicy":
        """The same as one call wants it. What is required of all calls, none can do without."""
        return self if srtp is None or self.srtp == "require" else replace(self, srtp=srtp)


class Leg(Protocol):
    """One peer of a call, whichever way its audio comes."""

    lane: Lane

    @property
    def codec(self) -> str | None:
        """What the audio is coded with, once that is known."""
        ...

    @property
    def suite(self) -> str | None:
        """What the audio is encrypted with, if it is."""
        ...

    def press(
        self, digits: str, *, mode: KeyMode = "auto", duration_ms: int = 160, gap_ms: int = 60
    ) -> KeyMode:
        """Press keys, in turn, after those that wait. Returns the way taken; MediaError if `mode` can't be."""
        ...

    def hang_up(self, headers: Mapping[str, str]) -> None:
        """Say goodbye in the way that fits; harmless if there is nobody."""
        ...


class AudioLeg:
    """A client that is itself the peer: it sends and gets audio as bytes."""

    suite = None

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

    def press(
        self, digits: str, *, mode: KeyMode = "auto", duration_ms: int = 160, gap_ms: int = 60
    ) -> KeyMode:
        """By tones: there is no other way."""
        if mode not in ("auto", "inband"):
            raise MediaError(f'mode "{mode}" is for telephones; the audio of /call has tones only: "inband"')
        self.lane.send_digits(digits, duration_ms=duration_ms, gap_ms=gap_ms, tones=True)
        return "inband"

    def hang_up(self, headers: Mapping[str, str]) -> None:
        """Nothing: the socket's owner closes it after the `hangup` event."""


class SipLeg:
    """Signalling and audio of a SIP peer."""

    def __init__(self, lane: Lane, local: LocalMedia, policy: MediaPolicy) -> None:
        self.lane = lane
        self.local = local
        self.negotiated: Negotiated | None = None
        self.local_sdp = b""
        """What we said last, as offer or answer."""
        self._policy = policy
        self._sip: SipCall | None = None
        self._offering = False
        """An offer of ours is unanswered."""
        self._before: Negotiated | None = None
        """What was agreed on when we made our last offer."""
        self._applied = b""
        """The answer to it."""
        self._wants_hold = False
        self._info_keys: InfoKeys | None = None

    @classmethod
    def open(cls, plane: MediaPlane, address: str, policy: MediaPolicy) -> "SipLeg":
        """A leg with a fresh lane, advertised at `address` and of its family. Raises MediaError."""
        lane = plane.open_lane(ipv6=":" in address)
        local = LocalMedia(
            address,
            lane.port,
            policy.codecs,
            dtmf=policy.dtmf,
            session_id=secrets.randbits(31),
            ptime_ms=policy.ptime_ms,
            srtp=policy.srtp,
        )
        return cls(lane, local, policy)

    @classmethod
    def of_invite(cls, plane: MediaPlane, agent: SipAgent, sip: SipCall, policy: MediaPolicy) -> "SipLeg":
        """A leg for who calls us, of its audio's address family if we have that. Raises MediaError.

        Otherwise it is of that of its SIP: then it is for the peer to find us, and for latching to find it.
        """
        address = agent.advertised_host(sip.peer[0])
        wanted = address_in(sip.remote_sdp or b"")
        if wanted is not None and (":" in wanted) != (":" in address):
            other = agent.advertised_host(wanted)
            if (":" in other) == (":" in wanted) and is_loopback(other) == is_loopback(wanted):
                address = other
        return cls.open(plane, address, policy)

    # --- what it is -----------------------------------------------------------------------------------

    @property
    def sip(self) -> SipCall:
        """The SIP side. Raises MediaError before there is one."""
        if self._sip is None:
            raise MediaError("this leg has no SIP dialog yet")
        return self._sip

    @property
    def codec(self) -> str | None:
        return self.negotiated.codec if self.negotiated is not None else None

    @property
    def suite(self) -> str | None:
        return self.negotiated.srtp.suite if self.negotiated is not None and self.negotiated.srtp else None

    @property
    def offered(self) -> str:
        """What we can speak, for people."""
        names = ", ".join(name.upper() for name in self.local.codecs)
        return f"{names} over {'SRTP' if self.local.srtp else 'plain RTP'}"

    @property
    def secure(self) -> bool:
        """Whether the audio is encrypted on its way."""
        return self.suite is not None

    @property
    def held(self) -> bool:
        """Whether the peer holds the call."""
        return self.negotiated is not None and self.negotiated.held

    @property
    def remote_is_private(self) -> bool:
        """Whether the peer wants audio at a private address though its SIP came from a public one.

        Without latching such a peer hears nothing.
        """
        if self._sip is None or self.negotiated is None or self.negotiated.remote is None:
            return False
        return is_public(self._sip.peer[0]) and not is_public(self.negotiated.remote[0])

    def describe(self) -> str:
        """The session in one line, for logs."""
        if self.negotiated is None:
            return "nothing agreed on yet"
        return describe(self.negotiated, private=self.remote_is_private)

    # --- a call that comes ----------------------------------------------------------------------------

    def negotiate(self, sip: SipCall) -> None:
        """Inbound: match the peer's offer. Raises RemoteProtocolError with the status to refuse with.

        Without an offer (RFC 3261 §13.2.1) we make one in the 200, and the ACK has the answer: see
        `acknowledged`.
        """
        self._sip = sip
        if sip.remote_sdp is not None:
            self._answer(sip.remote_sdp)

    def encrypt(self, srtp: Srtp | None) -> None:
        """Inbound, before `accept`: as this call wants it. A peer that made no offer gets one of this kind.

        Raises RemoteProtocolError, with the status to refuse with, if encryption is required and the peer has
        offered none.
        """
        self._policy = self._policy.encrypting(srtp)
        required = self._policy.srtp == "require"
        if required and self.negotiated is not None and not self.secure:
            why = "encryption is required of this call (enableSrtp = require), and plain RTP was offered"
            raise RemoteProtocolError(why, 488)
        if required or self.negotiated is None:
            self.local = replace(self.local, srtp=self._policy.srtp)

    def accept(self, listener: Callable[[SipEvent], None]) -> bool:
        """Inbound: start the media, answer 200. False if the caller has given up, which `listener` is told.

        If the peer made no offer, the media start when it has acknowledged: `negotiated` is None till then.
        """
        self.sip.listener = listener
        if self.sip.state is UsageState.ENDED:
            return False
        if self.negotiated is None:
            self._offer()
        else:
            self._configure()
        self.sip.accept(self.local_sdp)
        return True

    def progress(self) -> bool:
        """Inbound: start the media before the answer, 183; `accept` may follow.

        False, and only 180, if the peer made no offer: then there is nothing to answer yet.
        """
        if self.negotiated is None:
            self.sip.ring()
            return False
        self._configure()
        self.sip.progress(self.local_sdp)
        return True

    def acknowledged(self) -> None:
        """The peer's ACK has come: apply the answer in it, if an offer of ours is open.

        Raises RemoteProtocolError if there is none, or one that can't be taken; a session that was agreed on
        before stays.
        """
        if not self._offering:
            return
        self._offering = False
        sdp = self.sip.remote_sdp
        if sdp is None:
            raise RemoteProtocolError("the ACK had no answer to the offer in our 200", 488)
        self._apply(sdp)
        self.hold(self._wants_hold)

    # --- a call that we make --------------------------------------------------------------------------

    def dial(
        self,
        agent: SipAgent,
        plan: DialPlan,
        *,
        call_id: str,
        listener: Callable[[SipEvent], None],
    ) -> None:
        """Outbound: send INVITE with our offer."""
        self._offer()
        self._sip = agent.invite(
            plan.target,
            caller=plan.caller,
            sdp=self.local_sdp,
            listener=listener,
            headers=plan.headers,
            credentials=plan.credentials,
            call_id=call_id,
            contact=plan.contact,
            next_hop=plan.next_hop,
            ring_timeout=plan.ring_timeout,
            describe=self._offer_at,
        )

    def _offer_at(self, host: str) -> bytes:
        """Our offer, once it is known at which of our addresses the callee reaches us.

        Of another family it can't be: the lane has its socket.
        """
        if (":" in host) == (":" in self.local.address):
            self.local = replace(self.local, address=host)
            self.local_sdp = make_offer(self.local)
        return self.local_sdp

    def early(self, sdp: bytes) -> None:
        """Outbound: audio before the answer, as a 18x describes it. Raises RemoteProtocolError."""
        if not same_session(sdp, self._applied):
            self._apply(sdp)

    def answered(self, sdp: bytes) -> None:
        """Outbound: apply the peer's answer, of several the last. Raises RemoteProtocolError."""
        self._offering = False
        self.early(sdp)

    # --- once it is answered --------------------------------------------------------------------------

    def reoffered(self, sdp: bytes | None) -> bool:
        """Answer a re-INVITE or UPDATE, or make the offer it asks for. Returns whether it now holds us.

        What the peer has taken back meanwhile changes nothing.
        """
        if not self.sip.offer_waits:
            return self.held
        if self.negotiated is None:
            # RFC 3311 §5.2: an UPDATE before the answer to the offer in our INVITE.
            self.sip.answer_offer(None, 491, "Request Pending")
            return False
        ours_waits = self._offering
        if sdp is None:
            self._offer()
        else:
            try:
                self._answer(sdp)
            except RemoteProtocolError as error:
                self.sip.answer_offer(None, error.status, str(error))
                return self.held
            self._configure()
        self.sip.answer_offer(self.local_sdp)
        if ours_waits:  # it says what was true before, with a version that is too low by now
            self._offer()
            self.sip.offer(self.local_sdp)
        return self.held

    def hold(self, on: bool) -> None:
        """Ask the peer to be quiet, or to speak again: a re-INVITE. It still hears us. Raises MediaError."""
        if self.negotiated is None:
            raise MediaError("a call that is not answered can't be held")
        self._wants_hold = on
        if not self._offering and on is not self.local.hold:
            self._offer(hold=on)
            self.sip.offer(self.local_sdp)

    def offer_answered(self, sdp: bytes | None) -> bool:
        """The peer took our re-INVITE. Returns whether it now holds us. Raises RemoteProtocolError."""
        self._offering = False
        if sdp is None:
            raise RemoteProtocolError("the answer to our re-INVITE had no SDP", 488)
        self._apply(sdp)
        self.hold(self._wants_hold)
        return self.held

    def offer_refused(self) -> None:
        """The peer refused our re-INVITE: all stays as it was."""
        self._offering = False
        self._wants_hold = not self.local.hold
        self.local = replace(self.local, hold=self._wants_hold)

    def press(
        self, digits: str, *, mode: KeyMode = "auto", duration_ms: int = 160, gap_ms: int = 60
    ) -> KeyMode:
        """Press keys; `auto` takes events if the peer takes them, else tones."""
        if self.negotiated is None:
            raise MediaError("the call has no audio yet, so no key can be pressed")
        events = self.negotiated.sends_events is not None
        if mode == "auto":
            mode = "rfc4733" if events else "inband"
        if mode == "rfc4733" and not events:
            raise MediaError('mode "rfc4733": the peer takes no telephone-event; use "info" or "inband"')
        if mode == "info":
            if self._info_keys is None:
                self._info_keys = InfoKeys(self.sip.info)
            self._info_keys.press(digits, duration_ms=duration_ms, gap_ms=gap_ms)
        else:
            tones = mode == "inband"
            self.lane.send_digits(digits, duration_ms=duration_ms, gap_ms=gap_ms, tones=tones)
        return mode

    def hang_up(self, headers: Mapping[str, str]) -> None:
        """End the dialog in the way that fits its state; harmless without one."""
        if self._info_keys is not None:
            self._info_keys.stop()
        if self._sip is not None:
            self._sip.hangup(headers=headers)

    # --- offers and answers ---------------------------------------------------------------------------

    def _offer(self, *, hold: bool | None = None) -> None:
        """Describe ourselves anew; the version rises if that says anything new (RFC 3264 §8)."""
        local = replace(self.local, hold=self.local.hold if hold is None else hold)
        sdp = make_offer(local, self.negotiated)
        if self.local_sdp and sdp != self.local_sdp:
            local = replace(local, version=local.version + 1)
            sdp = make_offer(local, self.negotiated)
        self.local, self.local_sdp = local, sdp
        self._before, self._applied, self._offering = self.negotiated, b"", True

    def _answer(self, offer: bytes) -> None:
        local = self.local
        answer, negotiated = answer_offer(offer, local, self.negotiated)
        if self.local_sdp and answer != self.local_sdp:
            local = replace(local, version=local.version + 1)
            answer, negotiated = answer_offer(offer, local, self.negotiated)
        self.local, self.local_sdp, self.negotiated = local, answer, negotiated

    def _apply(self, answer: bytes) -> None:
        self.negotiated = accept_answer(answer, self.local, self._before)
        self._applied = answer
        self._configure()

    def _configure(self) -> None:
        assert self.negotiated is not None
        policy = self._policy
        message = configuration(
            self.lane.ref,
            self.negotiated,
            latching=policy.latching,
            jitter_ms=policy.jitter_ms,
            peer_host=self.sip.peer[0],
        )
        if message != self.lane.configured:  # session timers repeat what is agreed on, again and again
            self.lane.configure(message)
