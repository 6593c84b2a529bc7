"""Scripts that ask: an agent answers through a hub and the official client, and a person by `brum attach`."""

import asyncio
import collections
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from brummer.contract.texts import lines_of
from brummer.testing.fault_proxy import FaultProxy, random_faults
from tests.integration.programs import BRUM, WAIT_S, Brum
from tests.integration.scenarios.counting import publish
from tests.integration.scenarios.persons_terminal import PersonsTerminal
from tests.integration.scenarios.stdio import Client as RawClient

PYTHON: Final = f"{sys.executable} -I -S"
ASKS: Final = """\
import getpass, sys
name = input("Name? ")
print("hello", name, flush=True)
print("the password has", len(getpass.getpass()), "characters")
"""
TAKES: Final = """\
import sys
with open("got.txt", "a", buffering=1) as got:
    for line in sys.stdin:
        got.write(line)
"""
SCRIPTS: Final = f"""\
[scripts]
piped = "exec {PYTHON} asks.py"
takes = "exec {PYTHON} takes.py"
[scripts.dev]
command = "exec {PYTHON} asks.py"
terminal = true
[scripts.takes-there]
command = "exec {PYTHON} takes.py"
terminal = true
"""
SECRET: Final = "correct horse"
SEED: Final = int(os.environ.get("SEED", "17"))
CALLS: Final = 300
UP_TO_BYTES: Final = 6_000
"""Some six calls: no connection lives longer."""


def project(brum: Brum) -> Path:
    return brum.project("shop", {".brum.toml": SCRIPTS, "asks.py": ASKS, "takes.py": TAKES})


@contextlib.asynccontextmanager
async def official_client(brum: Brum) -> AsyncIterator[Client]:
    stdio = StdioServerParameters(command=str(BRUM), args=["--mcp"], env=brum.environment, cwd=str(brum.home))
    async with Client(stdio, mode="auto") as client:
        yield client


async def answer(client: Client, tool: str, /, **arguments: Any) -> tuple[dict[str, Any], str]:
    """Data and text: a model may see only one of them."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    assert result.structured_content is not None
    [block] = result.content
    text: str = block.text  # type: ignore[union-attr]
    return result.structured_content, text


@pytest.mark.promise("typing")
@pytest.mark.parametrize("script", ["piped", "dev"])
async def test_an_agent_answers_input_and_getpass_with_what_the_answers_told_it(brum: Brum, script: str) -> None:
    directory = project(brum)
    brum.instance(directory)
    async with official_client(brum) as client:
        run, text = await answer(client, "scripts_run", name=script, timeout_s=1)
        assert (run["ready"], run["unfinished_line"]) == (False, "Name?")
        assert "scripts_input" in run["why"]
        assert "scripts_input" in text
        typed, _ = await answer(
            client, "instance_call", tool="scripts_input", arguments={"name": script, "text": "Ada"}
        )
        found, text = await answer(
            client, "wait_for", process=script, log="characters", cursor=typed["cursor"], timeout_s=1
        )
        assert (found["matched"], "Password" in found["process"]["unfinished_line"]) == (False, True)
        assert "scripts_input" in text
        typed, _ = await answer(
            client, "instance_call", tool="scripts_input", arguments={"name": script, "text": SECRET}
        )
        found, _ = await answer(client, "wait_for", process=script, log="characters", cursor=typed["cursor"])
        assert f"the password has {len(SECRET)} characters" in found["line"]["text"]
        await answer(client, "wait_for", process=script, exit=True)
        log, _ = await answer(client, "logs_tail", process=script)
        lines = [(line["stream"], line["text"]) for line in lines_of(log)]
        assert ("brum", "typed: Ada") in lines
        assert ("brum", f"typed {len(SECRET)} characters") in lines
        assert ("stdout", "hello Ada") in lines
        assert [text for _, text in lines if "Ada" in text] == ["typed: Ada", "hello Ada"]
    kept = [path for path in brum.home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == [], "no journal, log or record has it"


@pytest.mark.promise("exactly-once", "typing")
@pytest.mark.parametrize("script", ["takes", "takes-there"])
async def test_nothing_is_typed_twice_while_connections_are_cut_at_random_bytes(brum: Brum, script: str) -> None:
    directory = project(brum)
    instance = brum.instance(directory)
    port = int(instance.url.split(":")[2].split("/")[0])
    faults = random_faults(random.Random(SEED), up_to_bytes=UP_TO_BYTES)
    seen_by_hub = brum.home / "seen-by-hub"
    async with FaultProxy("127.0.0.1", port, faults) as proxy:
        publish(seen_by_hub, instance.record, url=f"http://127.0.0.1:{proxy.port}/mcp")
        environment = {**brum.environment, "BRUMMER_INSTANCES_DIR": str(seen_by_hub)}
        async with RawClient.running(BRUM, "--mcp", env=environment) as client:
            assert (await client.call("scripts_run", name=script, wait="none"))["status"] == "running"
            numbers = itertools.count()
            outcomes: dict[str, str] = {}

            async def work() -> None:
                while (number := next(numbers)) < CALLS:
                    text = f"line {number}"
                    content = await client.call_in("shop", "scripts_input", name=script, text=text)
                    outcomes[text] = content["error"]["outcome"] if "error" in content else "ok"

            await asyncio.gather(*(work() for _ in range(8)))
            cuts = proxy.counts["cuts"]
    got = collections.Counter[str]()
    async with asyncio.timeout(WAIT_S):
        while len(got) < collections.Counter(outcomes.values())["ok"]:
            await asyncio.sleep(0.01)
            got = collections.Counter((directory / "got.txt").read_text().splitlines())
    print(f"seed {SEED}: {cuts} cuts, {collections.Counter(outcomes.values())}")
    assert cuts > CALLS / 20
    assert set(got.values()) == {1}, [text for text, times in got.items() if times > 1]
    assert {text for text, outcome in outcomes.items() if outcome == "ok"} <= set(got)
    assert not {text for text, outcome in outcomes.items() if outcome == "not_executed"} & set(got)
    assert collections.Counter(outcomes.values())["ok"] > CALLS * 0.9


RESET: Final = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l")
FULL_SCREEN: Final = """\
import os, signal
def draw(*_):
    size = os.get_terminal_size()
    text = f"\\x1b[?1049h\\x1b[?25l\\x1b[?1000h\\x1b[2J\\x1b[Hscreen of {size.columns} x {size.lines}"
    os.write(1, text.encode())
signal.signal(signal.SIGWINCH, draw)
draw()
while True:
    signal.pause()
"""


class Desk:
    """A project whose scripts are attached to."""

    def __init__(self, brum: Brum) -> None:
        self.brum = brum
        scripts = f'[scripts.full]\ncommand = "exec {PYTHON} full.py"\nterminal = true\n'
        files = {".brum.toml": SCRIPTS + scripts, "asks.py": ASKS, "takes.py": TAKES, "full.py": FULL_SCREEN}
        self.directory = brum.project("shop", files)
        self.instance = brum.instance(self.directory)
        self._people: list[PersonsTerminal] = []

    def start(self, script: str, question: str = "") -> None:
        done = self.brum.run("up", "--no-wait", script, cwd=self.directory)
        assert done.status == 0, done.stderr
        deadline = time.monotonic() + WAIT_S
        while question and self.status(script).get("unfinished_line") != question:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def status(self, script: str) -> dict[str, Any]:
        done = self.brum.run("ps", "--json", cwd=self.directory)
        found: list[dict[str, Any]] = json.loads(done.stdout)["processes"]
        return next(each for each in found if each["name"] == script)

    def attach(self, *arguments: str) -> PersonsTerminal:
        self._people.append(PersonsTerminal([BRUM, "attach", *arguments], self.directory, self.brum.environment))
        return self._people[-1]

    def close(self) -> None:
        for person in self._people:
            person.close()


@pytest.fixture
def desk(brum: Brum) -> Iterator[Desk]:
    desk = Desk(brum)
    yield desk
    desk.close()


@pytest.mark.promise("typing")
def test_a_person_answers_input_and_getpass_on_their_own_terminal(desk: Desk) -> None:
    desk.start("dev", "Name?")
    person = desk.attach("dev").until("Ctrl-] leaves").until("Name?")
    person.type("Adx\x7fa\r").until("hello Ada").until("Password:")
    person.type(f"{SECRET}\r").until(f"the password has {len(SECRET)} characters").until("dev-1 has ended: exited")
    assert person.ends() == 0
    assert SECRET.encode() not in person.record
    log = desk.brum.run("logs", "dev", cwd=desk.directory).stdout
    assert "Name? Ada\n" in log
    kept = [path for path in desk.brum.home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []


@pytest.mark.promise("typing")
def test_a_person_answers_a_script_with_a_pipe_line_by_line(desk: Desk) -> None:
    desk.start("piped", "Name?")
    person = desk.attach("piped").until("takes lines").until("Name?")
    person.type("Ada\n").until("hello Ada").until("Password:")
    person.type("\x1d").until("left piped-1, which runs on")
    assert person.ends() == 0
    person = desk.attach("piped-1").until("Password:")
    person.type(f"{SECRET}\n").until(f"the password has {len(SECRET)} characters")
    assert person.ends() == 0
    log = desk.brum.run("logs", "piped", cwd=desk.directory).stdout
    assert "typed: Ada" in log
    assert f"typed {len(SECRET)} characters" in log
    assert SECRET not in log


@pytest.mark.parametrize("by", ["ctrl-]", "SIGTERM", "SIGHUP", "kill -9 of the instance", "stop of the script"])
def test_the_terminal_is_sane_afterwards_however_it_ends(desk: Desk, by: str) -> None:
    desk.start("full")
    person = desk.attach("full").until("screen of 80 x 24")
    if by == "ctrl-]":
        person.type("\x1d").until("left full-1")
        status = 0
    elif by.startswith("SIG"):
        number = signal.Signals[by]
        person.program.send_signal(number)
        status = 128 + number
    elif by.startswith("kill"):
        desk.instance.signal(signal.SIGKILL)
        person.until("the instance has ended")
        status = 1
    else:
        desk.brum.run("down", "full", cwd=desk.directory)
        status = 128 + signal.SIGTERM
    assert person.ends() == status
    after_the_screen = person.record.rpartition(b"screen of 80 x 24")[2]
    assert all(reset in after_the_screen for reset in RESET), after_the_screen
    if by.startswith(("ctrl", "SIG")):
        assert desk.status("full")["status"] == "running"


def test_several_are_attached_at_once_and_the_screen_has_the_size_of_the_last(desk: Desk) -> None:
    desk.start("full")
    one = desk.attach("full").until("screen of 80 x 24")
    one.resize(30, 100)
    one.until("screen of 100 x 30")
    other = desk.attach("full").until("screen of 80 x 24")
    one.until("screen of 80 x 24")
    other.type("\x1d").until("left full-1")
    one.until("screen of 100 x 30")


def test_what_can_not_be_attached_says_why(desk: Desk) -> None:
    assert desk.attach("dev").until("brum up starts it").ends() == 1
    assert desk.attach("nobody").until("No script is called").ends() == 1
    desk.start("takes")
    desk.brum.run("down", "takes", cwd=desk.directory)
    assert desk.attach("takes").until("brum up starts it").ends() == 1
    piped = desk.brum.run("attach", "takes", cwd=desk.directory)
    assert (piped.status, "needs a terminal" in piped.stderr) == (2, True)
    desk.instance.end()
    assert desk.attach("takes").until("nothing runs for").ends() == 3
