"""Commands and options as JSON that another machine is to read."""

import json
from typing import Any

from pydantic import SecretStr

from active_call.wire.commands import Command
from active_call.wire.model import Model


def to_json(command: Command) -> str:
    """The text of a command: only what was set, so that the gateway's own defaults hold for the rest.

    Secrets are in it: unlike `dump_json`, which is for records.
    """
    return json.dumps({"command": command.command, **given(command)}, ensure_ascii=False, default=_reveal)


def given(model: Model) -> dict[str, Any]:
    """The fields of a model that were set, in wire names; secrets revealed."""
    found = model.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    plain: dict[str, Any] = json.loads(json.dumps(found, default=_reveal))
    return plain


def _reveal(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    raise TypeError(f"{type(value).__name__} can't be sent as JSON")
