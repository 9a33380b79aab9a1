"""Telling a gateway something by REST."""

import json
import urllib.request
from typing import Any

from active_call.testing.process import GatewayProcess


def post(gateway: GatewayProcess, path: str, body: dict[str, Any] | None = None) -> Any:
    """POST JSON, and the JSON of the answer. Raises OSError for a failure."""
    request = urllib.request.Request(
        gateway.http_url + path,
        json.dumps(body).encode() if body is not None else b"",
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read())
