"""A fixture: whatever a test did, in the end nothing of it stays behind in any stack."""

from collections.abc import Iterator

import pytest

from tests.unit.sip.support import Agent

LONG = 400.0
"""Seconds after which every wait of the protocol is over."""


@pytest.fixture(autouse=True)
def nothing_stays_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hang up what is left of each agent's calls, let time pass, and look for what remains."""
    agents: list[Agent] = []
    make = Agent.__init__

    def remember(self: Agent, *args: object, **options: object) -> None:
        make(self, *args, **options)  # type: ignore[arg-type]
        agents.append(self)

    monkeypatch.setattr(Agent, "__init__", remember)
    yield
    for agent in agents:
        agent.wind_up(LONG)
        assert agent.stack.transactions == 0
        assert agent.dialogs == {}
        assert agent.next_deadline() is None


__all__ = ["nothing_stays_behind"]
