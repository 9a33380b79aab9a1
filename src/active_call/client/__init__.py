"""The Python client: calls over WebSockets (`connect`), and the REST interface (`Rest`)."""

from active_call.client.errors import ClientError, ConnectionLost, Refused
from active_call.client.rest import Rest
from active_call.client.session import Session, connect

__all__ = ["ClientError", "ConnectionLost", "Refused", "Rest", "Session", "connect"]
