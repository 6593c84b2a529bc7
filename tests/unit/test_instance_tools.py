import asyncio
import base64
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from brummer.contract.texts import lines_of
from brummer.contract.tools import INSTANCE_TOOLS
from brummer.core.errors import NoDescriptorFree
from brummer.host.pids import identify
from brummer.instance.black_box import Past
from brummer.instance.environment import packed
from brummer.instance.live_run import Tuning
from brummer.instance.manager import Manager
from brummer.instance.run import Run
from brummer.instance.scripts import ScriptList
from brummer.instance.tools import LAST_LINE_LENGTH, instance_tools
from brummer.logs.output import Stamp
from brummer.process.child import start
from brummer.process.guard import Guard
from brummer.wire.mcp.server import CLIENT_GONE
from brummer.wire.mcp.tools import ToolTable
from tests.unit.agent_support import WITHIN_S, Agent, texts

GENERATION = uuid4().hex
"""Of this test run alone: its mark is on every process, and what carries it is ended wherever it is."""
SERVER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print("on http://localhost:%d" % server.getsockname()[1], flush=True)
time.sleep(600)
"""
PROCFILE = {
    "server": f"exec {sys.executable} -I server.py",
    "sleeper": "echo up; exec sleep 600",
    "late": f"while [ ! -e go ]; do sleep 0.05; done; exec {sys.executable} -I server.py",
    "quick": "echo one; echo two >&2",
    "broken": "echo about to fail; exit 3",
    "slow": "sleep 0.2; echo late",
}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "Procfile").write_text("".join(f"{name}: {command}\n" for name, command in PROCFILE.items()))
    async with Manager(GENERATION, Guard(GENERATION), find=ScriptList(tmp_path).find) as manager:
        yield Agent(tmp_path, manager)


async def test_the_tools_are_those_of_the_contract_in_its_order(tmp_path: Path) -> None:
    tools = instance_tools(Manager(GENERATION, Guard(GENERATION)), ScriptList(tmp_path))
    assert [tool.definition for tool in tools] == [tool.as_instance_tool() for tool in INSTANCE_TOOLS]


async def test_scripts_are_listed_with_what_could_not_be_read(agent: Agent) -> None:
    (agent.directory / "package.json").write_text("{")
    (agent.directory / "Makefile").write_text("all:\n")
    answer = await agent.call("scripts_list")
    assert [script["name"] for script in answer["scripts"]] == ["all", *PROCFILE]
    assert answer["scripts"][0] == {
        "name": "all",
        "command": "make all",
        "source": "Makefile",
        "directory": str(agent.directory),
    }
    assert [(problem["source"], problem["line"]) for problem in answer["problems"]] == [("package.json", 1)]


async def test_an_agent_never_sees_colours_and_the_command_line_may(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("dev: printf '\\033[31mbad\\033[0m thing\\n'\n")
    await agent.call("scripts_run", name="dev", wait="exit")
    found = [
        texts(await agent.call("logs_tail")),
        texts(await agent.call("logs_search", query="bad thing")),
        texts(await agent.call("logs_search", query="bad", around=1)),
        [(await agent.call("wait_for", process="dev", log="bad", since="1h"))["line"]["text"]],
    ]
    assert found == [["bad thing"]] * 4
    for tool, arguments in (("logs_tail", {}), ("logs_search", {"query": "^bad thing", "regex": True})):
        assert texts(await agent.call(tool, colours=True, **arguments)) == ["\x1b[31mbad\x1b[0m thing"]


async def test_an_agent_learns_that_a_script_may_wait_for_input(agent: Agent) -> None:
    scripts = {"asks": "printf 'Name? '; read x", "reads": "cat", "works": "echo up; exec sleep 600"}
    ends = {"ends": "printf 'Name? '; read x", "fails": "echo nothing is asked; exit 1"}
    (agent.directory / "Procfile").write_text(
        "".join(f"{name}: {command}\n" for name, command in (scripts | ends).items())
    )
    await agent.call("scripts_run", name="works", wait="none")
    assert (await agent.call("wait_for", process="works", log="up", since="1h"))["matched"]
    why = {name: (await agent.call("scripts_run", name=name, timeout_s=0.3))["why"] for name in scripts}
    assert [name for name in why if "scripts_input" in why[name]] == ["asks", "reads"]
    assert (await agent.call("scripts_run", name="asks", timeout_s=0))["unfinished_line"] == "Name?"
    waited = await agent.call("wait_for", process="asks", log="never", timeout_s=0.1)
    assert (waited["matched"], waited["process"]["unfinished_line"]) == (False, "Name?")
    assert '{"name":"asks","text":"…"}' in waited["why"]
    assert (await agent.call("wait_for", log="never", timeout_s=0.1))["process"]["name"] == "asks"
    assert "why" not in await agent.call("wait_for", process="works", log="never", timeout_s=0.1)
    answer = await agent.call("scripts_run", name="ends", wait="exit")
    assert (answer["status"], "wait=ready" in answer["why"]) == ("failed", True)
    assert "why" not in await agent.call("scripts_run", name="fails", wait="exit")


def packed_environment(**variables: str) -> str:
    return base64.b64encode(packed({"PATH": os.environ["PATH"], **variables})).decode()


async def test_a_run_says_from_when_its_environment_is_if_that_is_older_than_the_call(agent: Agent) -> None:
    async def run(tool: str = "scripts_run", **arguments: object) -> object:
        return (await agent.call(tool, name="sleeper", wait="none", **arguments)).get("environment_from")

    own = agent.manager.own_environment.since
    assert await run() == own, "an agent brings none"
    assert await run(environment=packed_environment(A="1")) == own, "it runs already, in another one"
    assert await run("scripts_restart", environment=packed_environment(A="1")) is None
    assert await run(environment=packed_environment(A="1", SHLVL="7")) is None
    kept = await run("scripts_restart")
    assert isinstance(kept, str)
    assert kept > own, "that of the last start, which a command has brought"


async def test_an_environment_of_a_call_that_is_none_is_refused_and_nothing_starts(agent: Agent) -> None:
    for bad in (base64.b64encode(b"A=secret\0junk\0").decode(), "%%%"):
        error = await agent.error("scripts_run", name="quick", environment=bad)
        assert (error["code"], error["context"]["argument"]) == ("invalid_arguments", "environment")
        assert "secret" not in str(error)
    assert agent.manager.current("quick") is None


async def test_a_run_whose_end_is_waited_for_gets_the_end_of_its_input_and_another_does_not(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("reads: cat; echo read\n")
    for tool in ("scripts_run", "scripts_restart"):
        assert (await agent.call(tool, name="reads", wait="exit"))["last_lines"] == ["read"]
        assert (await agent.call(tool, name="reads", wait="exit", timeout_s=WITHIN_S))["status"] == "exited"
    run = await agent.call("scripts_run", name="reads", wait="exit", timeout_s=WITHIN_S)
    assert run["status"] == "exited"
    assert (await agent.call("scripts_restart", name="reads", wait="exit"))["status"] == "exited"
    await agent.call("scripts_run", name="reads", wait="none")
    waited = await agent.call("wait_for", process="reads", exit=True, timeout_s=0.2)
    assert waited["matched"] is None or not waited["matched"]


async def test_a_script_that_starts_by_itself_is_listed_as_such(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text("[scripts.server]\nautostart = true\n")
    listed = (await agent.call("scripts_list"))["scripts"]
    assert [script["name"] for script in listed if script.get("autostart")] == ["server"]


async def test_a_script_that_names_a_proof_of_being_ready_is_listed_with_it(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text("[scripts.server]\nready = { port = 3000 }\n")
    listed = (await agent.call("scripts_list"))["scripts"]
    assert {script["name"]: script["ready"] for script in listed if "ready" in script} == {"server": {"port": 3000}}


async def test_running_a_server_answers_with_its_url_when_it_is_ready(agent: Agent) -> None:
    answer = await agent.call("scripts_run", name="server")
    assert answer["status"] == "ready"
    assert answer["already_running"] is False
    assert answer["process_id"] == "server-1"
    assert answer["last_lines"] == []
    [url] = answer["urls"]
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 1):
        pass


def made_older(run: Run, seconds: float) -> None:
    """As if it had been started so much earlier."""
    began = datetime.fromisoformat(run.started_at) - timedelta(seconds=seconds)
    run.started_at = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_in(why: str) -> int:
    """How long the run has lasted, the last time of the text."""
    return int(re.findall(r" (?:for|in) (\d+) s", why)[-1])


LONG_TIMEOUT_S = 3_600
"""Nobody waits so long in these tests: an answer has come at once."""


async def test_a_script_that_has_run_long_without_listening_is_not_waited_for(agent: Agent) -> None:
    first = await agent.call("scripts_run", name="sleeper", timeout_s=0.01)
    assert (first["status"], first["ready"]) == ("running", False)
    assert "has not listened" in first["why"]
    run = agent.manager.current("sleeper")
    assert run is not None
    made_older(run, 431)
    again = await agent.call("scripts_run", name="sleeper", timeout_s=LONG_TIMEOUT_S)
    assert (again["already_running"], again["ready"]) == (True, False)
    assert seconds_in(again["why"]) >= 431
    restarted = await agent.call("scripts_restart", name="sleeper", timeout_s=LONG_TIMEOUT_S)
    assert (restarted["process_id"], restarted["ready"]) == ("sleeper-2", False)
    assert seconds_in(restarted["why"]) < 431


async def test_a_server_that_still_starts_is_waited_for_by_each_call(agent: Agent) -> None:
    """As when a client gives up after five seconds and asks again: its server listens after twelve."""
    await agent.call("scripts_run", name="late", timeout_s=0.01)
    run = agent.manager.current("late")
    assert run is not None
    made_older(run, 20)
    again = asyncio.create_task(agent.call("scripts_run", name="late", timeout_s=LONG_TIMEOUT_S))
    await asyncio.sleep(0)
    (agent.directory / "go").touch()
    assert (await again)["status"] == "ready"


async def test_a_script_that_listened_in_its_last_run_is_waited_for(agent: Agent) -> None:
    first = await agent.call("scripts_run", name="server")
    assert "ready_at" in first
    assert not {"ready", "why"} & first.keys()
    again = await agent.call("scripts_restart", name="server")
    assert (again["process_id"], again["status"]) == ("server-2", "ready")


class Earlier(Past):
    """What an earlier generation has written: these runs, or an error."""

    def __init__(self, *runs: dict[str, Any] | OSError) -> None:
        super().__init__(Path, "g")
        self._earlier = runs

    async def processes(self, name: str) -> list[dict[str, Any]]:
        assert name == "sleeper"
        found = []
        for run in self._earlier:
            if isinstance(run, OSError):
                raise run
            found.append(run)
        return found


STARTED = "2026-11-23T14:05:00.000Z"


@pytest.mark.parametrize(
    ("earlier", "is_waited_for"),
    [
        ({"started_at": STARTED, "ended_at": "2026-11-23T14:05:10.000Z"}, False),
        ({"started_at": STARTED, "ended_at": "2026-11-23T14:05:09.000Z"}, True),
        ({"started_at": STARTED, "ended_at": None}, True),
        ({"started_at": STARTED, "ready_at": STARTED, "ended_at": "2026-11-23T14:05:30.000Z"}, True),
        (OSError("the disk is gone"), True),
    ],
    ids=["did not listen", "was too short", "its end is not known", "listened", "can't be read"],
)
async def test_a_run_of_an_earlier_generation_tells_whether_a_script_listens(
    agent: Agent, earlier: dict[str, Any] | OSError, *, is_waited_for: bool
) -> None:
    tools = instance_tools(agent.manager, ScriptList(agent.directory), Earlier(earlier))
    agent.table = ToolTable(tools)
    answer = await agent.call("scripts_run", name="sleeper", timeout_s=0.1 if is_waited_for else LONG_TIMEOUT_S)
    assert answer["ready"] is False
    assert ("in its last run" in answer["why"]) is not is_waited_for


async def test_a_script_that_names_a_proof_is_waited_for_however_long_it_has_run(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text("[scripts.sleeper]\nready = { log = 'never' }\n")
    await agent.call("scripts_run", name="sleeper", wait="none")
    run = agent.manager.current("sleeper")
    assert run is not None
    made_older(run, 431)
    answer = await agent.call("scripts_run", name="sleeper", timeout_s=0.01)
    assert (answer["ready"], "`ready` setting names" in answer["why"]) == (False, True)
    assert seconds_in(answer["why"]) >= 431


async def test_a_script_that_waits_for_another_says_so(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text(
        "[scripts.quick]\ndepends_on = ['sleeper']\n[scripts.sleeper]\nready = { log = 'never' }\n"
    )
    answer = await agent.call("scripts_run", name="quick", timeout_s=0.2)
    assert (answer["status"], answer["why"]) == ("pending", "it waits for sleeper")


@pytest.mark.promise("run-ensures")
async def test_running_it_again_returns_the_one_that_runs(agent: Agent) -> None:
    first = await agent.call("scripts_run", name="sleeper", wait="none")
    second = await agent.call("scripts_run", name="sleeper", wait="none")
    assert (second["pid"], second["already_running"]) == (first["pid"], True)


async def test_one_that_does_not_stop_in_time_is_not_waited_for_any_longer(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text("[scripts.deaf]\nstop_timeout_s = 5\n")
    with (agent.directory / "Procfile").open("a") as procfile:
        procfile.write("deaf: trap '' TERM; echo up; while :; do sleep 0.01; done\n")
    await agent.call("scripts_run", name="deaf", wait="none")
    await agent.call("wait_for", process="deaf", log="up", since="1h")
    stopping = asyncio.create_task(agent.call("scripts_stop", name="deaf"))
    run = agent.manager.current("deaf")
    assert run
    while run.state != "stopping":
        await asyncio.sleep(0)
    error = await agent.error("scripts_run", name="deaf", timeout_s=0.05)
    assert (error["code"], error["retryable"], error["outcome"]) == ("still_stopping", True, "not_executed")
    assert run.pid
    os.killpg(run.pid, signal.SIGKILL)
    assert (await stopping)["status"] == "stopped"


async def test_what_runs_is_returned_even_when_its_script_is_gone(agent: Agent) -> None:
    await agent.call("scripts_run", name="sleeper", wait="none")
    (agent.directory / "Procfile").unlink()
    assert (await agent.call("scripts_run", name="sleeper", wait="none"))["already_running"] is True


async def test_a_script_that_fails_is_a_result_with_its_exit_code_and_last_lines(agent: Agent) -> None:
    answer = await agent.call("scripts_run", name="broken", wait="exit")
    assert (answer["status"], answer["exit_code"], answer["signal"]) == ("failed", 3, None)
    assert answer["last_lines"] == ["about to fail"]


async def test_a_server_that_fails_before_it_is_ready_ends_the_wait(agent: Agent) -> None:
    answer = await agent.call("scripts_run", name="broken", wait="ready")
    assert (answer["status"], answer["last_lines"]) == ("failed", ["about to fail"])


async def test_a_wait_that_is_over_answers_with_what_is_known(agent: Agent) -> None:
    answer = await agent.call("scripts_run", name="sleeper", wait="ready", timeout_s=0.2)
    assert (answer["status"], answer["last_lines"], answer["exit_code"]) == ("running", ["up"], None)


async def test_a_very_long_last_line_is_cut_visibly(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("long: head -c 3000 /dev/zero | tr '\\0' x\n")
    [line] = (await agent.call("scripts_run", name="long", wait="exit"))["last_lines"]
    assert line.startswith("x" * LAST_LINE_LENGTH + " ")
    assert len(line) < LAST_LINE_LENGTH + 50


async def cancelled_while_it_waits(agent: Agent, tool: str, *reason: str) -> None:
    call = asyncio.create_task(agent.call(tool, name="sleeper", wait="exit"))
    await agent.call("wait_for", process="sleeper", log="up", since="1h")
    call.cancel(*reason)
    await asyncio.wait([call])


@pytest.mark.promise("a-cancelled-wait")
@pytest.mark.parametrize("tool", ["scripts_run", "scripts_restart"])
async def test_a_cancelled_call_that_waits_for_the_end_of_its_run_ends_the_run(agent: Agent, tool: str) -> None:
    await cancelled_while_it_waits(agent, tool)
    assert (await agent.call("wait_for", process="sleeper", exit=True, timeout_s=5))["matched"]
    process = (await agent.call("scripts_status"))["processes"][0]
    assert (process["status"], process["stop_asked_by"]) == ("stopped", "cancelled call")
    ended = (await agent.call("changes_since"))["changes"][-1]
    assert (ended["kind"], ended["stop_asked_by"]) == ("stopped", "cancelled call")


@pytest.mark.parametrize("tool", ["scripts_run", "scripts_restart"])
async def test_a_call_cancelled_while_its_script_becomes_ready_leaves_it_and_the_next_call_finds_it(
    agent: Agent, tool: str
) -> None:
    call = asyncio.create_task(agent.call(tool, name="sleeper", wait="ready", timeout_s=60))
    await agent.call("wait_for", process="sleeper", log="up", since="1h")
    call.cancel()
    await asyncio.wait([call])
    again = await agent.call("scripts_run", name="sleeper", wait="none")
    assert (again["already_running"], again["status"]) == (True, "running")
    assert "stop_asked_by" not in again


async def deaf(agent: Agent) -> str:
    """Run a script that has to be killed; returns its process."""
    (agent.directory / ".brum.toml").write_text("[scripts.deaf]\nstop_timeout_s = 0.3\n")
    with (agent.directory / "Procfile").open("a") as procfile:
        procfile.write("deaf: trap '' TERM; echo up; while :; do sleep 0.01; done\n")
    run = await agent.call("scripts_run", name="deaf", wait="none")
    await agent.call("wait_for", process="deaf", log="up", since="1h")
    process_id: str = run["process_id"]
    return process_id


@pytest.mark.parametrize(("wait", "status"), [("ready", "running"), ("exit", "stopped")])
async def test_a_restart_continues_if_it_is_cancelled_while_the_run_before_stops(
    agent: Agent, wait: str, status: str
) -> None:
    first = await deaf(agent)
    call = asyncio.create_task(agent.call("scripts_restart", name="deaf", wait=wait))
    while agent.manager.runs()[-1].state != "stopping":
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    async with asyncio.timeout(WITHIN_S):
        await agent.manager.changes.until(lambda: len(agent.manager.runs()) > 1, WITHIN_S)
        await agent.manager.changes.until(lambda: agent.manager.runs()[-1].state == status, WITHIN_S)
    assert agent.manager.runs()[-1].process_id != first


async def test_a_cancelled_stop_stops_the_script_all_the_same(agent: Agent) -> None:
    await deaf(agent)
    call = asyncio.create_task(agent.call("scripts_stop", name="deaf"))
    while agent.manager.runs()[-1].state != "stopping":
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    assert (await agent.call("wait_for", process="deaf", exit=True, timeout_s=WITHIN_S))["matched"]


async def test_a_cancelled_call_leaves_what_ran_before_it(agent: Agent) -> None:
    await agent.call("scripts_run", name="sleeper", wait="none")
    await cancelled_while_it_waits(agent, "scripts_run")
    assert (await agent.call("scripts_status"))["processes"][0]["status"] == "running"


async def test_a_call_whose_client_has_gone_leaves_the_process_running(agent: Agent) -> None:
    await cancelled_while_it_waits(agent, "scripts_run", CLIENT_GONE)
    assert (await agent.call("scripts_status"))["processes"][0]["status"] == "running"


async def test_a_script_that_can_not_start_is_an_error_that_says_why(agent: Agent) -> None:
    (agent.directory / "package.json").write_text('{"packageManager": "bun@1", "scripts": {"dev": "x"}}')
    error = await agent.error("scripts_run", name="dev")
    assert error["code"] == "script_failed_to_start"
    assert error["context"]["command"] == ["bun", "run", "dev"]
    [process] = (await agent.call("scripts_status", name="dev"))["processes"]
    assert (process["status"], process["reason"]) == ("failed", error["message"])


async def test_an_unknown_script_is_answered_with_the_nearest(agent: Agent) -> None:
    error = await agent.error("scripts_run", name="sleepr")
    assert (error["code"], error["context"]["nearest"]) == ("not_found", "sleeper")
    assert error["context"]["known"] == list(PROCFILE)


async def test_stopping_returns_when_all_of_it_is_gone(agent: Agent) -> None:
    pid = (await agent.call("scripts_run", name="sleeper", wait="none"))["pid"]
    answer = await agent.call("scripts_stop", name="sleeper")
    assert (answer["status"], answer["already_stopped"], answer["pid"]) == ("stopped", False, None)
    assert identify(pid) is None
    assert (await agent.call("scripts_stop", process_id="sleeper-1"))["already_stopped"] is True


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "invalid_arguments"),
        ({"name": "sleeper"}, "invalid_arguments"),
        ({"name": "nothing"}, "not_found"),
        ({"process_id": "sleeper-7"}, "not_found"),
        ({"name": "slow", "process_id": "quick-1"}, "invalid_arguments"),
    ],
)
async def test_only_what_was_started_can_be_stopped(agent: Agent, arguments: dict[str, str], code: str) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    assert (await agent.error("scripts_stop", **arguments))["code"] == code


async def test_a_restart_takes_the_script_as_it_is_now(agent: Agent) -> None:
    await agent.call("scripts_run", name="sleeper", wait="none")
    (agent.directory / "Procfile").write_text("sleeper: echo new; exit 4\n")
    answer = await agent.call("scripts_restart", process_id="sleeper-1", wait="exit")
    assert (answer["process_id"], answer["exit_code"], answer["last_lines"]) == ("sleeper-2", 4, ["new"])
    assert (await agent.error("scripts_restart", process_id="sleeper-1"))["code"] == "invalid_arguments"


@pytest.mark.parametrize("waits", [False, True])
async def test_a_restart_that_stopped_the_old_run_and_can_not_start_a_new_one_is_not_not_executed(
    tmp_path: Path, *, waits: bool
) -> None:
    starts: list[Any] = []

    def only_once(*arguments: Any, **more: Any) -> Any:
        starts.append(arguments)
        if len(starts) > 1:
            raise NoDescriptorFree("no descriptor is left", outcome="not_executed")
        return start(*arguments, **more)

    (tmp_path / "Procfile").write_text("sleeper: exec sleep 600\n")
    (tmp_path / ".env").touch()
    (tmp_path / ".brum.toml").write_text('[scripts.sleeper]\nenv_file = ".env"\n' if waits else "")
    async with Manager(GENERATION, Guard(GENERATION), tuning=Tuning(start=only_once)) as manager:
        agent = Agent(tmp_path, manager)
        await agent.call("scripts_run", name="sleeper", wait="none")
        assert await manager.changes.until(lambda: bool(starts), WITHIN_S)
        error = await agent.error("scripts_restart", name="sleeper")
        assert (error["code"], error["outcome"], error["retryable"]) == ("no_descriptor_left", "failed", False)
        again = await agent.error("scripts_restart", name="sleeper")
        assert (again["outcome"], again["retryable"]) == ("not_executed", True)


async def test_a_restart_of_what_never_ran_starts_it(agent: Agent) -> None:
    assert (await agent.call("scripts_restart", name="quick", wait="exit"))["process_id"] == "quick-1"


async def test_the_state_is_that_of_the_latest_runs_or_of_all_runs_of_one(agent: Agent) -> None:
    for name in ("quick", "broken", "quick"):
        await agent.call("scripts_run", name=name, wait="exit")
    every = (await agent.call("scripts_status"))["processes"]
    assert [process["process_id"] for process in every] == ["broken-1", "quick-2"]  # what failed comes first
    one = (await agent.call("scripts_status", name="quick"))["processes"]
    assert [process["process_id"] for process in one] == ["quick-2", "quick-1"]
    assert (await agent.call("scripts_status", name="slow"))["processes"] == []
    assert (await agent.error("scripts_status", name="nothing"))["code"] == "not_found"


async def test_lines_are_read_by_process_or_run_and_on_from_a_cursor(agent: Agent) -> None:
    for name in ("quick", "broken", "quick"):
        await agent.call("scripts_run", name=name, wait="exit")
    assert len(texts(await agent.call("logs_tail"))) == 5
    assert sorted(texts(await agent.call("logs_tail", process="quick"))) == ["one", "one", "two", "two"]
    run = await agent.call("logs_tail", process="quick-2")
    assert sorted(texts(run)) == ["one", "two"]
    assert {line["stream"] for line in lines_of(run)} == {"stdout", "stderr"}
    assert texts(await agent.call("logs_tail", cursor=run["cursor"])) == []
    await agent.call("scripts_run", name="broken", wait="exit")
    assert texts(await agent.call("logs_tail", cursor=run["cursor"])) == ["about to fail"]


@pytest.mark.promise("nothing-cut-silently")
async def test_earlier_lines_are_read_page_by_page_and_each_page_says_where_the_next_ends(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("dev: seq 100; echo quick\nother: seq 100\n")
    for name in ("dev", "other"):
        await agent.call("scripts_run", name=name, wait="exit")
    page = await agent.call("logs_tail", process="dev", limit=30)
    found, cursor = [texts(page)], page["cursor"]
    before = lines_of(page)[0]["n"]
    while before is not None:
        page = await agent.call("logs_tail", process="dev", limit=30, before=before, cursor=cursor, wait_s=20)
        assert (page.get("more", False), page["cursor"]) == ("before" in page, cursor)
        found.append(texts(page))
        before = page.get("before")
    assert [len(each) for each in found] == [30, 30, 30, 11]
    assert [text for each in reversed(found) for text in each] == [*map(str, range(1, 101)), "quick"]


async def test_a_search_goes_back_from_its_first_hit_and_not_from_the_lines_around_it(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("dev: seq 100\n")
    await agent.call("scripts_run", name="dev", wait="exit")
    last = await agent.call("logs_search", query="5$", regex=True, limit=2, around=2, before=1_000)
    assert (last["hits"], last["before"], last["more"]) == ([85, 95], 85, True)
    earlier = await agent.call("logs_search", query="5$", regex=True, limit=100, before=last["before"])
    assert (texts(earlier)[-1], "more" in earlier) == ("75", False)


async def test_the_text_of_an_earlier_page_says_how_to_go_on_to_earlier_ones(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("dev: seq 10\n")
    await agent.call("scripts_run", name="dev", wait="exit")
    encoded = await agent.table.call("logs_tail", b'{"limit":2,"before":9}', agent)
    text = msgspec.json.decode(encoded)["content"][0]["text"]
    assert "there are earlier lines: before=7" in text
    assert "newer" not in text


@pytest.mark.parametrize("before", [0, -3, 2**53, 1.5, "many"])
async def test_a_number_that_no_line_has_is_refused(agent: Agent, before: object) -> None:
    assert (await agent.error("logs_tail", before=before))["context"]["argument"] == "before"


async def test_what_an_answer_leaves_out_is_counted(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    answer = await agent.call("logs_tail", limit=1)
    assert (len(lines_of(answer)), answer["omitted"], answer["dropped"]) == (1, 1, 0)
    other = await agent.call("logs_tail", cursor="earlier.99")
    assert (len(lines_of(other)), other["cursor_reset"]) == (2, True)


async def test_lines_are_searched_for_a_text_or_an_expression(agent: Agent) -> None:
    for name in ("quick", "broken"):
        await agent.call("scripts_run", name=name, wait="exit")
    assert texts(await agent.call("logs_search", query="about")) == ["about to fail"]
    assert texts(await agent.call("logs_search", query="^(one|two)$", process="broken", regex=True)) == []
    assert sorted(texts(await agent.call("logs_search", query="^(one|two)$", regex=True))) == ["one", "two"]
    assert texts(await agent.call("logs_search", query="^(one|two)$")) == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("logs_search", {"query": "(", "regex": True}),
        ("logs_tail", {"cursor": "nonsense"}),
        ("logs_tail", {"cursor": "nonsense." + "9" * 5_000}),
        ("logs_tail", {"limit": 0}),
        ("wait_for", {}),
        ("wait_for", {"log": "["}),
        ("changes_since", {"cursor": "nonsense"}),
        ("scripts_run", {"name": "quick", "wait": "forever"}),
        ("scripts_run", {"name": "quick", "surprise": 1}),
    ],
)
async def test_arguments_that_can_not_be_taken_are_refused(
    agent: Agent, tool: str, arguments: dict[str, object]
) -> None:
    assert (await agent.error(tool, **arguments))["code"] == "invalid_arguments"


@pytest.mark.promise("patterns-are-bounded")
async def test_a_catastrophic_expression_is_refused_soon(agent: Agent) -> None:
    agent.manager.output.add_lines("web", "stdout", ["a" * 50 + "b"], 0)
    assert (await agent.error("logs_search", query="(a+)+$", regex=True))["code"] == "invalid_arguments"
    waiting = asyncio.create_task(agent.error("wait_for", log="(b+)+$"))
    run = agent.call("scripts_run", name="bs", wait="exit")
    (agent.directory / "Procfile").write_text(f"bs: echo {'b' * 50}a\n")
    await run
    assert (await waiting)["code"] == "invalid_arguments"


@pytest.mark.promise("waits-block")
async def test_waiting_for_a_line_since_a_time_finds_one_that_was_printed_before(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    answer = await agent.call("wait_for", process="quick", log="^on", since="1h", timeout_s=0)
    assert (answer["matched"], answer["what"], answer["line"]["text"]) == (True, "log", "one")


@pytest.mark.promise("waits-block")
async def test_without_a_cursor_waiting_for_a_line_finds_none_from_before_the_call(agent: Agent) -> None:
    begin = (await agent.call("scripts_status"))["cursor"]
    await agent.call("scripts_run", name="quick", wait="exit")
    (agent.directory / "Procfile").write_text("quick: echo one more; exec sleep 600\n")
    again = await agent.call("scripts_run", name="quick", wait="ready", timeout_s=0.2)
    assert again["last_lines"] == ["one more"]
    wanted = {"process": "quick", "log": "one", "timeout_s": 0}
    assert (await agent.call("wait_for", **wanted))["matched"] is False
    assert (await agent.call("wait_for", **wanted, cursor=again["cursor"]))["matched"] is False
    assert (await agent.call("wait_for", **wanted, cursor=begin))["line"]["text"] == "one"


async def test_the_cursor_of_a_wait_is_after_its_line_and_the_next_wait_finds_the_next(agent: Agent) -> None:
    cursor = (await agent.call("scripts_run", name="sleeper", wait="none"))["cursor"]
    for number in (1, 2, 3):
        agent.manager.output.add_lines("sleeper", "stdout", [f"request {number}"], 0)
    found = []
    for _ in range(3):
        answer = await agent.call("wait_for", log="request", cursor=cursor, timeout_s=0)
        found.append(answer["line"]["text"])
        cursor = answer["cursor"]
    assert found == ["request 1", "request 2", "request 3"]
    last = await agent.call("wait_for", log="request", cursor=cursor, timeout_s=0)
    assert (last["matched"], texts(await agent.call("logs_tail", cursor=last["cursor"]))) == (False, [])


async def test_waiting_after_a_cursor_finds_lines_and_ends_of_runs_that_are_over(agent: Agent) -> None:
    begin = (await agent.call("logs_tail"))["cursor"]
    await agent.call("scripts_run", name="broken", wait="exit")
    for wanted in ({"exit": True}, {"log": "about to fail"}):
        match = await agent.call("wait_for", **wanted, cursor=begin, timeout_s=0)
        assert match["process"]["process_id"] == "broken-1"
        assert (await agent.call("wait_for", **wanted, cursor=match["cursor"], timeout_s=0))["matched"] is False


async def test_waiting_after_a_cursor_of_another_generation_looks_at_all_lines_and_says_so(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    match = await agent.call("wait_for", log="one", cursor="another.7.7", timeout_s=0)
    assert (match["matched"], match["cursor_reset"]) == (True, True)
    assert (await agent.call("logs_tail", cursor="of-an-earlier-version.7"))["cursor_reset"] is True
    assert (await agent.error("wait_for", log="one", cursor="nonsense"))["code"] == "invalid_arguments"


async def test_every_answer_has_a_cursor_from_which_all_tools_go_on(agent: Agent) -> None:
    async def news(cursor: str) -> tuple[list[str], list[str]]:
        """The texts of the lines, and the kinds of the changes, after it."""
        changes = (await agent.call("changes_since", cursor=cursor))["changes"]
        return texts(await agent.call("logs_tail", cursor=cursor)), [change["kind"] for change in changes]

    begin = (await agent.call("scripts_status"))["cursor"]
    run = await agent.call("scripts_run", name="broken", wait="exit")
    assert await news(begin) == (["about to fail"], ["started", "failed"])
    for tool, arguments in (
        ("scripts_status", {"name": "broken"}),
        ("logs_search", {"query": "fail"}),
        ("changes_since", {}),
        ("wait_for", {"process": "broken", "exit": True}),
        ("scripts_stop", {"name": "broken"}),
    ):
        assert (await agent.call(tool, **arguments))["cursor"] == run["cursor"], tool
    assert await news(run["cursor"]) == ([], [])
    restarted = await agent.call("scripts_restart", name="broken", wait="exit")
    assert await news(run["cursor"]) == (["about to fail"], ["started", "failed"])
    assert await news(restarted["cursor"]) == ([], [])
    read = await agent.call("logs_tail", cursor=begin)
    assert await news(read["cursor"]) == ([], ["started", "failed"] * 2)  # what was not read is still to come


async def test_waiting_for_a_line_finds_one_that_comes_later_in_any_process(agent: Agent) -> None:
    waiting = asyncio.create_task(agent.call("wait_for", log="late"))
    await agent.call("scripts_run", name="slow", wait="none")
    answer = await waiting
    assert (answer["what"], answer["process"]["name"], answer["line"]["process"]) == ("log", "slow", "slow")


async def test_waiting_does_not_find_lines_of_an_earlier_run(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="exit")
    (agent.directory / "Procfile").write_text("quick: exec sleep 600\n")
    await agent.call("scripts_run", name="quick", wait="none")
    answer = await agent.call("wait_for", process="quick", log="one", since="1h", timeout_s=0.05)
    assert (answer["matched"], answer["what"], answer["process"]["process_id"]) == (False, None, "quick-2")


async def test_waiting_for_several_things_ends_with_the_first(agent: Agent) -> None:
    waiting = asyncio.create_task(agent.call("wait_for", process="broken", log="never", ready=True, exit=True))
    await agent.call("scripts_run", name="broken", wait="none")
    answer = await waiting
    assert (answer["matched"], answer["what"], answer["process"]["exit_code"]) == (True, "exit", 3)


async def test_waiting_for_an_end_finds_a_death_by_signal(agent: Agent) -> None:
    pid = (await agent.call("scripts_run", name="sleeper", wait="none"))["pid"]
    waiting = asyncio.create_task(agent.call("wait_for", exit=True))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    answer = await waiting
    assert (answer["what"], answer["process"]["signal"]) == ("exit", "SIGKILL")


async def test_waiting_for_readiness_finds_what_is_ready_already(agent: Agent) -> None:
    await agent.call("scripts_run", name="server")
    answer = await agent.call("wait_for", process="server", ready=True, timeout_s=0)
    assert (answer["what"], len(answer["process"]["urls"])) == ("ready", 1)


async def test_waiting_for_a_script_that_has_not_started_takes_no_other_for_it(agent: Agent) -> None:
    await agent.call("scripts_run", name="server")
    answer = await agent.call("wait_for", process="broken", ready=True, timeout_s=0)
    assert (answer["matched"], answer["process"]) == (False, None)


async def test_waiting_for_what_an_ended_process_can_not_do_any_more_ends_at_once(agent: Agent) -> None:
    await agent.call("scripts_run", name="broken", wait="exit")
    answer = await agent.call("wait_for", process="broken", ready=True, log="never", timeout_s=60)
    assert (answer["matched"], answer["process"]["status"]) == (False, "failed")


async def test_waiting_for_a_script_goes_on_while_somebody_restarts_it(agent: Agent) -> None:
    await agent.call("scripts_run", name="sleeper", wait="none")
    (agent.directory / "Procfile").write_text("sleeper: echo up again; exec sleep 600\n")
    waiting = asyncio.create_task(agent.call("wait_for", process="sleeper", log="again"))
    await asyncio.sleep(0)
    await agent.call("scripts_restart", name="sleeper", wait="none")
    answer = await waiting
    assert (answer["matched"], answer["process"]["process_id"]) == (True, "sleeper-2")


async def test_a_script_that_is_called_as_a_run_of_another_is_meant_by_its_name(agent: Agent) -> None:
    with (agent.directory / "Procfile").open("a") as procfile:
        procfile.write("quick-2: echo I am another; exec sleep 600\n")
    for name in ("quick", "quick"):
        await agent.call("scripts_run", name=name, wait="exit")
    await agent.call("scripts_run", name="quick-2", wait="none")
    assert (await agent.call("wait_for", process="quick-2", log="another", since="1h"))["matched"] is True
    assert texts(await agent.call("logs_tail", process="quick-2")) == ["I am another"]
    assert [each["name"] for each in (await agent.call("scripts_status", name="quick-2"))["processes"]] == ["quick-2"]
    waiting = asyncio.create_task(agent.call("wait_for", process="quick-2", exit=True, timeout_s=0.2))
    await agent.call("scripts_run", name="quick", wait="exit")
    assert (await waiting)["matched"] is False


async def test_waiting_for_one_run_does_not_wait_for_those_that_follow_it(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text('[scripts.loop]\ncommand = "exit 1"\nrestart = "always"\n')
    await agent.call("scripts_run", name="loop", wait="exit")
    match = await agent.call("wait_for", process="loop-1", ready=True, timeout_s=600)
    assert (match["matched"], match["process"]["process_id"]) == (False, "loop-1")
    await agent.call("scripts_stop", name="loop")


async def test_waiting_for_a_port_ends_when_somebody_listens(agent: Agent) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert (await agent.call("wait_for", port=port, timeout_s=0.1))["matched"] is False
    with socket.create_server(("127.0.0.1", port)):
        assert (await agent.call("wait_for", port=port, timeout_s=0))["matched"] is True
        answer = await agent.call("wait_for", port=port)
    assert (answer["matched"], answer["what"], answer["process"]) == (True, "port", None)


async def test_a_wait_for_an_unknown_process_is_refused(agent: Agent) -> None:
    assert (await agent.error("wait_for", process="nothing", exit=True))["code"] == "not_found"


async def test_a_cancelled_wait_leaves_nobody_listening(agent: Agent) -> None:
    waiting = asyncio.create_task(agent.call("wait_for", log="x", port=9, exit=True))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert "0 followers" in repr(agent.manager.output)
    assert "0 listeners" in repr(agent.manager.changes)


async def test_long_waits_report_progress(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brummer.instance.tools.PROGRESS_EVERY_S", 0.02)
    await agent.call("wait_for", log="never", timeout_s=0.1)
    assert agent.progress
    assert agent.progress == sorted(agent.progress)


async def test_what_happened_is_told_from_a_cursor_on(agent: Agent) -> None:
    begin = (await agent.call("changes_since"))["cursor"]
    await agent.call("scripts_run", name="broken", wait="exit")
    answer = await agent.call("changes_since", cursor=begin)
    assert [(change["kind"], change["process_id"]) for change in answer["changes"]] == [
        ("started", "broken-1"),
        ("failed", "broken-1"),
    ]
    assert answer["changes"][1]["last_lines"] == ["about to fail"]
    assert "last_lines" not in answer["changes"][0]
    assert (await agent.call("changes_since", cursor=answer["cursor"]))["changes"] == []


TRACE = """
print("starting", flush=True)
raise ValueError("no such table")
"""


async def crashed(agent: Agent) -> dict[str, Any]:
    (agent.directory / "crash.py").write_text(TRACE)
    (agent.directory / "Procfile").write_text(f"crash: {sys.executable} -I crash.py\n")
    return await agent.call("scripts_run", name="crash", wait="exit")


@pytest.mark.promise("errors-are-recognised")
async def test_an_error_in_the_output_is_a_change_and_the_failure_names_it(agent: Agent) -> None:
    process = await crashed(agent)
    where = f"{agent.directory}/crash.py:3"
    errors = process["errors"]
    assert (errors["count"], errors["since_start"]) == (1, 1)
    assert [(errors[name], errors[place]) for name, place in (("first", "where"), ("last", "last_where"))] == [
        ("ValueError: no such table", where)
    ] * 2
    assert process["started_at"] <= errors["last_at"] <= process["ended_at"]
    started, error, failed = (await agent.call("changes_since"))["changes"]
    assert (started["kind"], error["kind"], failed["kind"]) == ("started", "error", "failed")
    assert (error["title"], error["where"], error["count"]) == ("ValueError: no such table", where, 1)
    assert error["lines"][-1] == "ValueError: no such table"
    assert failed["first_error"] == f"ValueError: no such table ({where})"
    line = (await agent.call("logs_search", query="Traceback"))["lines"][0]
    assert error["first_n"] == line["n"]


async def test_an_error_of_a_process_that_lives_on_is_reported_too(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("on: echo 'ERROR no route'; echo '1 failed, 2 passed in 3s'; sleep 600\n")
    waiting = asyncio.create_task(agent.manager.changes.until(lambda: "error" in kinds(agent), WITHIN_S))
    await agent.call("scripts_run", name="on", wait="none")
    assert await waiting
    [process] = (await agent.call("scripts_status"))["processes"]
    assert (process["errors"]["first"], process["summary"]) == ("ERROR no route", "1 failed, 2 passed")


RELOADS = """
import sys, time
print("INFO:     Started server process [1]", flush=True)
print("ERROR no cake", flush=True)
sys.stdin.readline()
print("INFO:     Started server process [2]", flush=True)
sys.stdin.readline()
print("Traceback (most recent call last):", flush=True)
time.sleep(0.1)
print('  File "/srv/app.py", line 3, in pie', flush=True)
time.sleep(0.1)
print("KeyError: 'pie'", flush=True)
time.sleep(600)
"""


async def test_the_errors_of_a_server_that_reloads_are_counted_from_its_last_start_and_the_last_is_named(
    agent: Agent,
) -> None:
    os.mkfifo(agent.directory / "edits")
    (agent.directory / "reloads.py").write_text(RELOADS)
    (agent.directory / "Procfile").write_text(f"on: exec {sys.executable} -I reloads.py < edits\n")
    cursor = (await agent.call("scripts_run", name="on", wait="none"))["cursor"]
    edits = await asyncio.to_thread((agent.directory / "edits").open, "w")
    with edits:
        broken = await agent.call("wait_for", log="no cake", cursor=cursor)
        assert broken["process"]["errors"]["since_start"] == 1

        print(file=edits, flush=True)
        mended = await agent.call("wait_for", log="Started", cursor=broken["cursor"])
        assert (mended["process"]["errors"]["count"], mended["process"]["errors"]["since_start"]) == (1, 0)

        print(file=edits, flush=True)
        await agent.call("wait_for", log="Traceback", cursor=mended["cursor"])  # and for the rest of it
        errors = (await agent.call("scripts_status"))["processes"][0]["errors"]
        assert (errors["count"], errors["first"], errors["since_start"]) == (2, "ERROR no cake", 1)
        assert (errors["last"], errors["last_where"]) == ("KeyError: 'pie'", "/srv/app.py:3")
        [change] = (await agent.call("changes_since", cursor=mended["cursor"]))["changes"]
        assert (change["kind"], change["title"]) == ("error", errors["last"])
        assert errors["last_at"] <= change["at"]


def kinds(agent: Agent) -> list[str]:
    return [change.kind for change in agent.manager.changes.log.after(0)]


async def test_lines_are_chosen_by_level_with_the_whole_of_a_stack_trace(agent: Agent) -> None:
    await crashed(agent)
    agent.manager.output.add_lines("web", "stdout", ["WARN disk is nearly full"], 0)
    agent.manager.output.add_lines("web", "stdout", ["DEBUG nothing"], 0)
    errors = texts(await agent.call("logs_tail", level="error"))
    assert (errors[0], errors[-1]) == ("Traceback (most recent call last):", "ValueError: no such table")
    assert len(errors) >= 3
    assert texts(await agent.call("logs_tail", level="warning")) == [*errors, "WARN disk is nearly full"]
    assert texts(await agent.call("logs_search", query="disk", level="warning")) == ["WARN disk is nearly full"]


async def test_a_stack_trace_that_has_just_been_printed_is_chosen_by_level_as_a_whole(agent: Agent) -> None:
    trace = ["Traceback (most recent call last):", '  File "/srv/app.py", line 3, in f', "    g()", "ValueError: no"]
    (agent.directory / "trace").write_text("\n".join([*trace, ""]))
    (agent.directory / "Procfile").write_text("on: cat trace; exec sleep 600\n")
    cursor = (await agent.call("logs_tail"))["cursor"]
    await agent.call("scripts_run", name="on", wait="none")
    await agent.call("wait_for", process="on", log="ValueError", cursor=cursor)
    assert texts(await agent.call("logs_tail", level="error", cursor=cursor)) == trace


async def test_lines_are_chosen_by_time(agent: Agent) -> None:
    agent.manager.output.add_lines("web", "stdout", ["long ago"], 1_000_000_000)
    await agent.call("scripts_run", name="quick", wait="exit")
    assert sorted(texts(await agent.call("logs_tail", since=600))) == ["one", "two"]
    assert texts(await agent.call("logs_tail", since="2001-09-09T01:46:40Z"))[0] == "long ago"
    assert "long ago" not in texts(await agent.call("logs_tail", since="2001-09-09T01:46:41+00:00"))
    assert (await agent.error("logs_tail", since="yesterday"))["context"]["argument"] == "since"


@pytest.mark.parametrize("since", ["10m", "600", 600, "600s", "0.5h", "2 min"])
async def test_how_long_ago_may_be_seconds_or_a_duration(agent: Agent, since: object) -> None:
    agent.manager.output.add_lines("web", "stdout", ["long ago"], time.time() - 7_200)
    agent.manager.output.add_lines("web", "stdout", ["just now"], time.time() - 1)
    assert texts(await agent.call("logs_tail", since=since)) == ["just now"]


async def test_a_time_of_day_as_the_lines_show_it_is_that_of_the_last_24_hours(agent: Agent) -> None:
    now_s = time.time()
    for ago_s in (86_000, 3_600, 60):
        agent.manager.output.add_lines("web", "stdout", [f"{ago_s} ago"], now_s - ago_s)
    for ago_s, shown in ((86_000, 3), (3_600, 2), (60, 1)):
        since = time.strftime("%H:%M:%S", time.gmtime(now_s - ago_s))
        assert len(lines_of(await agent.call("logs_tail", since=since))) == shown
        assert len(lines_of(await agent.call("logs_tail", since=f"{since}.000Z"))) == shown


@pytest.mark.parametrize(
    "since", ["yesterday", "-5m", "1764460800", 1764460800, "20261130", "25:00:00", "5 apples", "²"]
)
async def test_a_time_that_could_mean_two_things_or_nothing_is_refused(agent: Agent, since: object) -> None:
    for tool, arguments in (("logs_tail", {}), ("logs_search", {"query": "x"}), ("wait_for", {"log": "x"})):
        error = await agent.error(tool, **{"since": since, **arguments})
        assert (error["code"], error["context"]["argument"]) == ("invalid_arguments", "since")


@pytest.mark.parametrize("tool", [tool.name for tool in INSTANCE_TOOLS])
async def test_a_misspelt_instance_that_the_hub_did_not_remove_is_refused(agent: Agent, tool: str) -> None:
    for name in ("instanse", "Instance"):
        context = (await agent.error(tool, **{name: "shop"}))["context"]
        assert (context["argument"], context["nearest"]) == (name, "instance")
    assert (await agent.error(tool, instance="shop"))["context"]["argument"] == "instance"


async def test_a_framework_that_fills_in_every_parameter_can_wait_for_an_end(agent: Agent) -> None:
    await agent.call("scripts_run", name="quick", wait="none", timeout_s="30")
    nothing = {"log": None, "since": "", "ready": False, "port": 0}
    answer = await agent.call("wait_for", process="quick", exit=True, timeout_s=30.0, **nothing)
    assert (answer["matched"], answer["what"]) == (True, "exit")
    filled = {"process": "", "level": None, "since": "", "limit": 5.0, "limit_bytes": "2000", "cursor": ""}
    assert sorted(texts(await agent.call("logs_tail", **filled))) == ["one", "two"]


async def test_a_hit_is_shown_with_its_neighbours(agent: Agent) -> None:
    for number in range(1, 10):
        agent.manager.output.add_lines("web", "stdout", [f"line {number}"], 0)
        agent.manager.output.add_lines("other", "stdout", ["noise"], 0)
    answer = await agent.call("logs_search", query="line [48]", regex=True, around=1)
    assert texts(answer) == [f"line {number}" for number in (3, 4, 5, 7, 8, 9)]
    assert answer["hits"] == [7, 15]
    narrow = await agent.call("logs_search", query="line 4", around=5, limit_bytes=200)
    assert (texts(narrow), narrow["without_context"]) == (["line 4"], 1)


async def test_an_answer_keeps_to_the_bytes_it_was_given_and_says_what_it_left_out(agent: Agent) -> None:
    for number in range(100):
        agent.manager.output.add_lines("web", "stdout", [f"{number:03}" * 100], 0)
    newest = await agent.call("logs_tail", limit_bytes=2000)
    assert texts(newest)[-1].startswith("099")
    assert newest["omitted"] == 100 - len(lines_of(newest))
    assert len(msgspec.json.encode(newest["lines"])) <= 2000
    on = await agent.call("logs_tail", limit_bytes=2000, cursor="gen.0.0")
    assert (texts(on)[0][:3], on["more"]) == ("000", True)


async def test_waiting_for_a_line_does_not_find_one_from_before_the_time_given(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("on: echo ready; sleep 0.4; echo ready again; sleep 600\n")
    await agent.call("scripts_run", name="on", wait="none")
    first = await agent.call("wait_for", process="on", log="ready", since="1h")
    assert first["line"]["text"] == "ready"
    while Stamp()(time.time()) == first["line"]["at"]:  # a line of this very millisecond counts
        await asyncio.sleep(0)
    later = await agent.call("wait_for", process="on", log="ready", since=0)
    assert later["line"]["text"] == "ready again"


async def test_waiting_since_a_time_finds_processes_that_have_ended_since(agent: Agent) -> None:
    since = Stamp()(time.time())
    await agent.call("scripts_run", name="broken", wait="exit")
    for wanted in ({"exit": True}, {"log": "about to fail"}):
        assert (await agent.call("wait_for", since=since, timeout_s=0, **wanted))["process"]["name"] == "broken"
        assert (await agent.call("wait_for", timeout_s=0, **wanted))["matched"] is False
    assert (await agent.call("wait_for", exit=True, since=Stamp()(time.time() + 60), timeout_s=0))["matched"] is False


async def test_while_somebody_waits_for_a_line_none_may_be_left_out(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("on: sleep 600\n")
    await agent.call("scripts_run", name="on", wait="none")
    output = agent.manager.output
    waiting = asyncio.create_task(agent.call("wait_for", process="on", exit=True))
    await asyncio.sleep(0)
    assert output.may_be_sampled
    for_a_line = asyncio.create_task(agent.call("wait_for", process="on", log="ready"))
    while output.may_be_sampled:
        await asyncio.sleep(0)
    for_a_line.cancel()
    waiting.cancel()
    await asyncio.wait([for_a_line, waiting])
    assert output.may_be_sampled


async def test_a_question_that_nobody_answers_is_shown(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("ask: printf 'Overwrite? [y/N] '; exec sleep 600\n")
    answer = await agent.call("scripts_run", name="ask", wait="ready", timeout_s=0.5)
    assert (answer["status"], answer["unfinished_line"]) == ("running", "Overwrite? [y/N]")
    assert texts(await agent.call("logs_tail")) == []
    assert "unfinished_line" not in await agent.call("scripts_stop", name="ask")
    assert texts(await agent.call("logs_tail")) == ["Overwrite? [y/N] "]
