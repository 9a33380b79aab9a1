import numpy as np
import pytest

from active_call.core.errors import MediaError
from active_call.dsp.g711 import A_LAW, MU_LAW
from active_call.lanes.messages import PCMA, PCMU, TELEPHONE_EVENT, RtpFormat
from active_call.plane import payloads
from active_call.plane.payloads import CODES, EVENT, NOISE, OTHER_CODES, PACKET, UNKNOWN, PayloadTypes

G722 = RtpFormat(9, "g722")


def kinds(types: PayloadTypes, *payload_types: int, row: int = 1) -> list[int]:
    found: list[int] = types.kinds(np.full(len(payload_types), row), np.array(payload_types)).tolist()
    return found


def test_a_fresh_lane_knows_nothing() -> None:
    types = PayloadTypes(2)
    types.configure(1, (PCMU,), MU_LAW)
    types.open(1)
    assert kinds(types, 0, 8, 13) == [UNKNOWN] * 3
    assert types.formats(1) == ()


def test_g711_is_of_the_lanes_law_or_of_the_other() -> None:
    types = PayloadTypes(2)
    types.configure(1, (PCMA, PCMU, RtpFormat(100, "pcma")), A_LAW)
    assert kinds(types, 0, 8, 100, 9) == [OTHER_CODES, CODES, CODES, UNKNOWN]
    assert kinds(types, 0, row=0) == [UNKNOWN]


def test_all_packets_are_decoded_where_there_is_no_law() -> None:
    types = PayloadTypes(2)
    types.configure(1, (G722, PCMU, TELEPHONE_EVENT), None)
    assert kinds(types, 9, 0, 101) == [PACKET, PACKET, EVENT]
    assert types.form(1, 9) == G722


def test_several_events_and_comfort_noise() -> None:
    types = PayloadTypes(2)
    events = (RtpFormat(96, "telephone-event", 16_000), RtpFormat(110, "telephone-event", 48_000))
    types.configure(1, (PCMU, *events, RtpFormat(98, "cn", 16_000)), MU_LAW)
    assert kinds(types, 96, 110, 98, 13, 126) == [EVENT, EVENT, NOISE, NOISE, UNKNOWN]


def test_13_can_be_something_else() -> None:
    types = PayloadTypes(2)
    types.configure(1, (PCMU, RtpFormat(13, "g722")), MU_LAW)
    assert kinds(types, 13) == [PACKET]


def test_what_can_not_be_decoded_here_is_told_and_unknown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(form: RtpFormat) -> None:
        raise MediaError(f"codec {form.codec} needs a library")

    monkeypatch.setattr(payloads, "make_decoder", missing)
    types = PayloadTypes(2)
    types.configure(1, (PCMU, RtpFormat(18, "g729")), MU_LAW)
    assert kinds(types, 0, 18) == [CODES, UNKNOWN]
    assert "codec g729 needs a library" in caplog.text
