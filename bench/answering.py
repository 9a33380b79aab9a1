"""A gateway whose calls nobody leads: they are answered, and that is all.

python -m bench.answering --conf FILE
"""

import sys
from typing import Any

from active_call.call.gateway import Gateway
from active_call.call.services import Announce, Lead
from active_call.cli.main import main
from active_call.wire.dialogue import CallPort
from active_call.wire.events import Event
from active_call.wire.options import CallOption


class Silent:
    """Says nothing, and listens to nothing."""

    async def run(self, call: CallPort) -> None:
        """Nothing."""

    def receive(self, event: Event) -> None:
        """Nothing."""


def _answer(_gateway: Gateway, _caller: str, _callee: str, _variables: dict[str, Any]) -> Lead | Announce:
    return Lead(Silent(), CallOption())


if __name__ == "__main__":
    Gateway._route = _answer  # type: ignore[assignment,method-assign]
    sys.exit(main())
