"""Whatever happens in whatever order, every hub ends up with the true set, told by events that fit each other."""

import asyncio
import shutil
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from brummer.discovery.events import Appeared, Changed, DirectoryEvent
from brummer.discovery.record import Record
from brummer.discovery.registrar import lock_path
from brummer.discovery.registry import Registry
from tests.unit.discovery_support import Owner, directory_in_memory

PROJECTS = st.sampled_from(["web", "api", "worker"])


class Hub:
    """A registry, and the list that one gets from its events alone."""

    def __init__(self, directory: Path) -> None:
        self.registry = Registry(directory)
        self.list: dict[str, Record] = {}

    def take_in(self) -> None:
        self.registry.take(self._apply)
        assert self.list == self.registry.snapshot()

    def _apply(self, event: DirectoryEvent) -> None:
        if isinstance(event, Appeared):
            assert event.record.instance_id not in self.list
            self.list[event.record.instance_id] = event.record
        elif isinstance(event, Changed):
            assert event.old != event.new
            assert self.list[event.old.instance_id] == event.old
            self.list[event.new.instance_id] = event.new
        else:
            assert self.list.pop(event.record.instance_id) == event.record


class Directory(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.memory = directory_in_memory()
        self.directory = self.memory.__enter__() / "instances"
        self.directory.mkdir(mode=0o700)
        self.loop = asyncio.new_event_loop()
        self.hubs: list[Hub] = []
        self.owners: dict[str, Owner] = {}
        self.published: dict[str, bool] = {}
        self.turn = 0
        self.loop.run_until_complete(self.start_hubs(2))

    async def start_hubs(self, count: int) -> None:
        self.hubs += [Hub(self.directory) for _ in range(count)]

    async def look(self) -> None:
        await asyncio.gather(*(hub.registry.scan() for hub in self.hubs))

    def known_to(self, hub: Hub, owner: Owner) -> bool:
        known = hub.registry.snapshot().get(owner.record.instance_id)
        return known is not None and known.identity == owner.record.identity

    @rule(project=PROJECTS)
    def start_or_restart(self, project: str) -> None:
        if project in self.owners:
            self.owners.pop(project).kill()
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.owners[project] = Owner(self.directory, Path("/projects") / project)
        self.owners[project].publish()
        self.published[project] = True

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        project = data.draw(st.sampled_from(sorted(self.owners)))
        self.turn += 1
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.owners[project].publish(name=f"{project} {self.turn % 10}")
        self.published[project] = True

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        self.owners.pop(data.draw(st.sampled_from(sorted(self.owners)))).kill()

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        owner = self.owners.pop(data.draw(st.sampled_from(sorted(self.owners))))
        owner.path.unlink(missing_ok=True)
        owner.end()

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), garbage=st.booleans())
    def damage(self, data: st.DataObject, *, garbage: bool) -> None:
        """By hand: the file is removed or overwritten while its owner lives."""
        project = data.draw(st.sampled_from(sorted(self.owners)))
        owner = self.owners[project]
        if garbage and self.directory.exists():
            owner.path.write_bytes(b"garbage")
        else:
            owner.path.unlink(missing_ok=True)
        self.published[project] = False

    @rule()
    def remove_the_directory(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.published = dict.fromkeys(self.published, False)

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def remove_a_lock_file(self, data: st.DataObject) -> None:
        project = data.draw(st.sampled_from(sorted(self.owners)))
        lock_path(self.directory, self.owners[project].record.instance_id).unlink(missing_ok=True)

    @rule()
    def let_hubs_run(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    @rule(hub=st.integers(0, 1))
    def one_hub_looks(self, hub: int) -> None:
        self.loop.run_until_complete(self.hubs[hub].registry.scan())
        self.hubs[hub].take_in()

    @rule()
    def all_hubs_look(self) -> None:
        before = {
            (hub, project)
            for hub in self.hubs
            for project, owner in self.owners.items()
            if self.published[project] or self.known_to(hub, owner)
        }
        self.loop.run_until_complete(self.look())
        for hub in self.hubs:
            hub.take_in()
            alive = {self.owners[project].record.instance_id for each, project in before if each is hub}
            assert set(hub.list) == alive
        for project, owner in self.owners.items():
            if self.published[project]:
                assert all(hub.list[owner.record.instance_id] == owner.record for hub in self.hubs)

    @invariant()
    def no_hub_lost_count(self) -> None:
        for hub in getattr(self, "hubs", []):
            hub.take_in()

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        self.all_hubs_look()
        dead = [path for path in self.directory.glob("*.json") if path.read_bytes() != b"garbage"]
        assert len(dead) == sum(self.published[project] for project in self.owners)
        for hub in self.hubs:
            hub.registry.close()
        for owner in self.owners.values():
            owner.kill()
        self.loop.close()
        self.memory.__exit__(None, None, None)


Directory.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow],
)
test_every_interleaving_ends_in_the_true_set = Directory.TestCase
