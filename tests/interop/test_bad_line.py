"""A line that loses one in twenty packets, in real time: every call is set up and ends all the same."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from active_call.testing.process import GatewayProcess
from tests.interop import namespaces
from tests.interop.matrix import TONE_PLAYBOOK
from tests.interop.namespaces import INSIDE, NAT, OUTSIDE, Hosts, entered, natted_hosts
from tests.needs import need

pytestmark = pytest.mark.e2e

CALLS = 60


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    need(namespaces.possible() and shutil.which("sipp") is not None, "root, iproute2, nftables and SIPp")
    with natted_hosts() as made:
        # A plain router: SIPp doesn't ask for answers to where it sent from, and would not work behind a NAT.
        rules = (
            "flush chain ip nat post",
            "flush chain ip filter forward",
            "add rule ip filter forward meta l4proto udp numgen random mod 20 == 0 counter drop",
            "add rule ip filter forward accept",
        )
        for rule in rules:
            subprocess.run(["ip", "netns", "exec", made.nat, "nft", rule], check=True)
        subprocess.run(["ip", "-n", made.outside, "route", "add", "default", "via", NAT], check=True)
        yield made


def test_calls_over_a_line_that_loses_packets(hosts: Hosts, tmp_path: Path) -> None:
    with (
        entered(hosts.outside),
        GatewayProcess(tmp_path / "gateway", {"tone.md": TONE_PLAYBOOK}, "tone.md", host=OUTSIDE) as gateway,
    ):
        with entered(hosts.inside):
            command = ["sipp", "-sn", "uac", f"{OUTSIDE}:{gateway.sip_port}", "-i", INSIDE, "-mi", INSIDE]
            command += ["-m", str(CALLS), "-r", "20", "-d", "500", "-nostdin", "-timeout", "60s"]
            done = subprocess.run(
                command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
        assert done.returncode == 0, done.stdout[-2000:]
        # SIPp takes a repeated 200 to its INVITE for the answer to its BYE. If its ACK and its BYE were
        # both lost, it is for the gateway to end the call: after 64 x T1 (RFC 3261 §13.3.1.4).
        gateway.wait_calls(0, timeout=45)
        gateway.wait_lanes(0)
        records = gateway.wait_records(CALLS)
        log = gateway.log()
    lost = subprocess.run(
        ["ip", "netns", "exec", hosts.nat, "nft", "list chain ip filter forward"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "counter packets 0 " not in lost.stdout, "the line lost nothing"
    cut_off = [record for record in records if record["statusCode"] != 200]
    assert len(cut_off) <= CALLS // 10
    assert all("no ACK in 32 s" in record["hangupDetail"] for record in cut_off)
    assert "Traceback" not in log
