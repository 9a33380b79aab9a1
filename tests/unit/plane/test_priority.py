import os
import threading

import pytest

from active_call.plane.priority import leave_real_time


def scheduler_after(inherited: int) -> int | None:
    """Of a thread that began with a scheduler and left it; None if we may not use that scheduler."""
    found: list[int] = []

    def work() -> None:
        try:
            if inherited != os.SCHED_OTHER:
                os.sched_setscheduler(0, inherited, os.sched_param(1))
        except PermissionError:
            return
        leave_real_time()
        found.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0] if found else None


def test_ordinary_thread_stays_ordinary() -> None:
    assert scheduler_after(os.SCHED_OTHER) == os.SCHED_OTHER


def test_thread_of_a_real_time_process_becomes_ordinary() -> None:
    found = scheduler_after(os.SCHED_FIFO)
    if found is None:
        pytest.skip("no permission for real-time priority")
    assert found == os.SCHED_OTHER
