"""May an instance be started for an agent, how often, and in which environment."""

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.core.errors import BrummerError, NotFound
from brummer.discovery.record import Record
from brummer.host.login_shell import asked, without_variables_of_agents
from brummer.hub.finder import Finder, Mode, Started, with_note
from brummer.hub.permission import NotAllowed, check
from brummer.peers.instances import Instances

from .test_hub import hub_with, record_of, served

ELSEWHERE = Path("/somewhere/else")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "home"
    place.mkdir(mode=0o755)
    monkeypatch.setenv("HOME", str(place))
    return place


@pytest.fixture
def shop(home: Path) -> Path:
    place = home / "shop"
    place.mkdir()
    return place


def refused(place: Path, mode: Mode = "home", here: Path = ELSEWHERE, *, has_run: bool = False) -> str:
    with pytest.raises(NotAllowed) as caught:
        check(place, mode, here, has_run=has_run)
    assert caught.value.context["command"] == f"brum up -d {place}"
    return caught.value.message


def test_a_directory_is_known_where_an_instance_has_run_or_the_agent_was_started(shop: Path, home: Path) -> None:
    inner = shop / "packages"
    inner.mkdir()
    for here in (shop, inner):
        check(inner, "known", here, has_run=False)
    check(inner, "known", ELSEWHERE, has_run=True)
    assert "no instance has run there" in refused(shop, "known")
    assert "no instance has run there" in refused(shop, "known", inner)


def test_an_agent_that_was_started_at_home_or_at_the_root_makes_nothing_known(shop: Path, home: Path) -> None:
    for here in (home, Path("/")):
        refused(shop, "known", here)


def test_all_below_the_home_directory_may_be_allowed_and_nothing_too(shop: Path, home: Path) -> None:
    check(shop, "home", ELSEWHERE, has_run=False)
    refused(home, "home")
    refused(Path("/"), "home")
    assert "not below the home" in refused(Path("/usr"), "home")
    assert "never" in refused(shop, "never", shop, has_run=True)
    assert "not a directory" in refused(shop / "missing")


def test_a_directory_that_others_can_write_in_is_refused_up_to_the_root_of_the_repository(shop: Path) -> None:
    inner = shop / "src" / "deep"
    inner.mkdir(parents=True)
    (shop / ".git").mkdir()
    for open_one in (inner, inner.parent, shop):
        for mode in (0o777, 0o1777):
            open_one.chmod(mode)
            assert str(open_one) in refused(inner, has_run=True)
        open_one.chmod(0o755)
    check(inner, "home", ELSEWHERE, has_run=True)


def test_above_the_repository_only_a_directory_where_others_can_replace_it_is_refused(shop: Path, home: Path) -> None:
    home.chmod(0o777)
    assert "which is above it" in refused(shop, has_run=True)
    home.chmod(0o1777)
    check(shop, "known", ELSEWHERE, has_run=True)


@pytest.mark.parametrize("owned", ["shop", "home"])
def test_a_directory_of_another_user_or_inside_one_is_refused(
    shop: Path, home: Path, owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner is simulated: only root could give a directory away."""
    theirs, genuine = {"shop": shop, "home": home}[owned], Path.stat

    def stat_of(path: Path, **options: Any) -> os.stat_result:
        status = genuine(path, **options)
        values = list(status)
        values[stat.ST_UID] = 54_321 if path == theirs else os.geteuid()
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", stat_of)
    assert "another user" in refused(shop, has_run=True)


class Starting:
    """In place of a real start: it waits until it is told, and counts."""

    def __init__(self, instances: Instances, record: Record) -> None:
        self.count = 0
        self.client = ""
        self.may_end = asyncio.Event()
        self._instances = instances
        self._record = record

    async def __call__(self, place: Path, client: str) -> Started:
        self.count += 1
        self.client = client
        await self.may_end.wait()
        self._instances.appeared(self._record)
        return Started(self._record.instance_id, str(place), "of a test")


@contextlib.asynccontextmanager
async def finding(directory: Path, mode: Mode = "known") -> AsyncIterator[tuple[Finder, Starting]]:
    async with served(directory) as record, hub_with() as router:
        start = Starting(router.instances, record)
        finder = Finder(router.instances, None, start, mode, directory)
        try:
            yield finder, start
        finally:
            await finder.close()


@pytest.mark.promise("run-ensures")
async def test_calls_that_ask_at_once_get_one_instance_and_one_start(tmp_path: Path) -> None:
    async with finding(tmp_path / "shop") as (finder, start):
        asking = [asyncio.create_task(finder.named(str(tmp_path / "shop"), f"agent {n}")) for n in range(20)]
        while not start.count:
            await asyncio.sleep(0)
        start.may_end.set()
        found = await asyncio.gather(*asking)
        assert (start.count, len({entry.id for entry, _ in found})) == (1, 1)
        assert start.client.startswith("agent "), "whichever came first: each is looked up in a thread"
        assert all(started and started.environment == "of a test" for _, started in found)
        entry, started = await finder.named(str(tmp_path / "shop"))
        assert (entry.directory, started) == (str(tmp_path / "shop"), None), "it runs now"


async def test_a_cancelled_call_leaves_the_start_to_its_end(tmp_path: Path) -> None:
    async with finding(tmp_path / "shop") as (finder, start):
        asking = asyncio.create_task(finder.named(str(tmp_path / "shop")))
        while not start.count:
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        again = asyncio.create_task(finder.named(str(tmp_path / "shop")))
        start.may_end.set()
        entry, _ = await again
        assert (start.count, entry.directory) == (1, str(tmp_path / "shop"))


async def test_only_a_directory_is_started_and_only_where_it_is_allowed(tmp_path: Path) -> None:
    async with finding(tmp_path / "shop", "never") as (finder, start):
        for name in ("shop", "shop-0123abcd"):
            with pytest.raises(NotFound):
                await finder.named(name)
        with pytest.raises(NotAllowed):
            await finder.named(str(tmp_path / "shop"))
        assert start.count == 0


async def test_a_directory_whose_instance_has_ended_is_started_again(tmp_path: Path) -> None:
    async with finding(tmp_path / "shop") as (finder, start):
        start.may_end.set()
        entry, _ = await finder.named(str(tmp_path / "shop"))
        entry.is_gone = True
        _, started = await finder.named(str(tmp_path / "shop"))
        assert (start.count, started is not None) == (2, True)


async def test_a_hub_that_can_start_none_says_what_a_person_can_do(tmp_path: Path) -> None:
    async with hub_with(record_of(tmp_path / "other", 9)) as router:
        with pytest.raises(NotFound) as caught:
            await Finder(router.instances).named(str(tmp_path / "shop"))
        assert f"brum up -d {tmp_path / 'shop'}" in caught.value.message


def test_the_answer_says_that_the_instance_was_started_in_text_and_data() -> None:
    started = Started("shop-1", "/shop", "of your login shell")
    result = msgspec.json.decode(
        with_note(b'{"content":[{"type":"text","text":"ready"}],"structuredContent":{"status":"ready"}}', started)
    )
    assert result["structuredContent"]["status"] == "ready"
    assert result["structuredContent"]["started_instance"]["environment"] == "of your login shell"
    assert "/shop" in result["content"][-1]["text"]


# The environment.


def a_shell(tmp_path: Path, script: str) -> str:
    shell = tmp_path / "shell"
    shell.write_text(f"#!/bin/sh\n{script}\n")
    shell.chmod(0o755)
    return str(shell)


def test_the_environment_is_what_the_login_shell_makes_of_the_session(tmp_path: Path) -> None:
    shell = a_shell(
        tmp_path, 'export NVM_DIR=/nvm; echo "welcome = home"; while [ "$1" != -c ]; do shift; done; eval "$2"'
    )
    given = {"HOME": "/home/me", "OPENAI_API_KEY": "secret", "PATH": "/poor", "BRUMMER_INSTANCES_DIR": "/i"}
    found = asked(shell, given)
    assert found is not None
    assert (found["NVM_DIR"], found["HOME"], found["BRUMMER_INSTANCES_DIR"]) == ("/nvm", "/home/me", "/i")
    assert "OPENAI_API_KEY" not in found
    assert found["PATH"] != "/poor"


@pytest.mark.parametrize("script", ["exec sleep 600", "exit 3", "echo PATH=/usr/bin"])
def test_a_shell_that_does_not_answer_gives_none(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.host.login_shell.WITHIN_S", 0.5)
    assert asked(a_shell(tmp_path, script), {}) is None
    assert asked(str(tmp_path / "missing"), {}) is None


def test_without_a_shell_the_variables_of_agents_are_left_out() -> None:
    agents = [
        "CLAUDECODE",
        "CLAUDE_CODE_ENTRYPOINT",
        "ANTHROPIC_API_KEY",
        "NODE_OPTIONS",
        "ELECTRON_RUN_AS_NODE",
        "npm_x",
    ]
    kept = {"PATH": "/usr/bin", "HOME": "/home/me", "CLAUDETTE": "a project's own", "NODE_ENV": "development"}
    assert without_variables_of_agents({**kept, **dict.fromkeys(agents, "x")}) == kept


def test_all_refusals_are_errors_of_ours_that_a_retry_does_not_mend(shop: Path) -> None:
    with pytest.raises(BrummerError) as caught:
        check(shop, "never", shop, has_run=True)
    data = caught.value.as_data()
    assert (data["code"], data["retryable"]) == ("not_allowed", False)
