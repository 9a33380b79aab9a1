import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from active_call.call.webhook import Webhook, WebhookError, webhook_body
from active_call.config import WebhookHandler
from active_call.outbound import FetchError, Origin, Outbound
from active_call.sip.agent import SipCall
from active_call.testing.clock import run
from tests.unit.call.fakes import OFFER, NotingSip

HANGS = -1
BODY = {"event": "invite", "callee": "sip:bob@pbx.example"}


class Services(Outbound):
    """Answers by URL: a status, HANGS, or what is raised."""

    def __init__(self, answers: Mapping[str, int | FetchError]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []
        self.request: dict[str, Any] = {}

    async def post_json(
        self,
        url: str,
        body: Any,
        origin: Origin,
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
        timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> int:
        self.asked.append(url)
        self.request = {"body": body, "origin": origin, "headers": headers, "method": method}
        answer = self.answers[url]
        if isinstance(answer, FetchError):
            raise answer
        if answer == HANGS:
            assert timeout is not None
            await asyncio.sleep(timeout)
            raise FetchError(f"{url}: no answer within {timeout:g} s")
        return answer


def handler(*urls: str, **more: Any) -> WebhookHandler:
    return WebhookHandler.model_validate({"type": "webhook", "urls": list(urls), **more})


async def announce(webhook: Webhook, times: int = 1) -> float:
    """The seconds it took."""
    for _ in range(times):
        await webhook.announce(BODY)
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_2xx_is_success(status: int) -> None:
    services = Services({"http://a/": status})
    run(announce(Webhook(handler("http://a/", method="put", headers={"X-Test": "1"}), services)))
    assert services.request == {
        "body": BODY,
        "origin": Origin.OPERATOR,
        "headers": {"X-Test": "1"},
        "method": "PUT",
    }


@pytest.mark.parametrize("status", [199, 302, 404, 500])
def test_any_other_status_is_a_failure_that_names_it(status: int) -> None:
    webhook = Webhook(handler("http://user:pass@a/?token=t"), Services({"http://user:pass@a/?token=t": status}))
    with pytest.raises(WebhookError) as error:
        run(announce(webhook))
    assert str(error.value) == f"webhook http://user:**********@a/?token=********** answered {status}"


def test_targets_take_turns() -> None:
    services = Services({"http://a/": 200, "http://b/": 200})
    run(announce(Webhook(handler("http://a/", "http://b/"), services), times=3))
    assert services.asked == ["http://a/", "http://b/", "http://a/"]


def test_the_next_target_stands_in_for_one_that_fails() -> None:
    services = Services({"http://a/": FetchError("http://a/: connection refused"), "http://b/": 200})
    run(announce(Webhook(handler("http://a/", "http://b/"), services)))
    assert services.asked == ["http://a/", "http://b/"]


def test_a_target_that_hangs_leaves_time_for_the_others() -> None:
    services = Services({"http://a/": HANGS, "http://b/": 200})
    assert run(announce(Webhook(handler("http://a/", "http://b/"), services))) == 2.5


def test_all_targets_have_five_seconds_together() -> None:
    urls = [f"http://{index}/" for index in range(9)]
    services = Services(dict.fromkeys(urls, HANGS))

    async def scenario() -> float:
        with pytest.raises(WebhookError, match="no answer within 1 s"):
            await announce(Webhook(handler(*urls), services))
        return asyncio.get_running_loop().time()

    assert run(scenario()) == 5.0
    assert len(services.asked) == 5


def test_the_body_has_the_fields_of_both_kinds_of_clients() -> None:
    body = webhook_body(cast("SipCall", NotingSip()), created_at="2023-11-14T22:13:20.000Z")
    assert body == {
        "event": "invite",
        "dialogId": "dialog-1",
        "createdAt": "2023-11-14T22:13:20.000Z",
        "caller": "sip:alice@example.com",
        "callee": "sip:bot@example.com",
        "headers": ["X-Account: 7"],
        "offer": OFFER.decode(),
        "call_id": "dialog-1",
        "from_tag": "from",
        "to_tag": "to",
    }
