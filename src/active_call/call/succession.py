"""Another peer takes the place of the present one; the call goes on with it.

The former peer is hung up on. What was being played ends; hearing, recording and effects go on with the new
one.
"""

from typing import TYPE_CHECKING

from active_call.call.leg import SipLeg
from active_call.call.state import CallState
from active_call.lanes.messages import RecordingClosed
from active_call.sip.agent import SipCall
from active_call.sip.dialogs.usage import UsageState

if TYPE_CHECKING:
    from active_call.call.call import Call


def take_place(call: "Call", replaced: SipCall, leg: SipLeg) -> bool:
    """Somebody calls to take the place (RFC 3891) of peer or transferred party: of the dialog `replaced`.

    False if neither's is, the call is not answered, or the new caller has given up.
    """
    if call.state is not CallState.TALKING or leg.sip.state is UsageState.ENDED:
        return False
    if not isinstance(call.leg, SipLeg) or call.leg.sip is not replaced:
        return call.transfer.replace(replaced, leg)
    go_on_with(call, leg, accept=True)
    return True


def go_on_with(call: "Call", leg: SipLeg, *, accept: bool = False) -> None:
    """From now on `leg`, which is answered or to be accepted, is the peer."""
    former = call.leg
    assert isinstance(former, SipLeg)
    former.sip.listener = lambda event: None
    call.forget_dialog()
    if accept:
        leg.accept(call.on_sip)
    former.lane.listener = lambda event: call.on_lane(event) if isinstance(event, RecordingClosed) else None
    call.take_leg(leg)
    leg.sip.listener = call.on_sip
    call.move_ears()
    call.transfer.caller_moved(former.lane, leg.lane)
    call.bridge.moved(former.lane, leg.lane)
    former.hang_up({})
    former.lane.stop_recording()
    former.lane.close()
