"""The REST interface is what /openapi.json says, for requests that fit it and requests that don't."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks as openapi_checks

from active_call.api.app import create_app
from tests.unit.api.fakes import FakeCall, FakeCalls, FakeGateway, config_in

LIVE = "live"

MORE_THAN_A_SCHEMA_SAYS: list[Any] = [
    openapi_checks.positive_data_acceptance,  # a callee must be there, a file name end in .md
    openapi_checks.negative_data_rejection,  # 0 and "no" are read as false, "5" as 5
]


class SomeCalls(dict[str, FakeCall]):
    """Every second id is a live call."""

    def get(self, key: str, default: object = None) -> FakeCall | None:  # type: ignore[override]
        return FakeCall(key, "sip") if len(key) % 2 == 0 else None


schema = schemathesis.openapi.from_asgi(
    "/openapi.json",
    create_app(FakeGateway(FakeCalls(SomeCalls({LIVE: FakeCall(LIVE)}))), config_in(Path("none"))),
    config=schemathesis.Config.from_dict({"generation": {"database": "none"}}),
).exclude(path="/events/{id}")  # of a live call it never ends


@pytest.fixture(scope="module", autouse=True)
def empty_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("rest"))
    yield
    os.chdir(before)


bounded = settings(
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@schema.exclude(path="/command/{id}").parametrize()  # generating commands takes seconds
@settings(bounded, max_examples=8)
def test_answers_are_as_described(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(excluded_checks=MORE_THAN_A_SCHEMA_SAYS)


@pytest.mark.long
@schema.parametrize()
@settings(bounded, max_examples=200)
def test_many_answers_are_as_described(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(excluded_checks=MORE_THAN_A_SCHEMA_SAYS)
