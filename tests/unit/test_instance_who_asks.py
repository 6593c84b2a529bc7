"""Who asked for a start or a stop, as changes tell it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from brummer.cli.run_events import RunEvents
from brummer.contract.texts import change
from brummer.instance.live_run import Tuning
from brummer.instance.manager import Manager
from brummer.instance.scripts import ScriptList
from brummer.process.guard import Guard

from .agent_support import Agent

GENERATION = uuid4().hex
BY = "claude-code 2.1.3"
SCRIPTS = """
[scripts.dev]
command = "exec sleep 600"
[scripts.web]
command = "exec sleep 600"
depends_on = ["db"]
[scripts.db]
command = "echo up; exec sleep 600"
ready = { log = "up" }
[scripts.fails]
command = "exit 3"
restart = "on-failure"
max_restarts = 1
"""


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    (tmp_path / ".brum.toml").write_text(SCRIPTS)
    scripts, tuning = ScriptList(tmp_path), Tuning(restart_base_s=0.01)
    async with Manager(GENERATION, Guard(GENERATION), find=scripts.find, tuning=tuning) as manager:
        yield Agent(tmp_path, manager)


async def told(agent: Agent) -> list[dict[str, Any]]:
    """Starts and ends."""
    changes: list[dict[str, Any]] = (await agent.call("changes_since"))["changes"]
    return [each for each in changes if each["kind"] not in {"ready", "url", "error"}]


def asked(changes: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(each["process_id"], each["kind"], each.get("by")) for each in changes]


@pytest.mark.promise("who-asked")
async def test_a_start_a_restart_and_a_stop_name_the_agent_that_asked(agent: Agent) -> None:
    for tool in ("scripts_run", "scripts_restart", "scripts_run", "scripts_stop"):
        waits = {} if tool == "scripts_stop" else {"wait": "none"}
        await agent.call(tool, name="dev", **waits)
    changes = await told(agent)
    assert asked(changes) == [
        ("dev-1", "started", BY),
        ("dev-1", "stopped", BY),
        ("dev-2", "started", BY),
        ("dev-2", "stopped", BY),
    ]
    assert [text.split(" ", 1)[1].split(" (")[0] for text in map(change, changes)] == [
        f"dev-1 started by {BY}",
        f"dev-1 stopped, restarted by {BY}",
        f"dev-2 started by {BY}",
        f"dev-2 stopped by {BY}",
    ]
    lines = [each["text"].split(" (")[0] for each in RunEvents().lines_of(changes)]
    assert lines == [
        f"dev started by {BY}",
        f"dev was restarted by {BY}",
        f"dev started by {BY}",
        f"dev was stopped by {BY}",
    ]


@pytest.mark.parametrize("by", ["command line", "view", "page"])
async def test_what_people_use_says_so_itself(agent: Agent, by: str) -> None:
    await agent.call("scripts_run", name="dev", wait="none", asked_by=by)
    await agent.call("scripts_restart", name="dev", wait="none", asked_by=by)
    stopped = await agent.call("scripts_stop", name="dev", asked_by=by)
    changes = await told(agent)
    assert [each.get("by") for each in changes] == [by] * 4
    assert stopped["stop_asked_by"] == by
    assert f"started from the {by}" in change(changes[0])
    assert RunEvents().lines_of(changes)[1]["text"].startswith(f"dev was restarted from the {by}")


async def test_what_an_instance_does_by_itself_names_nobody(agent: Agent) -> None:
    await agent.call("scripts_run", name="web", wait="ready", timeout_s=0)
    async with asyncio.timeout(10):
        await agent.manager.changes.until(lambda: bool((run := agent.manager.current("web")) and run.pid))
        run = await agent.call("scripts_run", name="fails", wait="ready")
    assert run["status"] in {"failed", "crash-looping"}
    await agent.manager.shutdown()
    found = asked(await told(agent))
    assert [each for each in found if each[2]] == [("web-1", "started", BY), ("fails-1", "started", BY)]
    assert {("db-1", "started", None), ("db-1", "stopped", None), ("fails-2", "started", None)} <= set(found)


async def test_the_end_of_a_run_that_nobody_stopped_names_nobody(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text('[scripts.quick]\ncommand = "true"\n')
    await agent.call("scripts_run", name="quick", wait="exit")
    assert asked(await told(agent)) == [("quick-1", "started", BY), ("quick-1", "exited", None)]


async def test_a_run_that_ends_with_its_cancelled_call_names_the_caller(agent: Agent) -> None:
    call = asyncio.create_task(agent.call("scripts_run", name="dev", wait="exit"))
    async with asyncio.timeout(10):
        await agent.manager.changes.until(lambda: bool((run := agent.manager.current("dev")) and run.pid))
        call.cancel()
        await agent.manager.changes.until(lambda: bool((run := agent.manager.current("dev")) and run.has_ended))
    assert asked(await told(agent))[-1] == ("dev-1", "stopped", BY)


@pytest.mark.parametrize(
    ("client", "by"),
    [
        ("", "an agent"),
        ("  ", "an agent"),
        ("x" * 300, "x" * 80),
        ("evil\x1b[31m\u202e\n 1", "evil\ufffd[31m\ufffd\ufffd 1"),
    ],
)
async def test_the_words_of_a_client_are_bounded_and_harmless(agent: Agent, client: str, by: str) -> None:
    agent.client = client
    await agent.call("scripts_run", name="dev", wait="none")
    assert (await told(agent))[0]["by"] == by


async def test_who_is_none_of_these_is_refused(agent: Agent) -> None:
    error = await agent.error("scripts_run", name="dev", asked_by="the king")
    assert error["code"] == "invalid_arguments"
    arguments = msgspec.json.decode(agent.table.tools_json)
    assert not any("asked_by" in tool["inputSchema"]["properties"] for tool in arguments)
