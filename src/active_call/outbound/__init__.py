"""What leaves this machine because somebody named a URL."""

from active_call.outbound.client import Outbound
from active_call.outbound.errors import FetchError, GuardError
from active_call.outbound.guard import Guard, Origin, OutboundPolicy

__all__ = ["FetchError", "Guard", "GuardError", "Origin", "Outbound", "OutboundPolicy"]
