"""The pool's decisions, without sockets: who gets a slot or a connection, who gives way, and that all comes back."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brummer.core.errors import TransportError
from brummer.pool.connections import Connections, Purpose, borrowed
from brummer.pool.fair_queue import FairQueue
from brummer.pool.pool import QUEUED_PER_CONNECTION, Busy, Pool
from brummer.settings.limits import Limits
from brummer.testing.virtual_time import START_S, Stuck, VirtualLoop

from .fake_dialler import FakeDialler, User, settle
from .virtual_world import in_virtual_time

LIMIT = 8


class Peer:
    """A peer of the pool."""

    def __init__(self, pool: Pool, name: str = "web") -> None:
        self.dialler = FakeDialler()
        self.closed = 0
        self.connections = Connections(pool, name, self.dialler, self._on_closed)

    def _on_closed(self) -> None:
        self.closed += 1

    def user(self, purpose: Purpose = Purpose.CALL) -> User:
        """One that waits for a connection, or has it."""
        user = User(self.connections, purpose)
        user.acquire()
        return user

    async def served(self, count: int, purpose: Purpose = Purpose.CALL) -> list[User]:
        users = [self.user(purpose) for _ in range(count)]
        await self.dialler.answer()
        assert all(len(user.connections) == 1 for user in users)
        return users


# Slots.


def test_flows_take_turns_whatever_each_has_queued() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(10):
        queue.add("flood", f"flood-{number}")
    queue.add("other", "other-0")
    assert [queue.pop() for _ in range(4)] == ["flood-0", "other-0", "flood-1", "flood-2"]
    queue.remove("flood", "flood-3")
    assert (queue.pop(), queue.size) == ("flood-4", 5)


async def test_slots_of_all_go_to_peers_in_turn_and_a_peers_own_to_its_own_queue() -> None:
    pool = Pool(Limits(in_flight=2, in_flight_per_instance=2))
    peers = {name: Peer(pool, name) for name in "abc"}
    running = [User(peers["a"].connections) for _ in range(2)]
    assert all(user.lease.acquire_slot() for user in running)
    waiting = [(name, User(peers[name].connections)) for name in "aaabc"]
    assert not any(user.lease.acquire_slot() for _, user in waiting)
    came: list[str] = []
    for _ in range(5):
        running.pop(0).lease.end()
        (admitted,) = [(name, user) for name, user in waiting if user.slots and user not in running]
        waiting.remove(admitted)
        came.append(admitted[0])
        running.append(admitted[1])
    assert sorted(came[:3]) == ["a", "b", "c"]
    assert came[3:] == ["a", "a"]


async def test_a_slot_whose_waiter_has_ended_goes_to_the_next() -> None:
    pool = Pool(Limits(in_flight_per_instance=1))
    peer = Peer(pool)
    first, ended, patient = (User(peer.connections, flow=flow) for flow in ("a", "a", "b"))
    assert first.lease.acquire_slot()
    assert not any(user.lease.acquire_slot() for user in (ended, patient))
    ended.lease.end()
    first.lease.end()
    assert (ended.slots, patient.slots) == (0, 1)
    patient.lease.end()
    assert (pool.in_flight, pool.queued) == (0, 0)


class Slots(RuleBasedStateMachine):
    """Whatever happens, slots and queues add up, and no call is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pool = Pool(Limits(in_flight=5, in_flight_per_instance=3, queued_per_instance=4))
        self.peers = self.loop.run_until_complete(self._peers())
        self.users: list[tuple[int, User]] = []

    async def _peers(self) -> list[Peer]:
        return [Peer(self.pool, name) for name in "abc"]

    def teardown(self) -> None:
        self.loop.close()

    @rule(peer=st.integers(0, 2), flow=st.integers(0, 2))
    def arrive(self, peer: int, flow: int) -> None:
        user = User(self.peers[peer].connections, flow=flow)
        try:
            user.lease.acquire_slot()
        except Busy:
            assert self.peers[peer].connections.queued == 4
        else:
            self.users.append((peer, user))

    @rule(index=st.integers(0, 20))
    def end(self, index: int) -> None:
        if index < len(self.users):
            _, user = self.users.pop(index)
            user.lease.end()
            user.lease.end()

    @invariant()
    def numbers_add_up(self) -> None:
        running = Counter(peer for peer, user in self.users if user.lease.has_slot)
        waiting = Counter(peer for peer, user in self.users if not user.lease.has_slot)
        assert self.pool.in_flight == running.total() <= 5
        assert self.pool.queued == waiting.total()
        assert all(running[peer] <= 3 for peer in running)
        for number, peer in enumerate(self.peers):
            assert peer.connections.queued == waiting[number] <= 4
            if waiting[number] and self.pool.in_flight < 5:
                assert running[number] == 3


TestSlots = Slots.TestCase


# Connections.


async def test_a_free_connection_is_used_again_and_others_are_dialled_at_once() -> None:
    peer = Peer(Pool(Limits(connections=LIMIT)))
    first, second = await peer.served(2)
    first.lease.release()
    third = peer.user()
    assert third.connections == first.connections
    assert peer.connections.dials == 2
    for user in (second, third):
        user.lease.release()
    assert (len(peer.connections.idle), len(peer.connections.busy)) == (2, 0)


async def test_a_dial_that_is_not_needed_any_more_serves_the_next_waiter_of_any_purpose() -> None:
    peer = Peer(Pool(Limits(connections=LIMIT)))
    oldest, first = await peer.served(2)
    second = peer.user(Purpose.CALL)
    first.lease.release()
    assert second.connections == first.connections
    third = peer.user(Purpose.WAIT)
    assert peer.connections.dials == 3
    await peer.dialler.answer()
    assert (len(third.connections), peer.connections.size) == (1, 3)
    assert oldest.connections != third.connections


async def test_a_waiter_whose_dial_was_for_another_purpose_gets_its_own_if_that_fails() -> None:
    peer = Peer(Pool(Limits(connections=LIMIT)))
    _, first = await peer.served(2)
    peer.user(Purpose.CALL)
    first.lease.release()
    third = peer.user(Purpose.WAIT)
    await peer.dialler.refuse()
    assert peer.connections.dials == 4
    await peer.dialler.answer()
    assert len(third.connections) == 1


async def test_a_wait_leaves_the_oldest_connection_to_quick_calls() -> None:
    peer = Peer(Pool(Limits(connections=LIMIT)))
    (first,) = await peer.served(1)
    first.lease.release()
    wait = peer.user(Purpose.WAIT)
    assert (wait.connections, peer.connections.dials) == ([], 2)
    await peer.dialler.answer()
    assert wait.connections not in ([], first.connections)


async def test_a_wait_takes_the_oldest_connection_if_no_other_can_be_dialled() -> None:
    peer = Peer(Pool(Limits(connections=LIMIT)))
    (first,) = await peer.served(1)
    first.lease.release()
    wait = peer.user(Purpose.WAIT)
    await peer.dialler.refuse()
    assert len(wait.errors) == 1
    assert wait.acquire()
    assert wait.connections == first.connections


async def test_calls_leave_a_reserve_for_what_the_hub_wants_for_itself() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)
    await peer.served(LIMIT - 1)
    one_more = peer.user()
    own = peer.connections.dial(lambda: None)
    await peer.dialler.answer()
    assert own.is_over
    assert pool.connections == LIMIT
    own.result().close()
    await settle()
    assert one_more.connections == []


async def test_a_dial_of_the_hubs_own_that_has_to_wait_for_another_one_closes_no_connection_of_calls() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)
    (user,) = await peer.served(1)
    user.lease.release()
    own = [peer.connections.dial(lambda: None) for _ in range(LIMIT // 4 + 1)]
    assert [dial.has_begun for dial in own] == [True, True, False]
    assert (len(peer.connections.idle), pool.evicted) == (1, 0)
    await own[0].end()
    await settle()
    assert own[2].has_begun
    for dial in own:
        await dial.end()


async def test_calls_that_wait_for_an_event_take_half_of_all_at_the_most() -> None:
    peer = Peer(Pool(Limits(connections=LIMIT, waiting_per_instance=LIMIT)))
    (oldest,) = await peer.served(1)
    oldest.lease.release()
    waits = await peer.served(LIMIT // 2, Purpose.WAIT)
    one_more = peer.user(Purpose.WAIT)
    calls = await peer.served(2)
    calls[-1].lease.release()  # an idle one is of no use to it
    assert one_more.connections == []
    waits[0].lease.release()
    assert len(one_more.connections) == 1


async def test_the_connection_that_has_been_idle_longest_makes_room() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer, other = Peer(pool), Peer(pool, "other")
    users = await peer.served(LIMIT - 1)
    for user in users[:3]:
        user.lease.release()
    await other.served(1)
    assert [connection.closed for connection in peer.dialler.opened[:3]] == [True, False, False]
    assert pool.evicted == 1
    assert not peer.connections.are_lost


async def test_the_last_connection_that_is_closed_for_others_is_no_loss_until_one_fails() -> None:
    pool = Pool(Limits(connections=2))
    peer, other = Peer(pool), Peer(pool, "other")
    (user,) = await peer.served(1)
    user.lease.release()
    await other.served(1)
    assert (peer.connections.size, peer.connections.are_lost, peer.closed) == (0, False, 1)
    peer.connections.distrust()
    assert peer.connections.are_lost


async def test_waiters_are_served_in_their_order_over_all_peers_and_the_hub_itself_first() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer, other = Peer(pool), Peer(pool, "other")
    users = await peer.served(LIMIT - 1)
    own = [other.connections.dial(lambda: None) for _ in range(2)]
    waiting = [each.user() for each in (other, peer, other, peer)]
    await settle()
    assert [dial.has_begun for dial in own] == [True, False]
    users[0].lease.release()  # its connection is closed for the hub's own dial
    assert own[1].has_begun
    users[1].lease.release()
    users[2].lease.release()
    await other.dialler.answer()
    await peer.dialler.answer()
    assert [len(user.connections) for user in waiting] == [1, 1, 0, 0]
    for dial in own:
        await dial.end()
    for each in (peer, other):
        each.connections.close()
    await settle()


async def test_a_queue_that_is_full_refuses_at_once_and_never_the_hub_itself() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)
    await peer.served(LIMIT - 1)
    queue = [peer.user() for _ in range(LIMIT * QUEUED_PER_CONNECTION)]
    with pytest.raises(Busy) as caught:
        peer.user()
    assert caught.value.context == {"connections": LIMIT - 1, "queued": len(queue)}
    assert caught.value.retry_after_s
    assert pool.is_full
    own = peer.connections.dial(lambda: None)
    assert own.has_begun
    await own.end()
    for user in queue:
        user.lease.end()
    assert not pool.wanted


async def test_a_waiter_that_has_ended_leaves_its_connection_to_the_next() -> None:
    pool = Pool(Limits(connections=2))
    peer = Peer(pool)
    (user,) = await peer.served(1)
    first, second = peer.user(), peer.user()
    first.lease.end()
    user.lease.release()
    assert (len(first.connections), len(second.connections)) == (0, 1)
    second.lease.end()
    assert (pool.in_use, pool.wanted) == ([0] * len(Purpose), False)


async def test_a_dial_that_fails_is_reported_to_one_waiter_and_the_next_is_dialled_for() -> None:
    pool = Pool(Limits(connections=2))
    peer = Peer(pool)
    first, second = peer.user(), peer.user()
    await peer.dialler.refuse()
    assert [type(error) for error in first.errors] == [TransportError]
    assert second.errors == []
    await peer.dialler.answer()
    assert len(second.connections) == 1
    assert pool.connections == 1


async def test_closing_ends_dials_and_tells_waiters_to_ask_again() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)
    await peer.served(2)
    waiting = peer.user()
    await settle()
    peer.connections.close()
    await settle()
    assert waiting.errors == [None]
    assert (pool.connections, peer.connections.size, peer.connections.are_lost) == (0, 0, True)


async def test_a_connection_that_was_dialled_before_the_closing_is_closed() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)
    peer.user()
    await settle()
    peer.dialler.dials[0].set_result(None)  # type: ignore[arg-type]
    while not peer.dialler.opened:
        await asyncio.sleep(0)
    peer.connections.close()  # before the pool hears of it
    await settle()
    assert peer.dialler.opened[0].closed
    assert pool.connections == 0


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_dial_of_the_hubs_own_that_is_dropped_leaves_no_connection(*, is_late: bool) -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)
    dial = peer.connections.dial(lambda: None)
    if is_late:
        await peer.dialler.answer()
        assert pool.connections == 1
    dial.drop()
    await settle()
    assert pool.connections == 0
    assert all(connection.closed for connection in peer.dialler.opened)


async def test_a_borrowed_connection_is_an_idle_one_or_a_new_one_and_comes_back() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)

    async def borrow() -> None:
        async with borrowed(peer.connections):
            assert len(peer.connections.busy) == 1

    borrowing = asyncio.create_task(borrow())
    await peer.dialler.answer()
    await borrowing
    await borrow()
    assert (peer.connections.dials, len(peer.connections.idle), len(peer.connections.busy)) == (1, 1, 0)


async def test_a_borrower_that_is_cancelled_while_it_gets_its_connection_keeps_none() -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)

    async def borrow() -> None:
        async with borrowed(peer.connections):
            raise AssertionError("it was cancelled")

    (user,) = await peer.served(1)
    await peer.served(LIMIT - 2)
    borrowing = asyncio.create_task(borrow())
    await settle()
    user.lease.release()
    borrowing.cancel()
    await peer.dialler.answer()
    await asyncio.wait([borrowing])
    assert len(peer.connections.busy) == LIMIT - 2


def test_idle_connections_beside_the_oldest_are_closed_after_a_while() -> None:
    async def story() -> None:
        peer = Peer(Pool(Limits(connections=LIMIT)))
        for user in await peer.served(3):
            user.lease.release()
        await asyncio.sleep(60)
        assert [connection.opened_at for connection in peer.connections.idle] == [0.0]

    in_virtual_time(story())


def test_a_wait_that_takes_the_last_spare_connection_leaves_no_timer_that_would_find_nothing() -> None:
    loop = VirtualLoop()

    async def story() -> None:
        peer = Peer(Pool(Limits(connections=LIMIT)))
        for user in await peer.served(2):
            user.lease.release()
        assert len(peer.user(Purpose.NEWS).connections) == 1
        await asyncio.Event().wait()

    task = loop.create_task(story())
    with pytest.raises(Stuck):
        loop.run_until_complete(task)
    assert loop.time() == START_S
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()


async def test_a_user_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool(Limits(connections=LIMIT))
    peer = Peer(pool)

    class Broken(User):
        def on_connection(self, connection: object) -> None:
            raise RuntimeError("a defect")

    broken, good = Broken(peer.connections), User(peer.connections)
    for user in (broken, good):
        user.acquire()
    await peer.dialler.answer()
    assert len(good.connections) == 1
    assert "a user of the pool failed" in caplog.text


class Books(RuleBasedStateMachine):
    """Whatever happens, connections add up, no limit is passed, and no waiter waits while one is idle for it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.pool = Pool(Limits(connections=6, waiting_per_instance=4))
        self.peers = self.loop.run_until_complete(self._peers())
        self.users: list[User] = []

    async def _peers(self) -> list[Peer]:
        return [Peer(self.pool, name) for name in "abc"]

    def teardown(self) -> None:
        async def end() -> None:
            for user in self.users:
                user.lease.end()
            for peer in self.peers:
                peer.connections.end()
            await settle()

        self.loop.run_until_complete(end())
        assert (self.pool.connections, self.pool.wanted, len(self.pool.peers)) == (0, 0, 0)
        self.loop.close()

    def ask(self, peer: int, purpose: Purpose) -> None:
        async def ask() -> None:
            user = User(self.peers[peer].connections, purpose)
            self.users.append(user)
            user.acquire()
            await settle()

        self.loop.run_until_complete(ask())

    @rule(index=st.integers(0, 30))
    def end(self, index: int) -> None:
        async def end() -> None:
            if index < len(self.users):
                self.users.pop(index).lease.end()
            await settle()

        self.loop.run_until_complete(end())

    @rule(peer=st.integers(0, 2), succeed=st.booleans())
    def finish_dials(self, peer: int, succeed: bool) -> None:  # noqa: FBT001
        dialler = self.peers[peer].dialler
        self.loop.run_until_complete(dialler.answer() if succeed else dialler.refuse())

    @rule(peer=st.integers(0, 2), index=st.integers(0, 6))
    def lose(self, peer: int, index: int) -> None:
        async def lose() -> None:
            opened = [each for each in self.peers[peer].dialler.opened if not each.closed]
            if index < len(opened):
                opened[index].close()
            await settle()

        self.loop.run_until_complete(lose())

    @rule(peer=st.integers(0, 2))
    def close(self, peer: int) -> None:
        async def close() -> None:
            self.peers[peer].connections.close()
            await settle()

        self.loop.run_until_complete(close())

    @invariant()
    def numbers_add_up(self) -> None:
        pool = self.pool
        opened = [each for peer in self.peers for each in peer.dialler.opened if not each.closed]
        dialling = sum(len(peer.dialler.dials) for peer in self.peers)
        assert pool.connections == len(opened) + dialling <= 6
        assert pool.idle == sum(len(peer.connections.idle) for peer in self.peers)
        waits, news = pool.in_use[Purpose.WAIT], pool.in_use[Purpose.NEWS]
        assert (waits <= pool.for_waits, news <= pool.for_waits, waits + news <= 6 * 3 // 4) == (True, True, True)
        if pool.wants(Purpose.OWN) or pool.wants(Purpose.CALL):
            busy = pool.in_use[Purpose.OWN] >= 6 // 4 if not pool.wants(Purpose.CALL) else True
            assert busy or pool.idle == 0


TestBooks = Books.TestCase
TestBooks.settings = settings(deadline=None)


@pytest.mark.parametrize("seed", range(200))
async def test_dials_do_not_go_on_for_ever(seed: int) -> None:
    """A pool under pressure could dial and evict without end, for one waiter that takes nothing it gets."""
    rng = random.Random(seed)
    pool = Pool(Limits(connections=rng.randint(2, LIMIT)))
    peers = [Peer(pool, name) for name in "ab"]
    users: list[User] = []
    came = closed = 0
    for _ in range(rng.randint(3, 30)):
        peer = rng.choice(peers)
        match rng.choice(("arrive", "arrive", "end", "close", "answer")):
            case "arrive":
                with contextlib.suppress(Busy):
                    users.append(peer.user(rng.choice(list(Purpose))))
                    came += 1
            case "end" if users:
                users.pop(rng.randrange(len(users))).lease.end()
            case "close" if peer.connections.all:
                rng.choice(peer.connections.all).close()
                closed += 1
            case "answer":
                await peer.dialler.answer(first=1)
    await settle()
    while dialling := [each for each in peers if each.dialler.dials]:
        await rng.choice(dialling).dialler.answer(first=1)
        assert sum(each.connections.dials for each in peers) <= 2 * came + closed
    for user in users:
        user.lease.end()
    for each in peers:
        await each.dialler.answer()
    assert (pool.wanted, pool.in_use) == (0, [0] * len(Purpose))


async def test_who_waits_for_news_leaves_connections_to_waits_and_both_leave_some_to_calls() -> None:
    """A person who watches twenty projects must not keep the agent's starts and stops waiting, nor the reverse."""
    pool = Pool(Limits(connections=16, waiting_per_instance=1))
    peers = [Peer(pool) for _ in range(20)]
    news = [peer.user(Purpose.NEWS) for peer in peers]
    waits = [peer.user(Purpose.WAIT) for peer in peers]
    for peer in peers:
        await peer.dialler.answer()
    assert (pool.in_use[Purpose.NEWS] + pool.in_use[Purpose.WAIT], pool.in_use[Purpose.WAIT]) == (12, 8)
    quick = peers[19].user(Purpose.CALL)
    await peers[19].dialler.answer()
    assert len(quick.connections) == 1
    for user in (*news, *waits, quick):
        user.lease.end()
    for peer in peers:
        peer.connections.end()
    await settle()
