import itertools

import pytest

from active_call.sip.dialogs.offers import REFUSALS, TABLE, Offers, Open, Step

ALLOWED = {
    (Open.NOBODY, Step.OFFER_SENT): Open.OURS,
    (Open.NOBODY, Step.OFFER_RECEIVED): Open.THEIRS,
    (Open.OURS, Step.ANSWER_RECEIVED): Open.NOBODY,
    (Open.OURS, Step.REFUSED): Open.NOBODY,
    (Open.THEIRS, Step.ANSWER_SENT): Open.NOBODY,
    (Open.THEIRS, Step.REFUSED): Open.NOBODY,
}
"""RFC 3264 §4: an offer, then its answer or refusal, before the next offer of either side."""


@pytest.mark.parametrize(("open_", "step"), list(itertools.product(Open, Step)))
def test_every_pair(open_: Open, step: Step) -> None:
    offers = Offers(open_)
    following = ALLOWED.get((open_, step))
    assert offers.may(step) is (following is not None)
    assert offers.take(step) is (following is not None)
    assert offers.open is (following or open_)


def test_the_table_has_nothing_else() -> None:
    assert set(TABLE) == set(ALLOWED)


def test_a_second_offer_is_told_whose_is_open() -> None:
    assert REFUSALS == {Open.OURS: 491, Open.THEIRS: 500}
