"""Waiters for a link to become ready: they are called in order, or fail at once if waiting can't help."""

from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.errors import ParkedTooLong
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


def test_a_removed_waiter_is_not_called_and_one_that_waits_again_is_called_once_each_time() -> None:
    parking, told = Parking(), list[str]()
    parking.remove(Waiter(parking, "removed", told))
    Waiter(parking, "again", told, waits_again=True)
    parking.release()
    assert (told, len(parking)) == (["again"], 1)
    parking.release()
    assert told == ["again"] * 2
