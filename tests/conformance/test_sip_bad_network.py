"""Two user agents on a bad network in virtual time: whatever both do, each call ends by the rules.

`make soak` plays 10,000 of them.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from active_call.core.errors import LocalProtocolError
from active_call.sip.dialogs.usage import Usage, UsageState
from active_call.sip.events import Answered, OfferReceived, ReferReceived, SipEvent
from active_call.sip.messages.auth import Credentials
from tests.unit.sip.support import ALICE, ANSWER, BOB, OFFER, Agent, Pair, call_of

SEEDS = int(os.environ.get("SIP_SEEDS", "200"))
LOSS, DUPLICATES, JITTER = 0.05, 0.05, 0.4
"""With 10 ms of delay and up to 400 ms of jitter about half of all datagrams overtake each other."""


class Story:
    """What both ends of one call do, at random times."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pair = Pair(loss=LOSS, duplicate=DUPLICATES, jitter=JITTER, seed=seed)
        self.heard: dict[Usage, int] = {}
        self.out = self.pair.call(
            credentials=Credentials("u", "p"), ring_timeout=self.random.choice([None, 0.3, 60.0])
        )

    def run(self) -> None:
        """Twelve steps, then both hang up."""
        for _ in range(12):
            self.wait(self.random.choice([0.01, 0.2, 1.0, 8.0]))
            self.act(self.random.choice([*self.pair.bob.incoming, self.out]))
        for usage in (self.out, *self.pair.bob.incoming):
            usage.hangup(self.pair.net.now)
        self.wait(200.0)

    def wait(self, seconds: float) -> None:
        """Let time pass; owners answer offers at once."""
        end = self.pair.net.now + seconds
        while self.pair.net.now < end:
            self.pair.net.run(min(0.1, end - self.pair.net.now))
            for agent in (self.pair.alice, self.pair.bob):
                self.attend(agent)

    def attend(self, agent: Agent) -> None:
        for usage in {owner for owner, _ in agent.events}:
            events = agent.events_of(usage)
            for event in events[self.heard.get(usage, 0) :]:
                self.react(usage, event)
            self.heard[usage] = len(events)

    def react(self, usage: Usage, event: SipEvent) -> None:
        now = self.pair.net.now
        if isinstance(event, OfferReceived):
            refuse = self.random.random() < 0.2
            usage.remote_offer.answer(ANSWER, 488 if refuse else 200, "", now)
        elif isinstance(event, ReferReceived):
            usage.transfer_asked.notify(self.random.choice([200, 486]), "", now, final=True)

    def refer(self, usage: Usage) -> None:
        with suppress(LocalProtocolError):  # one at a time
            usage.transfer.send("sip:carol@x", None, (), self.pair.net.now)

    def act(self, usage: Usage) -> None:
        """One random command of the usage's owner; many come at the wrong time."""
        now, call = self.pair.net.now, call_of(usage)
        call._clock = lambda: now
        actions: list[Callable[[], None]] = [
            lambda: call.offer(OFFER),
            lambda: call.message(b"hello", "text/plain"),
            lambda: call.info("application/dtmf-relay", b"Signal=1"),
            lambda: self.refer(usage),
            lambda: call.notify_refer(180, "Ringing", final=False),
        ]
        if usage.inbound:
            actions += [call.ring, lambda: call.progress(ANSWER)]
            actions += [lambda: call.accept(ANSWER)] * 4
            actions += [lambda: call.reject(486, "")] * (self.random.random() < 0.2)
        if self.random.random() < 0.1:
            actions = [call.hangup]
        self.random.choice(actions)()


@pytest.mark.parametrize("block", range(0, SEEDS, 50))
def test_every_call_ends_and_nothing_stays_behind(block: int) -> None:
    answered = 0
    for seed in range(block, min(block + 50, SEEDS)):
        story = Story(seed)
        story.run()
        alice, bob = story.pair.alice, story.pair.bob
        assert len(bob.incoming) <= 1, seed
        for agent, usages in ((alice, [story.out]), (bob, bob.incoming)):
            for usage in usages:
                kinds = agent.kinds_of(usage)
                assert usage.state is UsageState.ENDED, seed
                assert kinds.count("Ended") == 1, seed
                assert kinds[-1] == "Ended", seed
            assert agent.stack.transactions == 0, seed
            assert agent.dialogs == {}, seed
            assert agent.next_deadline() is None, seed
        answered += any(isinstance(event, Answered) for event in alice.events_of(story.out))
    assert answered, "the stories should not all end before the answer"


def test_half_of_the_datagrams_are_out_of_order() -> None:
    pair = Pair(jitter=JITTER)
    arrivals: list[int] = []

    class Sink(Agent):
        def receive_datagram(self, data: bytes, source: object, now: float) -> None:
            arrivals.append(int(data))

    pair.net.attach(BOB, Sink(BOB))
    for number in range(1000):
        pair.net.send(str(number).encode(), ALICE, BOB)
        pair.net.run(0.02)
    pair.net.run(1.0)
    overtaken = sum(one < max(arrivals[:at], default=-1) for at, one in enumerate(arrivals))
    assert overtaken > 400
