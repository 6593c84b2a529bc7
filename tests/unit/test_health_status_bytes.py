"""The JSON of `hub_status`, to the byte: agents and people read it, and so do the tools that they have written."""

from pathlib import Path

import msgspec

from brummer.core.clock import Reading
from brummer.core.json_text import encode
from brummer.health.catalog import Observed, explain
from brummer.health.status import Status, in_use
from brummer.host.real_system import REAL
from brummer.network.monitor import NetworkChanged
from brummer.network.wake import ClockSet, Slept
from brummer.peers.instances import Instances
from brummer.peers.timeline import Timeline
from tests.unit.golden import assert_golden

GOLDEN = Path(__file__).with_name("hub_status.golden")


class StandingClock:
    def awake(self) -> float:
        return 5.0

    def elapsed(self) -> float:
        return 100.0

    def wall(self) -> float:
        return 1_700_000_000.25

    def reading(self) -> Reading:
        return Reading(5.0, 100.0, 1_700_000_000.25)


OBSERVED = (
    Observed("link_gone", "process died", 3.00049, ("shop-1",)),
    Observed("cut_off", "shop-1 says: no", None, ("shop-1", "docs-2")),
    Observed("polling", "no hints"),
    Observed("malformed", "no JSON", 2.0, count=3, path="/run/x.json"),
    Observed("task_failed", "registry: no", 1.0, task="registry", count=2),
    Observed("unheard_of", "from a later version"),
)


async def test_problems_timeline_and_hub_have_the_same_bytes_as_ever() -> None:
    clock = StandingClock()
    timeline = Timeline(clock)
    for event in (Slept(61.0), ClockSet(-2.0), NetworkChanged(("the default route is another",), True, True)):
        timeline.finished(timeline.note(event), "nothing")
    instances = Instances(Path("/"))
    status = Status(instances, timeline, clock, Path("/home/me"), REAL.descriptors).describe()
    limits = {**status.limits, "open_files": 0, "in_use": {**in_use(instances), "memory_hard_bytes": 0}}
    hub = msgspec.structs.replace(status.hub, pid=1, version="0")
    assert_golden(GOLDEN, [encode(explain(OBSERVED)), encode(status.timeline), encode(hub), encode(limits)])
