from active_call.sip.dialogs.redirect import MAX_REDIRECTS, Targets, contacts_of
from active_call.sip.messages.message import Headers, Response
from active_call.sip.messages.uri import SipUri


def moved(*contacts: str) -> Response:
    return Response(302, "", Headers(("Contact", value) for value in contacts))


def test_contacts_by_quality() -> None:
    found = contacts_of(moved("<sip:a@x>;q=0.2, <sip:b@x>;q=0.9", "<sips:c@x>", "sip:d@x;q=.5"))
    assert [str(uri) for uri in found] == ["sips:c@x", "sip:b@x", "sip:d@x", "sip:a@x"]


def test_what_can_not_be_called_is_left_out() -> None:
    found = contacts_of(moved("<tel:1>", "<mailto:a@b>", "<sip:a@x?Subject=1>", "*", "<sip:b@x>;q=high"))
    assert [str(uri) for uri in found] == ["sip:b@x"]
    assert contacts_of(moved('"<sip:b@x>')) == []


def test_nothing_less_than_tls_for_who_has_asked_for_it() -> None:
    targets = Targets(SipUri.parse("sips:first@x"))
    targets.redirected(moved("<sip:a@x>, <sip:b@x;transport=tls>, <sips:c@x>"))
    assert [str(targets.next()) for _ in range(2)] == ["sips:c@x", "None"]


def test_each_target_is_tried_once() -> None:
    targets = Targets(SipUri.parse("sip:first@x"))
    targets.redirected(moved("<sip:a@x>, <sip:FIRST@x>, <sip:b@x>"))
    assert str(targets.next()) == "sip:a@x"
    targets.redirected(moved("<sip:a@x>, <sip:c@x>, <sip:b@x>"))
    assert [str(targets.next()) for _ in range(3)] == ["sip:c@x", "sip:b@x", "None"]
    targets.redirected(moved("<sip:a@x>"))
    assert (targets.next(), targets.why_not) == (None, "only to where it was tried already")
    targets.redirected(moved("<tel:1>"))
    assert (targets.next(), targets.why_not) == (None, "its Contact names nobody we can call")


def test_there_is_an_end_to_redirections() -> None:
    targets = Targets(SipUri.parse("sip:0@x"))
    tried = 0
    for number in range(100):
        targets.redirected(moved(f"<sip:{number + 1}@x>"))
        tried += targets.next() is not None
    assert tried == MAX_REDIRECTS
    assert targets.why_not == "5 further targets were tried already"
