"""`hub_status` reports limits of any value correctly."""

import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from brummer.health.observe import of_places
from brummer.health.status import in_use, limits_in_force
from brummer.host.descriptors import descriptor_limit, raise_descriptor_limit, set_descriptor_limit
from brummer.peers.instances import Instances
from brummer.pool.connections import Connections
from brummer.pool.pool import Busy
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.table import TABLE
from brummer.settings.types import Setting

from .fake_dialler import FakeDialler, User

HERE = Path("/")

EXTREMES = [
    (setting, value)
    for setting in TABLE
    if setting.limit is not None
    for value in (setting.least, setting.least + 1, setting.kind.most)
]


def with_limit(setting: Setting, value: object) -> Instances:
    assert setting.limit is not None
    return Instances(HERE, limits=msgspec.structs.replace(DEFAULTS, **{setting.limit: value}))


@pytest.mark.parametrize(("setting", "value"), EXTREMES, ids=lambda each: getattr(each, "key", None))
async def test_no_value_of_a_limit_is_a_problem_while_nothing_happens(setting: Setting, value: object) -> None:
    instances = with_limit(setting, value)
    for name in ("web-1", "api-2"):
        Connections(instances.pool, name, FakeDialler(), lambda: None)
    assert list(of_places(instances)) == []


@pytest.mark.parametrize(("setting", "value"), EXTREMES, ids=lambda each: getattr(each, "key", None))
async def test_a_limit_is_shown_as_it_is_in_force(setting: Setting, value: object) -> None:
    shown = limits_in_force(with_limit(setting, value))
    assert setting.limit == "open_files" or shown.get(setting.limit or "", value) == value
    assert shown["open_files"] == descriptor_limit()


async def test_a_basic_link_shows_no_limit_that_it_does_not_enforce() -> None:
    basic = Instances(HERE, use_robust_networking=False)
    assert set(limits_in_force(basic)) == {
        "reply_bytes",
        "request_bytes",
        "memory_soft_bytes",
        "memory_hard_bytes",
        "open_files",
    }
    assert set(in_use(basic)) == {"memory_hard_bytes"}


async def test_where_no_call_may_wait_for_an_instance_each_is_refused_and_none_is_a_problem() -> None:
    instances = Instances(HERE, limits=Limits(parked=0))
    with pytest.raises(Busy):
        instances.pool.park("web-1", may_have_run=False)
    assert list(of_places(instances)) == []
    instances.pool.park("web-1", may_have_run=True)
    assert [each.code for each in of_places(instances)] == ["parked_full"]


async def test_where_no_call_may_queue_an_instance_is_busy_only_while_all_its_slots_are_taken() -> None:
    instances = Instances(HERE, limits=Limits(queued_per_instance=0, in_flight_per_instance=1))
    connections = Connections(instances.pool, "web-1", FakeDialler(), lambda: None)
    taken, refused = (User(connections).lease for _ in range(2))
    assert list(of_places(instances)) == []
    assert taken.acquire_slot()
    assert [each.code for each in of_places(instances)] == ["busy"]
    with pytest.raises(Busy):
        refused.acquire_slot()
    taken.end()
    assert list(of_places(instances)) == []


@pytest.fixture
def soft() -> Iterator[int]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_number_of_open_files_can_be_set_below_what_the_system_gives(soft: int) -> None:
    wanted = min(soft, descriptor_limit()) - 1
    raise_descriptor_limit(wanted)
    assert descriptor_limit() == soft
    set_descriptor_limit(wanted)
    assert descriptor_limit() == wanted
    raise_descriptor_limit(soft)
    assert descriptor_limit() == soft
