"""SRTP and SRTCP (RFC 3711; AES-GCM: RFC 7714) of lanes, by libsrtp.

libsrtp keeps rollover counters and replay windows in its contexts, which die with their process. So a process
that takes over brings its own contexts to where those were: pylibsrtp can't set a counter, hence it is walked
there with a few packets that are never sent, two per wrap of the sequence numbers. Packets of before a takeover
are not taken again; reports may be, once.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from pylibsrtp import Error, Policy, Session

from active_call.dsp.rtcp import is_rtcp
from active_call.lanes.messages import SrtpKeys, SrtpSuite
from active_call.lanes.table import Table

log = logging.getLogger(__name__)

Receive: TypeAlias = Callable[[memoryview], int]
"""Puts a packet into the memory and returns its size, or NOTHING."""
Send: TypeAlias = Callable[[memoryview | bytes], int]
NOTHING: Final = -2
"""Instead of a size: the packet was counted, and is nothing to the lane."""

_PROFILES: Final[dict[SrtpSuite, int]] = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
_KEY_BYTES: Final[dict[SrtpSuite, int]] = {
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
"""Master key and salt."""
_TAG_BYTES: Final[dict[SrtpSuite, int]] = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}
"""After the identifier; with AEAD nothing comes after it (RFC 7714 §8)."""
_REPORT_TAG_BYTES: Final = 10
_STRIDE: Final = 0x7FFF
"""The furthest jump of a sequence number that is not taken for one backwards."""
_MOST_SSRCS: Final = 16
"""Streams that a peer may have in one context; the oldest is forgotten."""
_FURTHEST: Final = 1_000 * _STRIDE
"""Index of a packet after a week of speech. Who is further has jumped there, to have us walk so long."""
_MOST_STEPS: Final = 400
"""Report numbers that are caught up with at a time."""


class SrtpSender:
    """Encrypts what a lane sends as `ssrc`. Raises ValueError for a key of the wrong length."""

    def __init__(self, suite: SrtpSuite, key: bytes, ssrc: int) -> None:
        self._session = _session(suite, key, Policy.SSRC_ANY_OUTBOUND)
        self._ssrc = ssrc.to_bytes(4, "big")
        self._reports_behind = 0

    def resume(self, sequence: int, reports: int) -> None:
        """Go on where the next packet has this extended sequence number, and so many reports were sent."""
        self._reports_behind = reports
        if sequence >> 16:
            for index in range(0, sequence, _STRIDE):
                self._session.protect(_empty_packet(index, self._ssrc))

    def protect(self, packet: bytes) -> bytes | None:
        """The SRTP packet; None if it can't be made."""
        try:
            return self._session.protect(packet)
        except (Error, ValueError):
            return None

    def protect_rtcp(self, report: bytes) -> bytes | None:
        """The SRTCP packet; None if it can't be made, or not yet.

        The numbers of reports sent before a takeover must not be used again, since with a number goes its
        keystream. They are used up on the way, a part at each report.
        """
        nothing = b"\x80\xc9\x00\x01" + self._ssrc
        steps = min(self._reports_behind, _MOST_STEPS)
        self._reports_behind -= steps
        try:
            for _ in range(steps):
                self._session.protect_rtcp(nothing)
            return None if self._reports_behind else self._session.protect_rtcp(report)
        except (Error, ValueError):
            return None


class SrtpReceiver:
    """Decrypts what a peer sends. Raises ValueError for a key of the wrong length."""

    def __init__(self, suite: SrtpSuite, key: bytes, *, before: "SrtpReceiver | None" = None) -> None:
        """`before` is what the same peer used until now: valid until something comes with the new key.

        Whether the rollover counter goes on with a new key (RFC 3711 §3.3.1) or begins at 0 (what many do,
        and RFC 4568 §7.1.4 wants in some cases) is found out by trying.
        """
        self.mki_bytes = 0
        """Of the identifier that packets may have before their tag; those without it are taken too."""
        self._suite, self._key = suite, key
        self._rekeyed = before is not None
        self._new = [_Context(suite, key)]
        self._old: _Context | None = None
        if before is not None:
            self._old = before._new[0]
            if self._old.index >> 16:
                self._new.append(_Context(suite, key, self._old.ssrc, self._old.index))

    def resume(self, position: int) -> None:
        """Go on after the packet that `position` says; 0 = none came yet."""
        index, ssrc = position >> 32, (position & 0xFFFF_FFFF).to_bytes(4, "big")
        if not position:
            return
        self._old = None
        self._new = [_Context(self._suite, self._key, ssrc, index)]
        if self._rekeyed and index >> 16:
            self._new.append(_Context(self._suite, self._key))

    @property
    def position(self) -> int:
        """Index (rollover counter and sequence number) of the newest packet << 32 | its SSRC; 0 = none yet."""
        context = self._old or self._new[0]
        return (context.index & 0x7FFF_FFFF) << 32 | context.ssrc_number

    def unprotect(self, packet: bytes) -> bytes | None:
        """The RTP packet, or None if it does not authenticate, or came before."""
        if self.mki_bytes:
            plain = self._unprotect(_without_mki(packet, self.mki_bytes, _TAG_BYTES.get(self._suite, 0)))
            if plain is not None:
                return plain
        return self._unprotect(packet)

    def _unprotect(self, packet: bytes) -> bytes | None:
        for context in self._new:
            if (plain := context.unprotect(packet)) is not None:
                if self._old is not None or len(self._new) > 1:
                    self._new, self._old = [context], None
                return plain
        return self._old.unprotect(packet) if self._old is not None else None

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """The same for a compound RTCP packet."""
        if self.mki_bytes:
            tag_bytes = _REPORT_TAG_BYTES if self._suite in _TAG_BYTES else 0
            plain = self._unprotect_rtcp(_without_mki(packet, self.mki_bytes, tag_bytes))
            if plain is not None:
                return plain
        return self._unprotect_rtcp(packet)

    def _unprotect_rtcp(self, packet: bytes) -> bytes | None:
        plain = self._new[0].unprotect_rtcp(packet)
        return self._old.unprotect_rtcp(packet) if plain is None and self._old is not None else plain


class _Context:
    """One key of a peer; `index` is that of the newest packet of its present stream."""

    def __init__(self, suite: SrtpSuite, key: bytes, ssrc: bytes = b"", index: int = 0) -> None:
        self._session = _session(suite, key, Policy.SSRC_ANY_INBOUND)
        if index > _FURTHEST:
            ssrc, index = b"", 0
        self._known: dict[bytes, int] = {}
        """SSRC -> index, -1 if only reports came."""
        self._resumed, self._resumed_at = ssrc, index
        self.ssrc, self.index = ssrc, index
        self.ssrc_number = int.from_bytes(ssrc, "big")
        if ssrc:
            self._known[ssrc] = index
            peer = _session(suite, key, Policy.SSRC_ANY_OUTBOUND)
            for step in (*range(index % _STRIDE, index, _STRIDE), index):
                self._session.unprotect(peer.protect(_empty_packet(step, ssrc)))

    def unprotect(self, packet: bytes) -> bytes | None:
        try:
            plain = self._session.unprotect(packet)
            ssrc, sequence = packet[8:12], packet[2] << 8 | packet[3]
            if ssrc != self.ssrc:
                self._switch(ssrc, sequence)
        except (Error, ValueError):
            return None
        step = (sequence - self.index) & 0xFFFF
        if step <= _STRIDE:
            self.index += step
        elif ssrc == self._resumed and self.index + step - 0x1_0000 <= self._resumed_at:
            return None  # the replay window begins with the takeover
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        try:
            plain = self._session.unprotect_rtcp(packet)
            self._remember(packet[4:8], -1)
        except (Error, ValueError):
            return None
        return plain

    def _switch(self, ssrc: bytes, sequence: int) -> None:
        if self.ssrc:
            self._known[self.ssrc] = self.index
        self._remember(ssrc, sequence)
        if self._known[ssrc] < 0:
            self._known[ssrc] = sequence
        self.ssrc, self.ssrc_number, self.index = ssrc, int.from_bytes(ssrc, "big"), self._known[ssrc]

    def _remember(self, ssrc: bytes, index: int) -> None:
        if ssrc in self._known:
            return
        self._known[ssrc] = index
        if len(self._known) > _MOST_SSRCS:
            oldest = next(one for one in self._known if one not in (ssrc, self.ssrc))
            del self._known[oldest]
            self._session.remove_stream(int.from_bytes(oldest, "big"))


class SrtpLane:
    """Both directions of a lane. With keys that can't be used, nothing is sent and nothing is heard."""

    def __init__(self, row: int, ssrc: int) -> None:
        self.sender: SrtpSender | None = None
        self.receiver: SrtpReceiver | None = None
        self._row = row
        self._ssrc = ssrc
        self._send: tuple[SrtpSuite, bytes] | None = None
        self._receive: tuple[SrtpSuite, bytes] | None = None

    def configure(self, keys: SrtpKeys) -> bool:
        """Take what is new of the keys; equal ones leave all as it is. Returns whether `sender` is new."""
        send = (keys.suite, keys.send)
        receive = (keys.receive_suite or keys.suite, keys.receive)
        renewed = send != self._send
        try:
            if receive != self._receive:
                self._receive = receive
                before, self.receiver = self.receiver, None
                self.receiver = SrtpReceiver(*receive, before=before)
            if self.receiver is not None:
                self.receiver.mki_bytes = keys.receive_mki
            if renewed:
                self._send, self.sender = send, None
                self.sender = SrtpSender(*send, self._ssrc)
        except (ValueError, Error) as error:
            log.error("lane %d: unusable SRTP keys for %s: %s", self._row, keys.suite, error)
            self.sender = self.receiver = self._send = self._receive = None
            return False
        return renewed


class SrtpLanes:
    """The encrypted lanes of a table, of which this keeps the columns `srtp_...` and `srtcp_sent`."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lanes: dict[int, SrtpLane] = {}
        self._active = False

    def configure(self, row: int, ssrc: int, keys: SrtpKeys | None) -> None:
        """Encrypt what the lane sends as `ssrc`, and decrypt what it gets; no `keys`: it is plain."""
        table = self._table
        if keys is None:
            self.remove(row)
            if self._active:
                table.srtp_received[row] = 0
            return
        lane = self._lanes.setdefault(row, SrtpLane(row, ssrc))
        if lane.configure(keys) and self._active and lane.sender is not None:
            # The count of reports goes on, because the key may be one of before.
            lane.sender.resume(int(table.tx_sequence[row]), int(table.srtcp_sent[row]))

    def remove(self, row: int) -> None:
        """Forget the lane's keys."""
        self._lanes.pop(row, None)

    def resume(self) -> None:
        """Become active: go on where another process was."""
        self._active, table = True, self._table
        for row, lane in self._lanes.items():
            if lane.sender is not None:
                lane.sender.resume(int(table.tx_sequence[row]), int(table.srtcp_sent[row]))
            if lane.receiver is not None:
                lane.receiver.resume(int(table.srtp_received[row]))

    def receiving(self, row: int, receive: Receive) -> Receive:
        """`receive` of the lane's RTP socket, followed by decryption if the lane is encrypted."""
        lane = self._lanes.get(row)
        return receive if lane is None else partial(self._receive, row, lane.receiver, receive)

    def sending(self, row: int, send: Send) -> Send:
        """`send` of the lane's RTP socket, preceded by encryption if the lane is encrypted."""
        lane = self._lanes.get(row)
        return send if lane is None else partial(self._send, row, lane.sender, send)

    def open_report(self, row: int, data: bytes) -> bytes | None:
        """RTCP that the lane got, decrypted if it is encrypted; None if it does not authenticate."""
        lane = self._lanes.get(row)
        if lane is None:
            return data
        plain = lane.receiver.unprotect_rtcp(data) if lane.receiver is not None else None
        if plain is None:
            self._table.srtp_rejected[row] += 1
        return plain

    def seal_report(self, row: int, data: bytes) -> bytes | None:
        """RTCP for the peer, encrypted if the lane is; None if it can't be sent (now)."""
        lane = self._lanes.get(row)
        if lane is None:
            return data
        sealed = lane.sender.protect_rtcp(data) if lane.sender is not None else None
        if sealed is not None:
            self._table.srtcp_sent[row] += 1
        return sealed

    def _receive(self, row: int, receiver: SrtpReceiver | None, receive: Receive, view: memoryview) -> int:
        size = receive(view)
        if size <= 0:
            return size
        packet, plain = bytes(view[:size]), None
        if size > 1 and is_rtcp(packet[1]):
            plain = self.open_report(row, packet)
            if plain is None:
                return NOTHING
        elif receiver is not None and (plain := receiver.unprotect(packet)) is not None:
            self._table.srtp_received[row] = receiver.position
        else:
            self._table.srtp_rejected[row] += 1
            return NOTHING
        view[: len(plain)] = plain
        return len(plain)

    def _send(self, row: int, sender: SrtpSender | None, send: Send, data: memoryview | bytes) -> int:
        packet = sender.protect(bytes(data)) if sender is not None else None
        if packet is None:
            self._table.tx_errors[row] += 1
            return 0
        return send(packet)


def _session(suite: SrtpSuite, key: bytes, direction: int) -> Session:
    if len(key) != _KEY_BYTES[suite]:
        raise ValueError(f"{suite} needs {_KEY_BYTES[suite]} bytes of key and salt, not {len(key)}")
    return Session(Policy(key, direction, 0, _PROFILES[suite]))


def _without_mki(packet: bytes, mki_bytes: int, tag_bytes: int) -> bytes:
    """libsrtp wants no identifier, and no tag covers it (RFC 3711 §3.1, §3.4)."""
    end = len(packet) - tag_bytes
    return packet[: max(0, end - mki_bytes)] + packet[end:]


def _empty_packet(index: int, ssrc: bytes) -> bytes:
    return b"\x80\x00" + (index & 0xFFFF).to_bytes(2, "big") + bytes(4) + ssrc
