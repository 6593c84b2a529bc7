"""What a hub sees to be wrong: of links in each state, of places for calls, and of what befell the machine."""

from types import SimpleNamespace
from typing import Any

import pytest

from brummer.core.clock import Reading
from brummer.health.catalog import Observed
from brummer.health.observe import of_links, of_machine, of_places
from brummer.link.state import LinkState
from brummer.link.status import LastError, LinkStatus
from brummer.network.monitor import NetworkChanged
from brummer.network.wake import ClockSet, Paused, Slept
from brummer.peers.timeline import Timeline
from brummer.pool.connections import Connections
from brummer.pool.pool import Pool
from brummer.settings.limits import Limits

from .fake_dialler import FakeDialler, User

UNREADY_S = 7.0


class Hands:
    """A clock whose hands we move."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def awake(self) -> float:
        return self.now_s

    elapsed = wall = awake

    def reading(self) -> Reading:
        return Reading(self.now_s, self.now_s, self.now_s)


class Several(list[Any]):
    """Stands where `Instances` stands."""

    def __init__(self, *known: Any, cut_off: bool = False, pool: Pool | None = None) -> None:
        super().__init__(known)
        self.are_cut_off = lambda: cut_off
        self.pool = pool or Pool()


def known(
    name: str,
    state: LinkState,
    *,
    cut: bool = False,
    foreign: bool = False,
    host: str = "",
    in_other_network: bool = False,
    **status: Any,
) -> Any:
    """One whose link is in this state, and says this of itself."""
    said = {"since_s": 3.0, "reason": "the reason", "condition": "idle", "last_error": None, **status}
    link = SimpleNamespace(
        state=state,
        unready_s=UNREADY_S,
        path_is_cut=cut,
        refusal=None,
        target=SimpleNamespace(is_local=not (foreign or host), in_other_network=in_other_network),
        said=LinkStatus(instance_id=name, state=state.shown, connections=0, in_flight=0, **said),
    )
    return SimpleNamespace(id=name, host=host, link=link, pid=None if foreign else 4242)


def observed(instances: Any) -> list[Observed]:
    return list(of_links(instances, [each.link.said for each in instances]))


@pytest.mark.parametrize(
    ("state", "more", "code"),
    [
        (LinkState.DISCOVERED, {}, None),
        (LinkState.CONNECTING, {}, None),
        (LinkState.READY, {}, None),
        (LinkState.READY, {"condition": "busy"}, None),
        (LinkState.READY, {"condition": "stopped"}, "link_stopped"),
        (LinkState.SUSPECT, {"condition": "stopped", "cut": True}, "link_stopped"),
        (LinkState.RETRYING, {"condition": "stopped"}, "link_stopped"),
        (LinkState.SUSPECT, {"condition": "busy"}, "link_suspect"),
        (LinkState.SUSPECT, {"cut": True}, "link_cut"),
        (LinkState.RETRYING, {}, "link_retrying"),
        (LinkState.RETRYING, {"cut": True}, "link_cut"),
        (LinkState.RECONNECTING, {"cut": True}, "link_cut"),
        (LinkState.RECHECKING, {}, "link_impostor"),
        (LinkState.RETRYING, {"cut": True, "foreign": True}, "server_down"),
        (LinkState.SUSPECT, {"foreign": True}, "server_down"),
        (LinkState.IMPOSTOR, {}, "link_impostor"),
        (LinkState.INCOMPATIBLE, {}, "link_incompatible"),
        (LinkState.WITHDRAWN, {"reason": "withdrawn"}, None),
        (LinkState.GONE, {"reason": "process died", "condition": "gone"}, "link_gone"),
        (LinkState.RETRYING, {"in_other_network": True}, "other_network_namespace"),
        (LinkState.IMPOSTOR, {"in_other_network": True}, "other_network_namespace"),
        (LinkState.INCOMPATIBLE, {"in_other_network": True}, "link_incompatible"),
        (LinkState.READY, {"in_other_network": True}, None),
        (LinkState.RETRYING, {"in_other_network": True, "condition": "stopped"}, "link_stopped"),
        (LinkState.GONE, {"in_other_network": True}, "link_gone"),
        (LinkState.SUSPECT, {"host": "box"}, "remote_unreachable"),
        (LinkState.SUSPECT, {"host": "box", "cut": True}, "remote_unreachable"),
        (LinkState.RECONNECTING, {"host": "box"}, "remote_unreachable"),
        (LinkState.RECHECKING, {"host": "box"}, "link_impostor"),
        (LinkState.INCOMPATIBLE, {"host": "box"}, "link_incompatible"),
        (LinkState.GONE, {"host": "box"}, "remote_gone"),
        (LinkState.WITHDRAWN, {"host": "box"}, None),
        (LinkState.READY, {"host": "box"}, None),
    ],
)
def test_a_link_is_reported_by_what_is_known_of_its_cause(
    state: LinkState, more: dict[str, Any], code: str | None
) -> None:
    assert [each.code for each in observed(Several(known("web-1", state, **more)))] == ([code] if code else [])


def test_since_when_is_when_it_was_last_ready_and_not_when_it_was_last_dialled() -> None:
    (problem,) = observed(Several(known("web-1", LinkState.RETRYING)))
    assert problem.since_s == UNREADY_S
    (end,) = observed(Several(known("web-1", LinkState.GONE, reason="process died")))
    assert end.since_s == 3.0
    (stopped,) = observed(Several(known("web-1", LinkState.READY, condition="stopped")))
    assert stopped.since_s is None, "nobody saw when"
    assert "4242" in stopped.detail


def test_while_it_is_dialled_again_the_detail_is_why_that_is_needed() -> None:
    error = LastError("connection_refused", "Connection refused")
    dialled = known("web-1", LinkState.RECONNECTING, reason="attempt 4", last_error=error)
    assert [each.detail for each in observed(Several(dialled))] == ["Connection refused"]


def test_a_failure_of_all_is_reported_with_its_instances_and_its_age() -> None:
    one, other = known("api-1", LinkState.SUSPECT), known("web-2", LinkState.RETRYING)
    other.link.unready_s = 2.0
    ended = known("old-3", LinkState.GONE, reason="process died")
    cut_off = observed(Several(one, other, ended, cut_off=True))[-1]
    assert (cut_off.code, cut_off.instances, cut_off.since_s) == ("cut_off", ("api-1", "web-2"), 2.0)


def test_an_open_breaker_is_reported_beside_its_cause() -> None:
    broken = known("web-1", LinkState.SUSPECT, breaker="half-open")
    assert {each.code for each in observed(Several(broken))} == {"breaker_open", "link_suspect"}


async def test_places_are_reported_when_the_next_call_is_refused() -> None:
    pool = Pool(Limits(queued_per_instance=1, in_flight_per_instance=1, parked=1))
    connections = Connections(pool, "web-1", FakeDialler(), lambda: None)
    assert User(connections).lease.acquire_slot()
    assert list(of_places(Several(pool=pool))) == []  # type: ignore[arg-type]
    assert not User(connections).lease.acquire_slot()
    pool.park("api-2", may_have_run=False)
    found = list(of_places(Several(pool=pool)))  # type: ignore[arg-type]
    assert [(each.code, each.instances) for each in found] == [("busy", ("web-1",)), ("parked_full", ())]


# The machine.


def machine(timeline: Timeline, clock: Hands, *instances: Any) -> list[Observed]:
    return list(of_machine(timeline, Several(*instances), clock))  # type: ignore[arg-type]


def test_it_settles_until_what_a_wake_asks_for_is_done() -> None:
    clock = Hands()
    timeline = Timeline(clock)
    timeline.finished(timeline.note(ClockSet(5.0)), "nothing")
    assert machine(timeline, clock) == []
    for event in (Slept(60.0), Paused(8.0)):
        entry = timeline.note(event)
        clock.now_s += 1.5
        (settling,) = machine(timeline, clock)
        assert (settling.code, settling.since_s) == ("settling", 1.5)
        timeline.finished(entry, "probed 2 links: 2 ready")
        assert machine(timeline, clock) == []


def test_a_network_that_is_down_concerns_those_who_need_it_until_it_is_up() -> None:
    clock = Hands()
    timeline = Timeline(clock)
    web, docs = known("web-1", LinkState.READY), known("docs", LinkState.READY, foreign=True)
    timeline.note(NetworkChanged(("lo is down",), online=True, loopback=False))
    clock.now_s += 2.0
    timeline.note(NetworkChanged(("the route is gone",), online=False, loopback=False))
    clock.now_s += 1.0
    found = [(each.code, each.since_s, each.instances) for each in machine(timeline, clock, web, docs)]
    assert found == [("loopback_down", 3.0, ("web-1",)), ("offline", 1.0, ("docs",))]
    assert [each.code for each in machine(timeline, clock, web)] == ["loopback_down"], "nobody is out there"
    there = known("app-1@box", LinkState.READY, host="box")
    found_there = [(each.code, each.instances) for each in machine(timeline, clock, there)]
    assert found_there == [("loopback_down", (there.id,)), ("offline", (there.id,))], "its way begins on loopback"
    timeline.note(NetworkChanged(("all is up",), online=True, loopback=True))
    assert machine(timeline, clock, web, docs) == []
