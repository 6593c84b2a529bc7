"""Typing to a script: what it gets, what its log says, and what is refused."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from brummer.contract.texts import lines_of
from brummer.contract.tools import INPUT_BYTES, TypeIn
from brummer.core.errors import InvalidArguments
from brummer.instance.manager import Manager
from brummer.instance.script_input import NoInput, key_names, typed
from brummer.instance.scripts import ScriptList
from brummer.process.guard import Guard
from tests.unit.agent_support import Agent, texts
from tests.unit.agents_page import unnamed_fields

GENERATION = uuid4().hex
PYTHON = f"{sys.executable} -I -S"
SCRIPTS = {
    "asks": "import sys; print('got', repr(input('Continue? [y/N] ')))",
    "twice": "print('got', repr(input('One? '))); print('got', repr(input('Two? ')))",
    "secret": "import getpass; print('got', len(getpass.getpass('Key: ')))",
    "password": "print('got', len(input('Password: ')))",
    "raw": "import os, tty; tty.setraw(0); print('ready', end='', flush=True); print('got', os.read(0, 99), end='')",
    "counts": "import sys; print('ready', flush=True); print('got', len(sys.stdin.read()))",
    "chats": "print('ready', flush=True); print('got', input(), flush=True); input()",
    "arrows": "import os, tty; tty.setraw(0); print('\\x1b[?1hready', end='', flush=True); print('got', os.read(0, 9))",
}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    lines = ["[scripts]"]
    for name, code in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(code)
        lines.append(f'{name} = "exec {PYTHON} {name}.py"')
    on_terminals = [(f"[scripts.{name}-there]", f'command = "exec {PYTHON} {name}.py"') for name in SCRIPTS]
    lines += [line for pair in on_terminals for line in (*pair, "terminal = true")]
    (tmp_path / ".brum.toml").write_text("\n".join(lines))
    async with Manager(GENERATION, Guard(GENERATION), find=ScriptList(tmp_path).find) as manager:
        yield Agent(tmp_path, manager)


async def started(agent: Agent, name: str, question: str) -> dict[str, Any]:
    """A run that waits at this question."""
    run = await agent.call("scripts_run", name=name, wait="none")
    while (await agent.call("scripts_status", name=name))["processes"][0].get("unfinished_line") != question:
        await asyncio.sleep(0.01)
    return run


async def until_it_says(agent: Agent, process: str, cursor: str, log: str) -> str:
    found = await agent.call("wait_for", process=process, log=log, cursor=cursor)
    assert found["matched"], found
    text: str = found["line"]["text"]
    return text


async def log_of(agent: Agent) -> list[tuple[str, str]]:
    return [(line["stream"], line["text"]) for line in lines_of(await agent.call("logs_tail"))]


@pytest.mark.parametrize("where", ["", "-there"])
async def test_a_question_is_answered_and_the_log_reads_as_it_went(agent: Agent, where: str) -> None:
    run = await started(agent, f"asks{where}", "Continue? [y/N]")
    answer = await agent.call("scripts_input", name=f"asks{where}", text="y")
    assert (answer["process_id"], answer["written"]) == (run["process_id"], 2)
    assert unnamed_fields(answer) == set()
    assert await until_it_says(agent, f"asks{where}", answer["cursor"], "got") == "got 'y'"
    assert await log_of(agent) == [
        ("stdout", "Continue? [y/N] "),
        ("brum", "typed: y"),
        ("stdout", "got 'y'"),
    ]


@pytest.mark.parametrize("where", ["", "-there"])
async def test_a_question_that_was_answered_is_asked_no_more(agent: Agent, where: str) -> None:
    await started(agent, f"twice{where}", "One?")
    await agent.call("scripts_input", name=f"twice{where}", text="1")
    await started(agent, f"twice{where}", "Two?")
    answer = await agent.call("scripts_input", process_id=f"twice{where}-1", text="2")
    assert await until_it_says(agent, f"twice{where}", answer["cursor"], "got") == "got '2'"


async def test_a_line_that_is_typed_is_no_line_of_the_script_and_matches_no_wait(agent: Agent) -> None:
    await started(agent, "asks-there", "Continue? [y/N]")
    answer = await agent.call("scripts_input", name="asks-there", text="Error: never mind")
    found = await agent.call("wait_for", process="asks-there", log="never mind", cursor=answer["cursor"])
    assert found["line"]["text"] == "got 'Error: never mind'"


async def test_what_is_typed_while_the_echo_is_off_is_not_shown(agent: Agent) -> None:
    await started(agent, "secret-there", "Key:")
    answer = await agent.call("scripts_input", name="secret-there", text="hunter2")
    assert await until_it_says(agent, "secret-there", answer["cursor"], "got") == "got 7"
    log = await log_of(agent)
    assert ("brum", "typed 7 characters") in log
    assert "hunter2" not in str(log)


@pytest.mark.parametrize("where", ["", "-there"])
async def test_what_answers_a_question_for_a_password_is_not_shown(agent: Agent, where: str) -> None:
    await started(agent, f"password{where}", "Password:")
    answer = await agent.call("scripts_input", name=f"password{where}", text="p")
    assert await until_it_says(agent, f"password{where}", answer["cursor"], "got") == "got 1"
    assert ("brum", "typed 1 character") in await log_of(agent)


async def test_keys_arrive_as_a_terminal_sends_them(agent: Agent) -> None:
    await started(agent, "raw-there", "ready")
    answer = await agent.call("scripts_input", name="raw-there", text="a", enter=False, keys="up Tab esc ctrl-c X")
    assert answer["written"] == 8
    assert "got b'a\\x1b[A\\t\\x1b\\x03X'" in await until_it_says(agent, "raw-there", answer["cursor"], "got")
    assert ("brum", "typed 2 characters (without Enter) [up tab esc ctrl-c]") in await log_of(agent)


async def test_arrows_are_those_that_the_program_has_asked_for(agent: Agent) -> None:
    await started(agent, "arrows-there", "ready")
    answer = await agent.call("scripts_input", name="arrows-there", keys="down")
    assert "b'\\x1bOB'" in await until_it_says(agent, "arrows-there", answer["cursor"], "got")


@pytest.mark.parametrize(("where", "status"), [("", "exited"), ("-there", "exited")])
async def test_ctrl_d_ends_the_input(agent: Agent, where: str, status: str) -> None:
    await agent.call("scripts_run", name=f"counts{where}", wait="none")
    await agent.call("wait_for", process=f"counts{where}", log="ready", since="1h")
    await agent.call("scripts_input", name=f"counts{where}", text="12345", keys="ctrl-d")
    ended = await agent.call("wait_for", process=f"counts{where}", exit=True)
    assert ended["process"]["status"] == status
    assert texts(await agent.call("logs_tail"))[-1] == "got 6"
    error = await agent.error("scripts_input", process_id=f"counts{where}-1", text="6")
    assert (error["code"], error["outcome"]) == ("has_ended", "not_executed")


async def test_a_pipe_that_was_ended_takes_nothing_more(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("reads: cat; exec sleep 600\n")
    await agent.call("scripts_run", name="reads", wait="none")
    assert (await agent.call("scripts_input", name="reads", keys="ctrl-d"))["written"] == 0
    error = await agent.error("scripts_input", name="reads", text="6")
    assert (error["code"], error["outcome"]) == ("no_input", "not_executed")


async def test_what_a_script_does_not_read_is_refused(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("deaf: exec sleep 600\n")
    await agent.call("scripts_run", name="deaf", wait="none")
    for _ in range(64 * 1024 // INPUT_BYTES):
        assert (await agent.call("scripts_input", name="deaf", text="x" * 4095))["written"] == INPUT_BYTES
    error = await agent.error("scripts_input", name="deaf", text="x")
    assert (error["code"], error["outcome"], error["retryable"]) == ("not_reading", "not_executed", True)


async def test_only_what_runs_and_has_an_input_can_be_typed_to(agent: Agent) -> None:
    (agent.directory / "Procfile").write_text("quick: true\nlong: exec sleep 600\n")
    assert (await agent.error("scripts_input", name="quick", text="y"))["code"] == "invalid_arguments"
    await agent.call("scripts_run", name="quick", wait="exit")
    assert (await agent.error("scripts_input", name="quick", text="y"))["code"] == "has_ended"
    assert (await agent.error("scripts_input", name="nobody", text="y"))["code"] == "not_found"
    assert (await agent.error("scripts_input", text="y"))["code"] == "invalid_arguments"
    ended = asyncio.create_task(agent.call("scripts_run", name="long", wait="exit"))
    while agent.manager.current("long") is None:
        await asyncio.sleep(0)
    assert (await agent.error("scripts_input", name="long", text="y"))["code"] == "no_input"
    await agent.call("scripts_stop", name="long")
    await ended


async def test_a_script_that_waits_to_be_started_has_no_input_yet(agent: Agent) -> None:
    (agent.directory / ".brum.toml").write_text(
        '[scripts]\nfirst = "exec sleep 600"\n[scripts.second]\ncommand = "cat"\ndepends_on = ["first"]\n'
    )
    await agent.call("scripts_run", name="second", wait="none")
    assert (await agent.error("scripts_input", name="second", text="y"))["code"] == "no_input"


@pytest.mark.parametrize(
    ("wanted", "data", "shown"),
    [
        (TypeIn(text="a\nb"), b"a\rb\r", "typed: a\nb"),
        (TypeIn(text="a\r\nb", enter=False), b"a\rb", "typed: a\nb (without Enter)"),
        (TypeIn(text="é"), "é\r".encode(), "typed: é"),
        (TypeIn(), b"\r", "typed: [enter]"),
        (TypeIn(keys="down  down enter"), b"\x1b[B\x1b[B\r", "typed: [down down enter]"),
        (TypeIn(text="fo", enter=False, keys="tab"), b"fo\t", "typed: fo (without Enter) [tab]"),
        (
            TypeIn(keys="ctrl-d ctrl-\\ pageup delete"),
            b"\x04\x1c\x1b[5~\x1b[3~",
            "typed: [ctrl-d ctrl-\\ pageup delete]",
        ),
    ],
)
def test_text_and_keys_become_what_a_terminal_sends(wanted: TypeIn, data: bytes, shown: str) -> None:
    found = typed(wanted, to_terminal=True)
    assert (found.data, found.shown, found.ends_input) == (data, shown, False)


def test_a_pipe_gets_lines_as_programs_write_them() -> None:
    found = typed(TypeIn(text="a\nb", keys="tab enter ctrl-d"), to_terminal=False)
    assert (found.data, found.ends_input) == (b"a\nb\n\t\n", True)


@pytest.mark.parametrize("key", ["up", "ctrl-c", "esc"])
def test_a_key_that_is_no_character_needs_a_terminal(key: str) -> None:
    with pytest.raises(NoInput) as caught:
        typed(TypeIn(keys=key), to_terminal=False)
    assert caught.value.context == {"key": key}


def test_every_key_that_is_listed_is_known() -> None:
    names = [name for name in key_names() if " " not in name]
    assert len(names) > 10
    assert len(typed(TypeIn(keys=" ".join(names)), to_terminal=True).data) >= len(names)


@pytest.mark.parametrize(
    "wanted", [TypeIn(enter=False), TypeIn(keys="hyper-x"), TypeIn(text="é" * 2048), TypeIn(text="x" * INPUT_BYTES)]
)
def test_nothing_an_unknown_key_and_too_much_are_refused(wanted: TypeIn) -> None:
    with pytest.raises(InvalidArguments):
        typed(wanted, to_terminal=True)
