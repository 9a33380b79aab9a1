"""What the payload types of each lane mean: as negotiated, whatever the peer sends next."""

import logging
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from active_call.core.errors import MediaError
from active_call.dsp.coders import LAWS, make_decoder
from active_call.lanes.messages import RtpFormat

_log = logging.getLogger(__name__)

Int64: TypeAlias = NDArray[np.int64]

UNKNOWN: Final = 0
EVENT: Final = 1
NOISE: Final = 2
CODES: Final = 3
"""G.711 of the lane's law. This and what follows is audio."""
OTHER_CODES: Final = 4
"""G.711 of the other law."""
PACKET: Final = 5
"""To be decoded by itself."""
_COMFORT_NOISE: Final = 13
"""Static (RFC 3551 §6), and sent by peers that never said so."""


class PayloadTypes:
    """A table of 128 payload types for each of `capacity` lanes."""

    def __init__(self, capacity: int) -> None:
        self._kinds = np.zeros((capacity, 128), np.uint8)
        self._formats: dict[int, dict[int, RtpFormat]] = {}

    def open(self, row: int) -> None:
        """A fresh lane knows none."""
        self._kinds[row] = UNKNOWN
        self._formats.pop(row, None)

    def configure(self, row: int, formats: tuple[RtpFormat, ...], law: int | None) -> None:
        """The peer may send `formats`. `law`: that of the lane's codes; None if all packets are decoded.

        What can't be decoded on this machine is told by log, and unknown.
        """
        kinds = self._kinds[row]
        kinds[:] = UNKNOWN
        kinds[_COMFORT_NOISE] = NOISE
        self._formats[row] = {}
        for form in reversed(formats):  # the first that is named counts
            kinds[form.payload_type] = _kind(form, law)
            self._formats[row][form.payload_type] = form

    def kinds(self, rows: Int64, payload_types: Int64) -> NDArray[np.uint8]:
        """What packets (n,) of `rows` (n,) are."""
        kinds: NDArray[np.uint8] = self._kinds[rows, payload_types]
        return kinds

    def form(self, row: int, payload_type: int) -> RtpFormat:
        """The format of a payload type that is known."""
        return self._formats[row][payload_type]

    def formats(self, row: int) -> tuple[RtpFormat, ...]:
        """All of the lane."""
        return tuple(self._formats.get(row, {}).values())


def _kind(form: RtpFormat, law: int | None) -> int:
    match form.codec:
        case "telephone-event":
            return EVENT
        case "cn":
            return NOISE
        case "pcmu" | "pcma" if law is not None:
            return CODES if LAWS[form.codec] == law else OTHER_CODES
    try:
        make_decoder(form)
    except MediaError as error:
        _log.error("%s; its packets are not heard", error)
        return UNKNOWN
    return PACKET
