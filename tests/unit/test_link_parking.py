"""Waiters for a link to become ready: they are called in order, or fail at once if waiting can't help."""

import pytest

from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.errors import COME_BACK_S, ParkedTooLong, RateLimited, Refused
from brummer.link.parking import Parking


class Waiter:
    """A `brummer.link.parking.Parked`, which notes what it is told."""

    def __init__(self, parking: Parking, name: str, told: list[str], *, waits_again: bool = False) -> None:
        self.call = Call("tools/call", {"name": name}, repeatable=False, deadline_s=5.0)
        self._parking = parking
        self._told = told
        self._waits_again = waits_again
        parking.add(self)

    def on_ready(self) -> None:
        self._told.append(self.call.tool)
        if self._waits_again:
            self._parking.add(self)

    def on_hopeless(self, error: BrummerError) -> None:
        self._told.append(f"{self.call.tool}: {error.message}")


def test_failing_wakes_the_calls_that_get_an_error_and_leaves_the_others_waiting() -> None:
    parking, told = Parking(), list[str]()
    for name in ("hopeless", "patient"):
        Waiter(parking, name, told)
    parking.fail(lambda call: ParkedTooLong("it is gone") if call.tool == "hopeless" else None)
    assert (told, len(parking)) == (["hopeless: it is gone"], 1)
    parking.release()
    assert (told[1:], len(parking)) == (["patient"], 0)


def test_released_calls_continue_in_the_order_of_their_arrival() -> None:
    parking, told = Parking(), list[str]()
    for name in "abc":
        Waiter(parking, name, told)
    parking.release()
    assert told == ["a", "b", "c"]


def test_a_waiter_that_another_one_has_removed_meanwhile_is_not_called() -> None:
    parking, told = Parking(), list[str]()

    class Removes(Waiter):
        def on_ready(self) -> None:
            super().on_ready()
            parking.remove(second)

        def on_hopeless(self, error: BrummerError) -> None:
            super().on_hopeless(error)
            parking.remove(second)

    Removes(parking, "first", told)
    second = Waiter(parking, "second", told)
    parking.release()
    Removes(parking, "third", told)
    parking.add(second)
    parking.fail(lambda _: ParkedTooLong("it is gone"))
    assert (told, len(parking)) == (["first", "third: it is gone"], 0)


@pytest.mark.parametrize(
    ("kind", "closed_s", "was_sent", "waits"),
    [
        (RateLimited, 5.0, False, True),  # the deadline
        (RateLimited, 5.001, False, False),
        (RateLimited, 5.001, True, True),
        (Refused, 1.0, False, False),
        (Refused, 1.0, True, True),
    ],
)
def test_a_refusal_ends_the_wait_of_calls_that_were_not_sent_and_can_not_wait_so_long(
    *, kind: type[Refused], closed_s: float, was_sent: bool, waits: bool
) -> None:
    parking, told = Parking(), list[BrummerError]()

    class Hears(Waiter):
        def on_hopeless(self, error: BrummerError) -> None:
            told.append(error)

    waiter = Hears(parking, "call", [])
    if was_sent:
        waiter.call.note_unanswered("generation-1")
    parking.refuse(kind("too many requests", began=True, retry_after_s=99.0), closed_s)
    assert len(parking) == waits
    if not waits:
        (refusal,) = told
        assert isinstance(refusal, kind)
        assert (refusal.retry_after_s, refusal.sent) == (closed_s, False)


def test_no_call_waits_for_a_server_longer_than_for_an_absent_instance() -> None:
    for closed_s, waiting in ((COME_BACK_S, 1), (COME_BACK_S + 0.001, 0)):
        parking = Parking()
        Waiter(parking, "call", []).call.deadline_s = 10 * COME_BACK_S
        parking.refuse(RateLimited("too many requests", began=False), closed_s)
        assert len(parking) == waiting


def test_a_removed_waiter_is_not_called_and_one_that_waits_again_is_called_once_each_time() -> None:
    parking, told = Parking(), list[str]()
    parking.remove(Waiter(parking, "removed", told))
    Waiter(parking, "again", told, waits_again=True)
    parking.release()
    assert (told, len(parking)) == (["again"], 1)
    parking.release()
    assert told == ["again"] * 2
