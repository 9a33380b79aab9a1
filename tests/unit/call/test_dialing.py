from typing import cast

from active_call.call.dialing import plan_call
from active_call.sip.agent import Credentials, SipAgent
from active_call.wire.options import CallOption, SipOption


class FakeAgent:
    def advertised_host(self, peer: str) -> str:
        return f"to-{peer}"


def test_a_plan_has_what_the_option_says() -> None:
    sip = SipOption.model_validate({"username": "u", "password": "p", "realm": "r", "headers": {"X-A": "1"}})
    plan = plan_call(CallOption(callee="sip:bob@pbx", sip=sip), cast("SipAgent", FakeAgent()), ())
    assert plan.target == "sip:bob@pbx"
    assert plan.caller == "sip:u@r"
    assert plan.address == "to-pbx"
    assert plan.credentials == Credentials("u", "p", "r")
    assert plan.headers == {"X-A": "1"}
