"""What the gateway gives to calls."""

import pytest

from active_call.call.gateway import Gateway
from active_call.config import Config


def test_a_playbook_written_by_a_client_does_not_see_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", "sk-123")
    gateway = Gateway(Config(), lanes=1)
    lead = gateway.lead_for_client('---\ntts: {speaker: "${HUSH}"}\n---\nHello', {})
    assert lead.option.tts is not None
    assert lead.option.tts.speaker == "${HUSH}"
