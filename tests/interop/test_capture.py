"""What Wireshark says of our packets: SIP, SDP, RTP, keys, RTCP and STUN, in calls with real telephones."""

import re
import shutil
from collections import defaultdict
from itertools import pairwise
from statistics import median

import pytest

from tests.e2e import baresip
from tests.interop import coturn, kamailio, linphone, namespaces, wireshark
from tests.interop.recorded import GATEWAY, TELEPHONES, Recorded, record
from tests.interop.streams import Report, RtpPacket, events
from tests.interop.wireshark import Frame
from tests.needs import need

pytestmark = pytest.mark.e2e

OPUS = 111
"""Its payload type in our offers."""
UNIX_SECONDS = 2_208_988_800
"""From 1900 to 1970."""
_PAUSE_SECONDS = 0.5
_OWN_HEADERS = ("x-referred-to", "x-referred-from", "x-referred-id")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    need(namespaces.possible(), "root, iproute2 and nftables")
    phones = baresip.installed() and linphone.installed() and shutil.which("sipp") is not None
    need(phones and kamailio.installed(), "baresip-core, linphone-cli, SIPp and kamailio")
    need(wireshark.installed() and coturn.installed(), "tshark and coturn")
    return record(tmp_path_factory.mktemp("capture"))


def clock_hz(packet: RtpPacket) -> int:
    """Of the stream's timestamps."""
    return 48_000 if packet.payload_type == OPUS else 8_000


def stream_clock_hz(stream: list[RtpPacket]) -> int:
    return clock_hz(next(packet for packet in stream if packet.event < 0))


def ahead(later: int, earlier: int, bits: int = 32) -> int:
    """How far one number is ahead of another, around the wrap; negative if it is behind."""
    half = 1 << (bits - 1)
    return (later - earlier + half) % (2 * half) - half


# --- signalling -------------------------------------------------------------------------------------------


def test_every_message_of_sip_was_seen(recorded: Recorded) -> None:
    frames = [
        frame
        for frame in recorded.capture.frames("sip", "sip.Method", "sip.Status-Code")
        if recorded.is_ours(frame)
    ]
    seen = {frame.text("sip.Method") or frame.text("sip.Status-Code") for frame in frames}
    requests = {"INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "PRACK", "REFER", "NOTIFY", "INFO"}
    responses = {"100", "180", "183", "200", "202", "487", "488"}
    assert requests | responses <= seen


def test_wireshark_has_nothing_to_say_against_our_packets(recorded: Recorded) -> None:
    complaints = recorded.capture.complaints("sip || sdp || sipfrag || rtp || rtcp || rtpevent || stun")
    allowed = {f"Unrecognised SIP header ({name})" for name in _OWN_HEADERS}
    allowed.add("Encrypted RTCP Payload - not dissected")
    unexpected = {
        message
        for frame in complaints
        if recorded.is_ours(frame)
        for message in frame.all("_ws.malformed") + frame.all("_ws.expert.message")
        if message not in allowed and not message.startswith("RTCP round-trip delay detected")
    }
    assert unexpected == set()


def test_descriptions_of_a_session_are_numbered(recorded: Recorded) -> None:
    """RFC 3264 §8: another version when, and only when, something else has changed."""
    fields = ("sip.Call-ID", "sdp.owner.sessionid", "sdp.owner.version", "sdp.media", "sdp.media_attr")
    sessions: dict[str, list[Frame]] = defaultdict(list)
    for frame in recorded.capture.frames("sdp", *fields):
        if frame.source[0] in (GATEWAY, TELEPHONES):
            sessions[frame.source[0] + frame.text("sip.Call-ID")].append(frame)
    for described in sessions.values():
        assert len({frame.text("sdp.owner.sessionid") for frame in described}) == 1
        for one, later in pairwise(described):
            same = all(one.all(name) == later.all(name) for name in ("sdp.media", "sdp.media_attr"))
            step = later.number("sdp.owner.version") - one.number("sdp.owner.version")
            assert step == (0 if same else 1)
    assert max(map(len, sessions.values())) == 3  # held and taken back


# --- RTP --------------------------------------------------------------------------------------------------


def test_wireshark_finds_no_lost_and_no_wrong_packet(recorded: Recorded) -> None:
    lines = recorded.capture.statistics("rtp,streams")
    row = re.compile(r"(\S+)\s+\d+\s+\S+\s+\d+\s+0x([0-9A-F]{8})\s.*\s(-?\d+) \(-?[\d.]+%\)([-\s\d.]*)(\S*)$")
    found = {int(match[2], 16): match for line in lines if (match := row.search(line.rstrip()))}
    for ssrc in recorded.sent:
        match = found[ssrc]
        assert (match[3], match[5]) == ("0", ""), match[0]  # lost, problems


def test_each_call_has_one_stream_of_consecutive_packets(recorded: Recorded) -> None:
    ports = [stream[0].source for stream in recorded.sent.values()]
    assert len(ports) == len(set(ports)) >= 11  # of two that are transferred at once there may be none
    for stream in recorded.sent.values():
        assert {ahead(later.sequence, one.sequence, 16) for one, later in pairwise(stream)} <= {1}


def test_timestamps_keep_to_the_clock_of_the_codec(recorded: Recorded) -> None:
    ptimes = set()
    for stream in recorded.sent.values():
        hz = stream_clock_hz(stream)
        audio = [packet for packet in stream if packet.event < 0]
        late = [
            packet.time - audio[0].time - ahead(packet.timestamp, audio[0].timestamp) / hz for packet in audio
        ]
        assert max(late) - min(late) < 0.2
        # Keys are timed by the same clock: what comes later never has an earlier timestamp.
        assert all(ahead(later.timestamp, one.timestamp) >= 0 for one, later in pairwise(stream))
        steps = {ahead(later.timestamp, one.timestamp) for one, later in pairwise(audio)}
        ptimes.add(min(steps, default=0) * 1000 // hz)
    assert ptimes - {0} == {20, 60}


def test_talk_spurts_and_keys_begin_with_a_marker_and_nothing_else_has_one(recorded: Recorded) -> None:
    pauses = 0
    for stream in recorded.sent.values():
        begins = [True]
        for one, later in pairwise(stream):
            paused = later.time - one.time > _PAUSE_SECONDS
            new_key = later.event >= 0 and later.timestamp != one.timestamp
            begins.append(paused or new_key)
            pauses += paused
        assert [packet.marker for packet in stream] == begins
    assert pauses == 5  # four telephones and one of ours held


def test_only_what_was_negotiated_is_sent(recorded: Recorded) -> None:
    wanted = recorded.payload_types("RTP/AVP")
    for stream in recorded.sent.values():
        for packet in stream:
            assert packet.payload_type in wanted[packet.destination[1]]
            assert packet.event < 0 or packet.octets == 4
    sent = {stream[0].payload_type for stream in recorded.sent.values()}
    assert {0, 8, 9, OPUS} <= sent


def test_keys_are_sent_as_rfc_4733_has_them(recorded: Recorded) -> None:
    pressed: dict[str, list[list[int]]] = {GATEWAY: [], TELEPHONES: []}
    for stream in recorded.sent.values():
        keys = events(stream)
        if keys:
            pressed[stream[0].source[0]].append([key[0].event for key in keys])
        for key in keys:
            growing = [packet.duration for packet in key if not packet.end]
            ends = [packet for packet in key if packet.end]
            full = 1600 if key[0].source[0] == GATEWAY else 1280  # 200 and 160 ms
            assert growing == list(range(160, full, 160))
            assert [packet.duration for packet in ends] == [full] * 3
            assert key == sorted(key, key=lambda packet: packet.end)
    assert pressed == {GATEWAY: [[1, 11]] * 4, TELEPHONES: [[4, 2]]}


def test_audio_and_reports_are_marked_for_expedited_forwarding(recorded: Recorded) -> None:
    frames = recorded.capture.frames("(rtp || rtcp) && !icmp", "ip.dsfield.dscp")
    ours = [frame for frame in frames if frame.source[0] in (GATEWAY, TELEPHONES)]
    assert {frame.number("ip.dsfield.dscp") for frame in ours} == {46}


def test_encrypted_audio_is_not_to_be_seen(recorded: Recorded) -> None:
    ports = recorded.payload_types("RTP/SAVP")
    plain: list[bytes] = []
    secret: list[bytes] = []
    wanted = f"rtp && !icmp && (ip.src == {GATEWAY} || ip.src == {TELEPHONES})"
    for frame in recorded.capture.frames(wanted, "udp.payload"):
        payload = bytes.fromhex(frame.text("udp.payload").replace(":", ""))[12:]
        (secret if frame.source[1] in ports else plain).append(payload)
    assert {len(one) for one in secret} == {160 + 10}
    assert len(set(secret)) == len(secret) >= 250
    assert len(set(plain)) < len(plain) / 2  # tones and silence repeat themselves


# --- RTCP -------------------------------------------------------------------------------------------------


def before(stream: list[RtpPacket], report: Report) -> list[RtpPacket]:
    return [packet for packet in stream if packet.time <= report.frame.time]


def test_reports_are_compound_and_end_with_a_goodbye(recorded: Recorded) -> None:
    for ssrc in recorded.sent:
        own = [one for one in recorded.reports if one.ssrc == ssrc]
        assert own, f"no report of {recorded.sent[ssrc][0].source}"
        assert [one.kinds for one in own] == [[200, 202]] * (len(own) - 1) + [[200, 202, 203]]
        assert len({one.frame.text("rtcp.sdes.text") for one in own}) == 1


def test_reports_count_what_was_sent(recorded: Recorded) -> None:
    for one in recorded.reports:
        sent = before(recorded.sent[one.ssrc], one)
        assert one.number("sender.packetcount") == len(sent)
        assert one.number("sender.octetcount") == sum(packet.octets for packet in sent)


def test_reports_tell_the_time_of_both_clocks(recorded: Recorded) -> None:
    for one in recorded.reports:
        stream = recorded.sent[one.ssrc]
        hz = stream_clock_hz(stream)
        last = [packet for packet in before(stream, one) if packet.event < 0][-1]
        elapsed = ahead(one.number("timestamp.rtp"), last.timestamp) / hz
        assert elapsed == pytest.approx(one.frame.time - last.time, abs=0.1)
        assert one.ntp_seconds - UNIX_SECONDS == pytest.approx(one.frame.time, abs=0.1)
    for ssrc, stream in recorded.sent.items():
        hz = stream_clock_hz(stream)
        for one, later in pairwise(report for report in recorded.reports if report.ssrc == ssrc):
            by_rtp = ahead(later.number("timestamp.rtp"), one.number("timestamp.rtp")) / hz
            assert by_rtp == pytest.approx(later.ntp_seconds - one.ntp_seconds, abs=0.002)


def test_reports_tell_what_was_heard(recorded: Recorded) -> None:
    for one in recorded.reports:
        if not one.has("ssrc.ext_high"):
            continue
        heard = before(recorded.streams[one.number("ssrc.identifier")], one)
        assert heard[-1].destination == recorded.sent[one.ssrc][0].source
        assert -3 <= ahead(one.number("ssrc.ext_high"), heard[-1].sequence, 16) <= 0
        assert (one.number("ssrc.fraction"), one.number("ssrc.cum_nr")) == (0, 0)
        assert one.number("ssrc.jitter") / clock_hz(heard[-1]) < 0.05


def test_the_way_there_and_back_can_be_told_by_our_reports(recorded: Recorded) -> None:
    took = []
    for one in recorded.reports:
        # A goodbye is stamped with the tick that would have come next.
        if 203 not in one.kinds and one.has("ssrc.lsr") and one.number("ssrc.lsr"):
            arrived = round((one.frame.time + UNIX_SECONDS) * 65_536)
            waited = one.number("ssrc.lsr") + one.number("ssrc.dlsr")
            took.append(ahead(arrived % 2**32, waited % 2**32) / 65_536)
    assert took
    assert min(took) > -0.002
    assert median(took) < 0.010  # it's the loopback; one report may have waited for a core


# --- STUN -------------------------------------------------------------------------------------------------


def test_a_client_of_coturn_understands_our_stun(recorded: Recorded) -> None:
    assert "UDP reflexive addr: 127.0.0.1:" in recorded.stun.reflexive


def test_coturn_gives_the_same_address_as_we(recorded: Recorded) -> None:
    ours, theirs = recorded.stun.from_us[0], recorded.stun.from_coturn[0]
    assert ours[:2] == theirs[:2]
    assert ours[4:32] == theirs[4:32]  # magic cookie, transaction, XOR-MAPPED-ADDRESS
    seen = recorded.capture.frames(
        f"stun.type == 0x0101 && ip.src == {GATEWAY}", "stun.att.ipv4", "stun.att.port"
    )
    assert seen
    assert all(
        (frame.text("stun.att.ipv4"), frame.number("stun.att.port")) == frame.destination for frame in seen
    )


def test_coturn_refuses_what_we_refuse(recorded: Recorded) -> None:
    ours, theirs = recorded.stun.from_us[1], recorded.stun.from_coturn[1]
    assert (ours[:2], ours[4:20]) == (theirs[:2], theirs[4:20])
    assert ours[2:4] == b"\x00\x10"
    error, unknown = ours[20:28], ours[28:36]
    assert error[4:] in theirs  # 420; they add a sentence
    assert unknown in theirs
