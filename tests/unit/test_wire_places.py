"""The connections that a server keeps, and the one that it drops to make room."""

import random
from collections import Counter

import pytest

from brummer.wire.http.places import GRACE_S, Places


def places(*, proven: int = 2, unproven: int = 3) -> Places[str]:
    return Places(proven=proven, unproven=unproven)


def test_there_is_room_up_to_the_limit() -> None:
    it = places()
    for name in "abc":
        assert it.wait_s(0.0) == 0.0
        assert it.make_room() is None
        it.add(name, 0.0)
    assert list(it) == ["a", "b", "c"]
    assert it.wait_s(0.0) == GRACE_S


def test_the_oldest_silent_one_is_replaced_after_its_grace() -> None:
    it = places()
    for at_s, name in enumerate("abc"):
        it.add(name, float(at_s))
    assert it.wait_s(0.0) == GRACE_S
    assert it.wait_s(GRACE_S / 2) == pytest.approx(GRACE_S / 2)
    assert it.wait_s(GRACE_S) == 0.0
    assert it.make_room() == "a"
    assert "a" not in it


def test_one_whose_request_proved_nothing_is_replaced_first_and_at_once() -> None:
    it = places()
    for name in "abc":
        it.add(name, 0.0)
    it.hear("c")
    it.hear("b")
    assert it.wait_s(0.0) == 0.0
    assert [it.make_room(), it.make_room()] == ["c", None]


def test_a_proven_one_is_never_replaced_and_takes_no_unproven_place() -> None:
    it = places()
    for name in "abc":
        it.add(name, 0.0)
    assert it.prove("a")
    assert it.wait_s(0.0) == 0.0
    assert it.make_room() is None
    it.add("d", 0.0)
    assert it.make_room() == "b"
    assert "a" in it


def test_proven_places_have_a_limit_of_their_own() -> None:
    it = places(proven=1)
    it.add("a", 0.0)
    it.add("b", 0.0)
    assert it.prove("a")
    assert it.prove("a")
    assert not it.prove("b")
    assert "b" in it
    it.remove("a")
    assert it.prove("b")
    assert len(it) == 1


def test_at_least_one_unproven_connection_is_taken() -> None:
    it = places(unproven=0)
    assert it.make_room() is None
    it.add("a", 0.0)
    it.hear("a")
    assert it.make_room() == "a"


@pytest.mark.parametrize("seed", range(20))
def test_random_steps_exceed_no_limit_and_lose_no_connection(seed: int) -> None:
    rng, it, now_s = random.Random(seed), places(proven=3, unproven=4), 0.0
    alive: Counter[str] = Counter()
    for number in range(500):
        now_s += rng.random() * GRACE_S
        known = rng.choice([*alive, "unknown"])
        match rng.randrange(5):
            case 0:
                it.remove(known)
                alive.pop(known, None)
            case 1 if known in alive:
                it.prove(known)
            case 2:
                it.hear(known)
            case _ if it.wait_s(now_s) == 0.0:
                if (gone := it.make_room()) is not None:
                    del alive[gone]
                it.add(str(number), now_s)
                alive[str(number)] += 1
        assert sorted(it) == sorted(alive)
        assert len(it) <= 3 + 4
