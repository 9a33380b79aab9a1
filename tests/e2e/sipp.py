"""Running SIPp and reading what it counted."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

SHARE = Path("/usr/share/sip-tester")


@dataclass(frozen=True)
class SippResult:
    """How a run ended; `successful` and `failed` are calls."""

    status: int
    successful: int
    failed: int
    output: str


def run_sipp(folder: Path, *arguments: str, timeout: float = 60.0) -> SippResult:
    """Run SIPp in `folder` (its pcap files are linked there), bounded in time."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "pcap").exists():
        (folder / "pcap").symlink_to(SHARE)
    stats = folder / "stats.csv"
    command = ["sipp", *arguments, "-i", "127.0.0.1", "-mi", "127.0.0.1", "-trace_stat", "-stf", str(stats)]
    command += ["-fd", "1", "-nostdin", "-trace_err", "-error_file", str(folder / "errors.log")]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",  # it prints what it got, which need not be text
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    header, *_, last = stats.read_text().strip().splitlines()
    row = dict(zip(header.split(";"), last.split(";"), strict=False))
    return SippResult(
        done.returncode,
        int(row["SuccessfulCall(C)"]),
        int(row["FailedCall(C)"]),
        done.stdout[-2000:] + done.stderr,
    )
