"""The priority of the threads beside the tick."""

import os
import threading
from contextlib import suppress


def leave_real_time() -> None:
    """A thread inherits the real-time priority of the tick, and would then compute beside it as an equal.

    It stays ahead of ordinary processes, though: whoever holds the interpreter lock must not be kept waiting.
    """
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
