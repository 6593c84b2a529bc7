"""People's terminals at a run: what they see, what they type, whose size counts, and what a slow one misses."""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
import pytest

from brummer.contract.attaching import (
    BEGIN,
    END,
    FRAME_BYTES,
    INPUT,
    NOTE,
    OUTPUT,
    PATH,
    PROCESS_HEADER,
    PROTOCOL,
    SIZE,
    Attached,
    Frames,
    Size,
    frame,
    frame_of,
)
from brummer.host.terminals import COLUMNS, ROWS
from brummer.instance.attaching import MISSING, serve
from brummer.instance.manager import Manager
from brummer.instance.scripts import ScriptList
from brummer.process.guard import Guard
from brummer.wire.http.server import HttpServer
from tests.unit.agent_support import WITHIN_S, Agent

GENERATION = uuid4().hex
PYTHON = f"exec {sys.executable} -I -S"
KEPT = 100_000
"""Bytes of what a person has seen: a flood is more."""
SIZES = """\
import os, signal
tell = lambda *_: os.write(1, b"size %d %d\\n" % os.get_terminal_size())
signal.signal(signal.SIGWINCH, tell)
tell()
while True:
    signal.pause()
"""


class Person:
    """A terminal that is attached, without the terminal."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = Frames()
        self.shown = b""
        self.notes: list[str] = []
        self.begun: Attached | None = None
        self.ended: dict[str, Any] | None = None

    def type(self, data: bytes) -> None:
        self.writer.write(frame(INPUT, data))

    def resize(self, rows: int, columns: int) -> None:
        self.writer.write(frame_of(SIZE, Size(rows, columns)))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                data = await self._reader.read(1 << 16)
                assert data, (self.shown[-200:], self.ended)
                for kind, content in self._frames.feed(data):
                    self._take(kind, content)

    async def until_shown(self, wanted: bytes) -> bytes:
        """What was shown up to this; it is forgotten then."""
        await self.until(lambda: wanted in self.shown)
        before, _, self.shown = self.shown.partition(wanted)
        return before + wanted

    async def rest(self) -> None:
        with contextlib.suppress(AssertionError):
            await self.until(lambda: False)

    def _take(self, kind: bytes, content: bytes) -> None:
        if kind == OUTPUT:
            self.shown = (self.shown + content)[-KEPT:]
        elif kind == NOTE:
            self.notes.append(content.decode())
        elif kind == BEGIN:
            self.begun = msgspec.json.decode(content, type=Attached)
        elif kind == END:
            self.ended = msgspec.json.decode(content)


class Place:
    """A project, its scripts, and the way in for people."""

    def __init__(self, agent: Agent, port: int) -> None:
        self.agent = agent
        self.manager = agent.manager
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    def write(self, name: str, command: str, *, terminal: bool) -> None:
        path = self.agent.directory / ".brum.toml"
        before = path.read_text() if path.exists() else ""
        path.write_text(
            f"{before}[scripts.{name}]\ncommand = {json.dumps(command)}\nterminal = {str(terminal).lower()}\n"
        )

    async def run(self, name: str, command: str, *, terminal: bool = True) -> str:
        self.write(name, command, terminal=terminal)
        process_id: str = (await self.agent.call("scripts_run", name=name, wait="none"))["process_id"]
        return process_id

    async def ask(self, process: str, protocol: bytes = PROTOCOL) -> tuple[int, bytes, Person]:
        """Status, body if there is one, and the person."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        writer.write(
            b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: %b\r\n" % (PATH, protocol)
            + f"{PROCESS_HEADER}: {quote(process)}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split()[1])
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
        return status, await reader.readexactly(int(length or b"0")), Person(reader, writer)

    async def attach(self, process: str) -> Person:
        status, _, person = await self.ask(process)
        assert status == 101
        await person.until(lambda: person.begun is not None)
        return person

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    async def lines(self) -> list[tuple[str, str]]:
        return [(line.stream, line.text) for line in self.manager.output.log.after(0)]

    async def until_logged(self, text: str) -> None:
        seen = asyncio.Event()
        leave = self.manager.output.follow(lambda batch: seen.set() if text in batch.text else None)
        if not any(text in line for _, line in await self.lines()):
            async with asyncio.timeout(WITHIN_S):
                await seen.wait()
        leave()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with Manager(GENERATION, Guard(GENERATION), find=ScriptList(tmp_path).find) as manager:
        server = HttpServer(partial(serve, manager=manager), body_limit_bytes=0)
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        await server.start([listener])
        place = Place(Agent(tmp_path, manager), port)
        yield place
        place.close()
        await server.close()


async def test_a_person_sees_the_question_and_answers_it_by_keys(place: Place) -> None:
    await place.run("ask", f"""{PYTHON} -c "print('first'); print('got', input('Name? '))" """)
    await place.until_logged("first")
    while not place.manager.current("ask").unfinished():  # type: ignore[union-attr]
        await asyncio.sleep(0.01)
    person = await place.attach("ask")
    assert person.begun == Attached("ask-1", "ask", is_terminal=True)
    assert await person.until_shown(b"Name? ") == b"first\r\nName? "
    for key in (b"A", b"d", b"x", b"\x7f", b"a", b"\r"):
        person.type(key)
    assert await person.until_shown(b"got Ada\r\n") == b"Adx\b \ba\r\ngot Ada\r\n", "the echo, too"
    await person.until(lambda: person.ended is not None)
    assert person.ended is not None
    assert (person.ended["status"], person.ended["exit_code"]) == ("exited", 0)
    await person.rest()
    assert ("stdout", "Name? Ada") in await place.lines()


async def test_the_log_says_who_comes_and_goes(place: Place) -> None:
    await place.run("wait", "echo up; exec sleep 600")
    person = await place.attach("wait-1")
    await place.until_logged("a terminal is attached")
    person.writer.close()
    await place.until_logged("the terminal has left")


async def test_the_size_is_that_of_the_terminal_that_came_or_changed_last(place: Place) -> None:
    await place.run("sizes", f"""{PYTHON} -c '{SIZES}'""")
    await place.until_logged(f"size {COLUMNS} {ROWS}")
    one = await place.attach("sizes")
    one.resize(24, 80)
    await one.until_shown(b"size 80 24")
    other = await place.attach("sizes")
    other.resize(30, 100)
    await one.until_shown(b"size 100 30")
    one.resize(25, 81)
    await other.until_shown(b"size 81 25")
    one.writer.close()
    await other.until_shown(b"size 100 30")
    other.writer.close()
    await place.until_logged(f"size {COLUMNS} {ROWS}")


async def test_a_terminal_of_the_same_size_has_the_screen_drawn_for_it(place: Place) -> None:
    await place.run("sizes", f"""{PYTHON} -c '{SIZES}'""")
    one = await place.attach("sizes")
    one.resize(24, 80)
    await one.until_shown(b"size 80 24")
    other = await place.attach("sizes")
    await other.until_shown(b"size 80 24")
    other.resize(24, 80)
    await other.until_shown(b"size 80 23")
    await other.until_shown(b"size 80 24")


async def test_a_program_that_fills_the_screen_is_met_with_its_modes_and_without_earlier_lines(place: Place) -> None:
    screen = "\\x1b[?1049h\\x1b[?1h\\x1b[Hmenu"
    await place.run("menu", f"""{PYTHON} -c "print('before'); print('{screen}', flush=True); input()" """)
    await place.until_logged("menu")
    person = await place.attach("menu")
    assert await person.until_shown(b"\x1b[?1h") == b"\x1b[?1049h\x1b[?1h"


async def test_a_script_with_a_pipe_takes_lines_and_the_log_has_them(place: Place) -> None:
    await place.run("ask", f"""{PYTHON} -c "print('got', input('Name? '))" """, terminal=False)
    while not place.manager.current("ask").unfinished():  # type: ignore[union-attr]
        await asyncio.sleep(0.01)
    person = await place.attach("ask")
    assert person.begun == Attached("ask-1", "ask", is_terminal=False)
    await person.until_shown(b"Name? ")
    person.type("Jörg".encode())
    await person.until_shown("got Jörg\n".encode())
    assert ("brum", "typed: Jörg") in await place.lines()
    await person.rest()


async def test_a_script_that_does_not_read_its_pipe_is_named(place: Place) -> None:
    await place.run("deaf", "exec sleep 600", terminal=False)
    person = await place.attach("deaf")
    for _ in range(20):
        person.type(b"x" * 4095)
    person.type(b"x" * 5000)
    await person.until(lambda: len(person.notes) > 1)
    assert "does not read its input" in person.notes[0]


async def test_what_is_pasted_waits_for_its_program_and_more_is_refused(place: Place) -> None:
    code = "import sys, tty; tty.setraw(0); print('up', flush=True); input.buffer"
    code = code.replace("input.buffer", "open('go').read(); print(len(sys.stdin.buffer.read(200_000)), flush=True)")
    (place.agent.directory / "go").touch()
    await place.run("slow", f"""cd {place.agent.directory}; rm go; mkfifo go; {PYTHON} -c "{code}" """)
    await place.until_logged("up")
    person = await place.attach("slow")
    for _ in range(4):
        person.type(b"x" * 50_000)
    for _ in range(1 + 1024 * 1024 // FRAME_BYTES):
        person.type(b"x" * FRAME_BYTES)
    await person.until(lambda: bool(person.notes))
    assert "does not read its input" in person.notes[0]
    await asyncio.to_thread((place.agent.directory / "go").write_text, "now")
    await person.until_shown(b"200000")


async def test_a_terminal_that_does_not_read_misses_output_and_delays_nothing(place: Place) -> None:
    place.write("many", "while read -r n; do head -c $n /dev/zero | tr '\\0' x; echo done; done", terminal=True)
    await place.agent.call("scripts_run", name="many", wait="none")
    slow = await place.attach("many")
    other = await place.attach("many")
    other.type(b"20000000\r")
    await other.until(lambda: b"done" in other.shown[-20:])
    await slow.until_shown(MISSING)
    other.type(b"10\r")
    await slow.until_shown(b"xxxxxxxxxxdone")


async def test_a_flood_is_seen_by_those_who_are_attached(place: Place) -> None:
    line = "a line of usual length, as servers print it"
    command = f"read -r x; yes {line} | head -c 20000000; echo; echo end; exec sleep 600"
    await place.run("flood", command, terminal=False)
    person = await place.attach("flood")
    person.type(b"")
    await person.until(lambda: b"end" in person.shown[-2000:])


@pytest.mark.parametrize(
    ("process", "code"), [("nobody", "invalid_arguments"), ("quick", "has_ended"), ("shut", "no_input")]
)
async def test_what_can_not_be_attached_says_why(place: Place, process: str, code: str) -> None:
    place.write("quick", "true", terminal=False)
    place.write("shut", "exec sleep 600", terminal=False)
    await place.agent.call("scripts_run", name="quick", wait="exit")
    ending = asyncio.create_task(place.agent.call("scripts_run", name="shut", wait="exit"))
    while place.manager.current("shut") is None:
        await asyncio.sleep(0)
    status, body, _ = await place.ask(process)
    assert (status, msgspec.json.decode(body)["error"]["code"]) == (409, code)
    await place.agent.call("scripts_stop", name="shut")
    await ending


async def test_another_protocol_is_refused(place: Place) -> None:
    status, _, _ = await place.ask("any", b"websocket")
    assert status == 426


async def test_one_who_sends_no_frames_is_dropped(place: Place) -> None:
    await place.run("wait", "exec sleep 600")
    person = await place.attach("wait")
    person.writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await person.rest()
    await place.until_logged("the terminal has left")
