from active_call.sip.hop import Hop
from active_call.testing.fakenet import FakeNet

A, B = Hop("a", 1), Hop("b", 2)


class Node:
    """Notes what arrives; sends one datagram each time its timer fires."""

    def __init__(self, every: float | None = None) -> None:
        self.every = every
        self.deadline = every
        self.received: list[tuple[float, bytes]] = []
        self.queued: list[tuple[bytes, Hop]] = []
        self.count = 0

    def receive_datagram(self, data: bytes, source: Hop, now: float) -> None:
        self.received.append((round(now, 6), data))

    def datagrams_to_send(self) -> list[tuple[bytes, Hop]]:
        datagrams, self.queued = self.queued, []
        return datagrams

    def next_deadline(self) -> float | None:
        return self.deadline

    def handle_timer(self, now: float) -> None:
        assert self.every is not None
        self.deadline = now + self.every
        self.count += 1
        self.queued.append((str(self.count).encode(), B))


def connected(net: FakeNet, every: float = 1.0) -> Node:
    receiver = Node()
    net.attach(A, Node(every))
    net.attach(B, receiver)
    return receiver


def test_what_goes_over_tcp_arrives_once_and_in_order() -> None:
    net = FakeNet(loss=0.9, duplicate=0.9, jitter=5.0)
    receiver = connected(net)
    for number in range(20):
        net.send(str(number).encode(), A, B._replace(transport="tcp"))
    net.run(0.5)
    assert [data for _, data in receiver.received] == [str(number).encode() for number in range(20)]


def test_time_passes_only_in_run() -> None:
    net = FakeNet(delay=0.25)
    receiver = connected(net)
    net.run(3.5)
    assert receiver.received == [(1.25, b"1"), (2.25, b"2"), (3.25, b"3")]
    assert net.now == 3.5


def test_running_stops_at_a_condition() -> None:
    net = FakeNet()
    receiver = connected(net)
    net.run(100.0, until=lambda: len(receiver.received) == 2)
    assert net.now < 3.0


def test_the_same_seed_loses_the_same() -> None:
    heard = []
    for _ in range(2):
        net = FakeNet(seed=5, loss=0.5)
        receiver = connected(net)
        net.run(100.0)
        heard.append(receiver.received)
    assert heard[0] == heard[1]
    assert 30 < len(heard[0]) < 70


def test_datagrams_are_repeated_and_reordered() -> None:
    net = FakeNet(duplicate=0.5, jitter=3.0)
    receiver = connected(net)
    net.run(100.0)
    numbers = [int(data) for _, data in receiver.received]
    assert len(numbers) > 120
    assert numbers != sorted(numbers)


def test_what_was_sent_is_noted_even_if_lost() -> None:
    net = FakeNet(loss=1.0)
    receiver = connected(net)
    net.run(2.5)
    assert [(one.time, one.destination, one.data) for one in net.sent] == [(1.0, B, b"1"), (2.0, B, b"2")]
    assert receiver.received == []


def test_nobody_needs_to_be_there() -> None:
    net = FakeNet()
    net.send(b"x", A, B)
    net.run(1.0)
