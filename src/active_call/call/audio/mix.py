"""Whom the peer of a lane hears, besides what is played to it."""

from active_call.media.lane import Lane


class Mix:
    """The other lanes that one lane's peer hears."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._heard: list[Lane] = []

    def __contains__(self, other: Lane) -> bool:
        return other in self._heard

    def add(self, other: Lane) -> None:
        """The peer hears what the peer of `other` says, from now on."""
        if other not in self._heard:
            self._set([*self._heard, other])

    def remove(self, other: Lane) -> None:
        """And now no more; harmless if it did not."""
        if other in self._heard:
            self._set([each for each in self._heard if each is not other])

    def clear(self) -> None:
        """The peer hears nobody else."""
        if self._heard:
            self._set([])

    def replace(self, other: Lane, by: Lane) -> None:
        """A party that is heard has got another lane."""
        if other in self._heard:
            self._set([by if each is other else each for each in self._heard])

    def move(self, lane: Lane) -> None:
        """The peer itself has got another lane."""
        self._lane = lane
        if self._heard:
            self._set(self._heard)

    def _set(self, heard: list[Lane]) -> None:
        self._heard = heard
        self._lane.mix_in(*heard)
