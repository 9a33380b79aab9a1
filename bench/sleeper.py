"""Sleeps for 20 ms at a time, SECONDS long, and prints how late it was woken: `python sleeper.py SECONDS`."""

import json
import sys
import time

TICK_NS = 20_000_000


def main(seconds: float) -> None:
    """Print {"over_20_ms": count, "worst_ms": milliseconds}."""
    stalls, worst = 0, 0
    deadline = time.monotonic_ns()
    end = deadline + int(seconds * 1e9)
    while deadline < end:
        deadline += TICK_NS
        wait = deadline - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait / 1e9)
        late = time.monotonic_ns() - deadline
        stalls += late > TICK_NS
        worst = max(worst, late)
        if late > TICK_NS:
            deadline += late // TICK_NS * TICK_NS
    print(json.dumps({"over_20_ms": stalls, "worst_ms": worst / 1e6}))


if __name__ == "__main__":
    main(float(sys.argv[1]))
