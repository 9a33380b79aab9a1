from tests.unit.sip.leaks import nothing_stays_behind

__all__ = ["nothing_stays_behind"]
