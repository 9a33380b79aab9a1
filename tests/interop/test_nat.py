"""A telephone behind a NAT calls and is heard; strangers change nothing."""

import json
import re
import socket
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from active_call.testing.process import GatewayProcess
from tests.e2e import baresip as baresip_program
from tests.e2e.baresip import Baresip
from tests.interop import namespaces
from tests.interop.matrix import TONE_PLAYBOOK
from tests.interop.namespaces import INSIDE, OUTSIDE, STRANGER, Hosts, entered, natted_hosts
from tests.interop.peers import PEER_HZ, tone_share
from tests.needs import need

pytestmark = pytest.mark.e2e

RECORD_ALL = "[recording]\nenabled = true\nauto_start = true\n"
_STRANGERS_PACKETS = 500


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    need(namespaces.possible() and baresip_program.installed(), "root, iproute2, nftables and baresip-core")
    with natted_hosts() as made:
        yield made


def test_audio_flows_both_ways_and_a_stranger_changes_nothing(hosts: Hosts, tmp_path: Path) -> None:
    with entered(hosts.outside):
        gateway = GatewayProcess(
            tmp_path / "gateway", {"tone.md": TONE_PLAYBOOK}, "tone.md", config=RECORD_ALL, host=OUTSIDE
        )
        with gateway:
            with entered(hosts.inside):
                phone = Baresip(tmp_path / "phone", host=INSIDE, interface="eth0", tone_hz=PEER_HZ)
                phone.__enter__()
            try:
                phone.command("dial", gateway.uri)
                phone.wait_for("Call established")
                time.sleep(1.5)
                flood(rtp_port(gateway))
                time.sleep(1.0)
                phone.command("hangup")
                (record,) = gateway.wait_records(1)
            finally:
                phone.__exit__(None, None, None)
    assert record["statusCode"] == 200
    heard = recorded(gateway, record)
    for second in (1, 2):  # before, and while the stranger sent
        assert tone_share(16_000, heard[second * 16_000 : (second + 1) * 16_000], PEER_HZ) > 0.9
    at_the_phone = phone.heard()
    assert tone_share(8000, at_the_phone[8000 : 3 * 8000], 440.0) > 0.9
    # A latched socket does not even take in what strangers send.
    assert record["media"]["packetsReceived"] < 50 * (len(heard) / 16_000 + 1)


def rtp_port(gateway: GatewayProcess) -> int:
    """From the SDP of the answer, in the dump."""
    (dump,) = (gateway.directory / "config/recorders").glob("*.events.jsonl")
    lines = [json.loads(line) for line in dump.read_text().splitlines()]
    answers = [line["content"] for line in lines if f"IP4 {OUTSIDE}" in line["content"]]
    found = re.search(r"m=audio (\d+)", answers[-1])
    assert found is not None
    return int(found[1])


def flood(port: int) -> None:
    """RTP from somebody else: the right payload type, running numbers, loud noise."""
    noise = np.random.default_rng(1).integers(0, 256, 160, np.uint8).tobytes()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((STRANGER, 0))
        for number in range(_STRANGERS_PACKETS):
            header = bytes((0x80, 0)) + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big") + b"evil"
            sock.sendto(header + noise, (OUTSIDE, port))
            time.sleep(0.001)


def recorded(gateway: GatewayProcess, record: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """What the caller said, 16 kHz."""
    with wave.open(str(gateway.directory / record["recorder"][0]["path"])) as file:
        frames = file.readframes(file.getnframes())
    return np.frombuffer(frames, np.int16).reshape(-1, 2)[:, 0]
