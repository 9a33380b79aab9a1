"""The long run: parsers guided by coverage, then everything by mutation, then a gateway over the wire.

python -m tests.fuzz [MINUTES]
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import Report, fuzz
from tests.fuzz.wire import fuzz_gateway


def main(arguments: list[str]) -> int:
    seconds = 60 * float(arguments[0] if arguments else 30)
    failed = False
    for name in ("sip", "sdp"):
        print(f"guided: {name} for {seconds / 6:.0f} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(round(seconds / 6))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print("\n".join(done.stderr.splitlines()[-8:]), flush=True)
        failed |= done.returncode != 0
    print("mutated: parsers and a user agent amid calls", flush=True)
    failed |= _show(fuzz(seconds / 3, progress=lambda line: print(line, flush=True)), 30.0)
    print("over the wire: a gateway", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        failed |= _show(fuzz_gateway(Path(folder), seconds / 3), 60.0)
    return int(failed)


def _show(report: Report, most_mib: float) -> bool:
    """Whether it failed."""
    print(f"{report.counts}; memory {report.growth_mib:+.1f} MiB; {len(report.defects)} defects", flush=True)
    for defect in report.defects:
        print(defect, flush=True)
    return bool(report.defects) or report.growth_mib > most_mib


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
