"""Coverage-guided fuzzing of one parser with atheris.

python -m tests.fuzz.guided sip|sdp SECONDS
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports():
    from tests.fuzz import targets
    from tests.fuzz.corpus import MESSAGES, OFFERS, torture


def main(arguments: list[str]) -> None:
    """Exits 0 after so many seconds, or with what atheris exits with at the first defect."""
    name, seconds = arguments
    throw, corpus = {
        "sip": (targets.sip, (*MESSAGES, *torture())),
        "sdp": (targets.sdp, OFFERS),
    }[name]
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, data in enumerate(corpus):
        (folder / str(number)).write_bytes(data)
    options = [f"-max_total_time={seconds}", "-max_len=8192", "-rss_limit_mb=2048", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder)], throw)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
