"""Instances of several machines: each is known by its id and its host, and no call goes to another than was meant."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.calls import refusals
from brummer.contract import texts
from brummer.core.errors import NotFound
from brummer.discovery.record import Record, Via
from brummer.hub.black_box import BlackBoxes
from brummer.hub.finder import Finder, Started
from brummer.hub.permission import NotAllowed
from brummer.hub.router import Router
from brummer.link.dialler import REMOTE_CONNECT_TIMEOUT_S, connect_timeout_s
from brummer.link.errors import ParkedTooLong
from brummer.link.state import LinkState
from brummer.peers.instance_client import REMOTE_PATIENCE_S, target_of
from brummer.peers.resolver import Ambiguous, NoInstances
from brummer.settings.servers import Server
from brummer.wire.mcp.server import Session

from .fakes import FakeInstance
from .test_hub import call, code_of, hub_with, record_of, served, unused_port

APP = Path("/app")
ID = record_of(APP, 1).instance_id
WITHIN_S = 30


@contextlib.asynccontextmanager
async def on(host: str, directory: Path = APP, name: str | None = None) -> AsyncIterator[tuple[Record, FakeInstance]]:
    """A fake instance of this directory on a machine, and its record; ``host`` is empty for this machine."""
    fake = FakeInstance()
    record = record_of(directory, fake.port, name)
    fake.instance_id, fake.generation = record.instance_id, record.generation
    async with fake:
        yield at(host, record), fake


def at(host: str, record: Record) -> Record:
    return msgspec.structs.replace(record, via=Via(host, "ssh")) if host else record


def dead(host: str, directory: Path = APP, name: str | None = None) -> Record:
    return at(host, record_of(directory, unused_port(), name))


async def meant(router: Router, name: str) -> str:
    return (await router.instances.resolver.named(name)).id


def choices_of(error: Ambiguous) -> list[dict[str, str]]:
    choices: Any = error.context["instances"]
    assert isinstance(choices, list)
    return choices


def error_of(result: dict[str, Any]) -> dict[str, Any]:
    error: dict[str, Any] = result["structuredContent"]["error"]
    return error


async def test_instances_of_one_id_on_several_machines_are_several_and_each_call_goes_to_the_one_that_was_meant() -> (
    None
):
    async with contextlib.AsyncExitStack() as stack:
        hosts = ("", "a", "b", "c.example")
        served_on = {host: await stack.enter_async_context(on(host)) for host in hosts}
        records = [record for record, _ in served_on.values()]
        assert {record.instance_id for record in records} == {ID}
        router = await stack.enter_async_context(hub_with(*records))
        assert [entry.id for entry in router.instances] == [ID, f"{ID}@a", f"{ID}@b", f"{ID}@c.example"]
        for number, (record, _) in enumerate(served_on.values(), 1):
            for _ in range(number):
                result = await call(router, "scripts_stop", {"instance": record.key})
                assert not result["isError"]
        assert [len(fake.calls) for _, fake in served_on.values()] == [1, 2, 3, 4]


async def test_a_link_that_is_led_to_the_instance_of_another_machine_sends_it_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have one id and one token: the run is what they differ in."""
    async with on("a") as (first, first_fake), on("b") as (second, second_fake), hub_with(first, second) as router:
        assert not (await call(router, "scripts_stop", {"instance": first.key}))["isError"]
        router.instances.appeared(msgspec.structs.replace(first, url=second.url))
        entry = await router.instances.resolver.named(first.key)
        async with asyncio.timeout(WITHIN_S):
            while entry.link.state is not LinkState.IMPOSTOR:
                await asyncio.sleep(0)
        with monkeypatch.context() as patched:
            patched.setattr(refusals, "PARK_S", 0.05)
            assert await code_of(router, "scripts_stop", {"instance": first.key}) == ParkedTooLong.code
        assert not (await call(router, "scripts_stop", {"instance": second.key}))["isError"]
        assert (len(first_fake.calls), len(second_fake.calls)) == (1, 1)


async def test_what_it_proves_is_its_own_id_and_what_is_shown_is_its_id_and_host() -> None:
    async with on("box") as (record, fake), hub_with(record) as router:
        assert not (await call(router, "scripts_stop", {"instance": f"{ID}@box"}))["isError"]
        assert fake.probes
        (entry,) = router.instances
        assert entry.link.status().instance_id == f"{ID}@box"


async def test_the_end_of_one_is_not_the_end_of_another() -> None:
    local, a, b = dead(""), dead("a"), dead("b")
    async with hub_with(local, a, b) as router:
        instances = router.instances

        def living() -> list[str]:
            return [entry.host for entry in instances if not entry.is_gone]

        instances.gone(a, "ended there")
        assert living() == ["", "b"]
        instances.keep_only({})
        assert living() == ["b"]
        instances.appeared(a)
        instances.appeared(local)
        instances.keep_only({}, "a")
        assert living() == ["", "b"]
        instances.keep_only({ID: b}, "b")
        assert living() == ["", "b"]


# Which one is meant.


async def test_an_id_of_this_machine_is_exact_and_an_id_elsewhere_is_found_while_it_is_the_only_one() -> None:
    async with hub_with(dead("a"), dead("b", Path("/web"), "web")) as router:
        assert await meant(router, ID) == f"{ID}@a"
        router.instances.appeared(dead("b"))
        with pytest.raises(Ambiguous) as caught:
            await router.instances.resolver.named(ID)
        choices = choices_of(caught.value)
        assert [each["host"] for each in choices] == ["a", "b"]
        assert [each["instance_id"] for each in choices] == [f"{ID}@a", f"{ID}@b"]
        router.instances.appeared(dead(""))
        assert await meant(router, ID) == ID


async def test_a_name_that_fits_here_and_elsewhere_lists_both_and_with_its_host_it_is_clear() -> None:
    async with hub_with(dead(""), dead("a"), dead("b")) as router:
        with pytest.raises(Ambiguous) as caught:
            await router.instances.resolver.named("app")
        assert [each.get("host") for each in choices_of(caught.value)] == [None, "a", "b"]
        assert await meant(router, "app@b") == f"{ID}@b"
        assert await meant(router, f"{ID}@a") == f"{ID}@a"
        for unknown in ("app@c", f"{ID}@c", "app@", "@a", f"{ID}@"):
            with pytest.raises(NotFound):
                await router.instances.resolver.named(unknown)


async def test_a_name_may_itself_hold_the_sign_before_the_host() -> None:
    odd, plain = dead("", name="app@a"), dead("b", Path("/web"), "web@x")
    async with hub_with(odd, plain) as router:
        assert await meant(router, "app@a") == odd.key
        assert await meant(router, "web@x") == await meant(router, "web@x@b") == plain.key
        router.instances.appeared(dead("a"))
        with pytest.raises(Ambiguous):
            await router.instances.resolver.named("app@a")


async def test_a_directory_is_one_of_this_machine(tmp_path: Path) -> None:
    remote = dead("a", tmp_path)
    async with hub_with(remote, here=tmp_path) as router:
        with pytest.raises(NotFound):
            await router.instances.resolver.named(str(tmp_path))
        local = dead("", tmp_path)
        router.instances.appeared(local)
        assert await meant(router, str(tmp_path)) == local.key


async def test_a_call_without_a_name_goes_to_this_machine(tmp_path: Path) -> None:
    async with served(tmp_path / "shop") as shop, hub_with(dead("a"), dead("b"), shop, here=APP) as router:
        assert (await router.instances.resolver.default(())).id == shop.key
        session = Session("s", roots=(APP.as_uri(),))
        assert not (await call(router, "logs_tail", {}, session))["isError"]
        assert not router.instances.resolver.needs_roots(), "only one of this machine could be meant"


async def test_the_directory_of_an_instance_elsewhere_holds_no_place_here(tmp_path: Path) -> None:
    local, other = dead("", tmp_path / "shop"), dead("", tmp_path / "api")
    async with hub_with(local, other, dead("a", APP), here=APP) as router:
        assert router.instances.resolver.needs_roots()
        with pytest.raises(Ambiguous) as caught:
            await router.instances.resolver.default((APP.as_uri(),))
        assert all("host" not in each for each in choices_of(caught.value))


@pytest.mark.parametrize("hosts", [("a",), ("a", "b")])
async def test_where_instances_run_only_elsewhere_the_error_says_so_and_lists_them(hosts: tuple[str, ...]) -> None:
    async with hub_with(*map(dead, hosts), here=APP) as router:
        error = error_of(await call(router, "scripts_list", {}))
        assert error["code"] == NoInstances.code
        assert [each["host"] for each in error["context"]["instances"]] == [*hosts]
        session = Session("s")
        connected = await call(router, "instances_connect", {"instance": f"app@{hosts[0]}"}, session)
        assert connected["structuredContent"]["instance"]["host"] == hosts[0]
        assert session.chosen == f"{ID}@{hosts[0]}"


async def test_an_instance_elsewhere_is_used_once_it_was_chosen() -> None:
    session = Session("s")
    async with on("a") as (record, fake), hub_with(record, dead("")) as router:
        await call(router, "instances_connect", {"instance": "app@a"}, session)
        fake.calls.clear()
        assert not (await call(router, "scripts_stop", {}, session))["isError"]
        assert len(fake.calls) == 1


async def test_all_instances_are_those_of_all_machines() -> None:
    async with on("") as (local, _), on("a") as (remote, _), hub_with(local, remote) as router:
        assert [entry.host for entry in await router.instances.resolver.everyone()] == ["", "a"]
        router.instances.gone(local, "withdrawn", withdrew=True)
        assert [entry.id for entry in await router.instances.resolver.everyone()] == [remote.key]


async def test_a_server_of_the_user_may_have_the_name_of_an_instance_elsewhere() -> None:
    async with hub_with(dead("a")) as router:
        router.instances.add_server(Server(ID, "http://127.0.0.1:9/mcp"))
        assert await meant(router, ID) == ID
        assert await meant(router, f"{ID}@a") == f"{ID}@a"


# What is not done for another machine.


async def test_no_instance_is_started_for_a_directory_because_another_machine_has_that_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    started: list[Path] = []

    async def start(place: Path, _: str) -> Started:
        started.append(place)
        raise AssertionError

    async with hub_with(dead("a", tmp_path)) as router:
        finder = Finder(router.instances, None, start, "known", Path("/nowhere"))
        with pytest.raises(NotAllowed):
            await finder.named(str(tmp_path))
        await finder.close()
    assert started == []


class Boxes(BlackBoxes):
    """Has a black box of every id."""

    def __init__(self) -> None:
        super().__init__(Path)
        self.asked: list[str] = []

    async def answer(self, instance_id: str, *_: object) -> bytes | None:
        self.asked.append(instance_id)
        return b'{"content":[],"structuredContent":{"from":"black box"},"isError":false}'


async def test_a_black_box_of_this_machine_never_answers_for_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "PARK_S", 0.05)
    boxes = Boxes()
    local, remote = dead(""), dead("a")
    async with hub_with(local, remote, black_boxes=boxes) as router:
        for record in (local, remote):
            router.instances.gone(record, "process died")
        answered = await call(router, "scripts_status", {"instance": local.key})
        assert answered["structuredContent"] == {"from": "black box"}
        assert await code_of(router, "scripts_status", {"instance": remote.key}) == ParkedTooLong.code
        assert boxes.asked == [ID]


# How it looks.


async def test_only_an_instance_elsewhere_has_a_host_in_answers() -> None:
    async with on("") as (local, _), on("box") as (remote, _), hub_with(local, remote) as router:
        listed = (await call(router, "instances_list", {}))["structuredContent"]["instances"]
        assert [(each["instance_id"], each.get("host")) for each in listed] == [(ID, None), (f"{ID}@box", "box")]
        assert "host" not in listed[0]
        assert texts.instance(listed[1]).startswith(f"{ID}@box ready since")
        assert "/app on box" in texts.instance(listed[1])


def test_its_process_is_not_looked_for_here_and_its_path_is_a_long_one() -> None:
    """The record's pid and namespaces may be those of a process here."""
    here = msgspec.structs.replace(record_of(APP, 1), pid=os.getpid())
    target = target_of(at("box", here))
    assert (target.condition(), target.is_near, target.is_local) == ("unknown", False, False)
    assert target.patience_s == REMOTE_PATIENCE_S
    assert connect_timeout_s(target) == REMOTE_CONNECT_TIMEOUT_S
    assert (target.instance_id, target.own_id) == (f"{ID}@box", ID)


async def test_a_machine_that_is_cut_off_is_no_sign_that_this_one_is() -> None:
    async with hub_with(dead("a"), dead("a", Path("/web")), dead("")) as router:
        await router.instances.settled()
        assert all(entry.link.is_failing for entry in router.instances)
        assert not router.instances.are_cut_off()
        router.instances.appeared(dead("", Path("/web")))
        await router.instances.settled()
        assert router.instances.are_cut_off()
