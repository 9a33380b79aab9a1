"""SIPp as a telephone that echoes: what it sends is what it heard, so one way can't work without the other."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from active_call.testing.process import free_port

_SDP = {
    "pcmu": ("0", "PCMU/8000"),
    "pcma": ("8", "PCMA/8000"),
    "g722": ("9", "G722/8000"),
    "opus": ("96", "opus/48000/2"),
}

_HEAD = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
_CALLER = """<scenario name="caller">
<send retrans="500"><![CDATA[
INVITE sip:agent@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]a
To: <sip:agent@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

{sdp}]]></send>
<recv response="100" optional="true"/><recv response="180" optional="true"/>
<recv response="200" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]a
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<pause milliseconds="{talk_ms}"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]a
[last_To:]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""
_CALLEE = """<scenario name="callee">
<recv request="INVITE" rrs="true"/>
<send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]b
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Content-Length: 0

]]></send>
<send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[call_number]b
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:sipp@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

{sdp}]]></send>
<recv request="ACK"/>
<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"""


@dataclass
class SippPhone:
    """One SIPp process that makes or takes one call. A context manager."""

    folder: Path
    codec: str = "pcmu"
    transport: str = "udp"
    talk_seconds: float = 3.0

    def __enter__(self) -> "SippPhone":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sip_port, self._process = free_port(), None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(5)

    _process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        suffix = "" if self.transport == "udp" else f";transport={self.transport}"
        return f"sip:sipp@127.0.0.1:{self.sip_port}{suffix}"

    def call(self, host: str, port: int) -> None:
        """Make the call, in the background."""
        self._start(_CALLER, f"{host}:{port}")

    def answer(self) -> None:
        """Wait for the call, in the background."""
        self._start(_CALLEE)
        time.sleep(0.5)  # it does not say when it listens

    def wait(self, timeout: float = 20.0) -> int:
        """Its exit status, once the call is over; 0 if all went as written."""
        assert self._process is not None
        return self._process.wait(timeout)

    def log(self) -> str:
        return (self.folder / "sipp.log").read_text(errors="replace")

    def _start(self, scenario: str, *target: str) -> None:
        number, name = _SDP[self.codec]
        sdp = (
            "v=0\r\no=sipp 1 1 IN IP[local_ip_type] [local_ip]\r\ns=-\r\nc=IN IP[media_ip_type] [media_ip]\r\n"
            f"t=0 0\r\nm=audio [media_port] RTP/AVP {number}\r\na=rtpmap:{number} {name}\r\na=ptime:20\r\n"
        )
        file = self.folder / "scenario.xml"
        talk_ms = str(round(self.talk_seconds * 1000))
        file.write_text(_HEAD + scenario.replace("{sdp}", sdp).replace("{talk_ms}", talk_ms))
        command = ["sipp", *target, "-sf", str(file), "-m", "1", "-i", "127.0.0.1", "-mi", "127.0.0.1"]
        command += ["-p", str(self.sip_port), "-mp", str(free_port() // 10 * 10), "-rtp_echo", "-nostdin"]
        command += ["-t", {"udp": "u1", "tcp": "t1"}[self.transport], "-timeout", "30s"]
        command += ["-trace_err", "-error_file", str(self.folder / "errors.log")]
        with (self.folder / "sipp.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
