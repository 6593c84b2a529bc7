"""`brum attach` between a person's terminal and an instance: what passes, how it ends, and the terminal afterwards."""

import argparse
import asyncio
import os
import signal
import socket
import termios
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from brummer.cli.attached_terminal import AttachedTerminal, EndOfAttachment, switched
from brummer.cli.colour import Paint
from brummer.cli.commands import attach
from brummer.cli.project import CallFailed
from brummer.contract.attaching import BEGIN, END, INPUT, NOTE, OUTPUT, SIZE, Attached, Frames, Size, frame, frame_of
from brummer.core.terminal_modes import PLAIN
from brummer.host.lent_terminal import LentTerminal
from brummer.host.terminals import resize

WITHIN_S = 30


class Both:
    """The person at one end, the instance at the other."""

    def __init__(
        self, session: AttachedTerminal, instance: tuple[asyncio.StreamReader, asyncio.StreamWriter], pty: int
    ) -> None:
        self._session = session
        self._reader, self.writer = instance
        self._frames = Frames()
        self.pty = pty
        self.ending: asyncio.Task[EndOfAttachment] = asyncio.create_task(session.run())
        self.typed: list[bytes] = []
        self.sizes: list[Size] = []
        self.shown = b""

    def begin(self, *, is_terminal: bool) -> None:
        self.send(frame_of(BEGIN, Attached("dev-1", "dev", is_terminal)))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self, **facts: Any) -> None:
        process = {"name": "dev", "process_id": "dev-1", "status": "exited", "exit_code": None, "signal": None, **facts}
        self.send(frame(END, msgspec.json.encode(process)))

    def type(self, data: bytes) -> None:
        os.write(self.pty, data)

    async def until_typed(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                for kind, content in self._frames.feed(await self._reader.read(1 << 16)):
                    if kind == INPUT:
                        self.typed.append(content)
                    elif kind == SIZE:
                        self.sizes.append(msgspec.json.decode(content, type=Size))

    async def until_shown(self, wanted: bytes) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            while wanted not in self.shown:
                await self._more()
        return self.shown

    async def _more(self) -> None:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self.pty, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self.pty)
        self.shown += os.read(self.pty, 1 << 16)

    async def result(self) -> EndOfAttachment:
        async with asyncio.timeout(WITHIN_S):
            return await self.ending


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """Afterwards the terminal is as it was."""
    ours, theirs = socket.socketpair()
    outside, inside = os.openpty()
    resize(outside, 24, 80)
    before = termios.tcgetattr(inside)
    ours.setblocking(False)
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    with LentTerminal(inside, inside) as terminal:
        session = AttachedTerminal(terminal, reader, writer, Paint(colourful=True))
        both = Both(session, await asyncio.open_connection(sock=theirs), outside)
        yield both
        both.writer.close()
        await both.result()
    writer.close()
    assert termios.tcgetattr(inside) == before
    os.close(outside)
    os.close(inside)


async def test_every_key_goes_to_a_script_with_a_terminal_until_ctrl_bracket(both: Both) -> None:
    both.begin(is_terminal=True)
    await both.until_typed(lambda: bool(both.sizes))
    assert both.sizes == [Size(24, 80)]
    both.type(b"a\x03\x1b[A")
    await both.until_typed(lambda: b"".join(both.typed) == b"a\x03\x1b[A")
    both.type(b"z\x1dmore")
    assert (await both.result()).status == 0
    assert "runs on" in (await both.result()).says
    await both.until_typed(lambda: both.typed[-1] == b"z")


@pytest.mark.parametrize("leaving", [b"\x1b[93;5u", b"\x1b[27;5;93~"])
async def test_ctrl_bracket_leaves_also_as_terminals_send_it_in_other_modes(both: Both, leaving: bytes) -> None:
    both.begin(is_terminal=True)
    await both.until_typed(lambda: bool(both.sizes))
    both.type(leaving)
    assert (await both.result()).status == 0


async def test_what_a_script_has_changed_of_the_terminal_is_taken_back(both: Both) -> None:
    both.begin(is_terminal=True)
    both.send(frame(OUTPUT, b"\x1b[?1049h\x1b[?25l\x1b[?1000hmenu"))
    await both.until_shown(b"\x1b[?1000hmenu")
    both.end()
    assert (await both.result()).status == 1, "neither code nor signal is known"
    await both.until_shown(PLAIN + b"\x1b[?1000l\x1b[?25h\x1b[?1049l\r\n")


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"exit_code": 0}, 0),
        ({"exit_code": 7, "status": "failed"}, 7),
        ({"signal": "SIGTERM", "status": "failed"}, 143),
    ],
)
async def test_the_exit_status_is_that_of_the_script(both: Both, facts: dict[str, Any], status: int) -> None:
    both.begin(is_terminal=True)
    both.send(frame(OUTPUT, b"last words"))
    both.end(**facts)
    ending = await both.result()
    assert (ending.status, "dev-1 has ended" in ending.says) == (status, True)
    await both.until_shown(b"last words")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
async def test_a_signal_ends_it_as_usual_and_gives_the_terminal_back(both: Both, number: signal.Signals) -> None:
    both.begin(is_terminal=True)
    await both.until_typed(lambda: bool(both.sizes))
    os.kill(os.getpid(), number)
    assert (await both.result()).status == 128 + number


@pytest.mark.parametrize("rubbish", [b"", b"HTTP/1.1 500 Oops\r\n\r\n", frame(BEGIN, b"{")])
async def test_a_lost_or_strange_instance_ends_it(both: Both, rubbish: bytes) -> None:
    both.begin(is_terminal=True)
    both.send(rubbish)
    both.writer.close()
    ending = await both.result()
    assert ending.status == 1
    assert ending.says


async def test_a_new_size_is_told_and_after_a_stop_the_terminal_is_taken_again(both: Both) -> None:
    both.begin(is_terminal=True)
    await both.until_typed(lambda: bool(both.sizes))
    resize(both.pty, 30, 100)
    os.kill(os.getpid(), signal.SIGWINCH)
    await both.until_typed(lambda: Size(30, 100) in both.sizes)
    os.kill(os.getpid(), signal.SIGCONT)
    await both.until_typed(lambda: both.sizes[2:] == [Size(30, 100)])


async def test_a_script_with_a_pipe_gets_lines_and_shows_text_and_colours_only(both: Both) -> None:
    both.begin(is_terminal=False)
    both.send(frame(OUTPUT, b"\x1b[31mred\x1b[0m \x1b]52;c;AAAA\x07\x1b[2Jsafe\r\nName? "))
    await both.until_shown(b"Name? ")
    assert b"\x1b[31mred" in both.shown
    assert b"safe" in both.shown
    assert b"52;c" not in both.shown
    assert b"\x1b[2J" not in both.shown
    both.type("Jörg\nsecond\n".encode())
    await both.until_typed(lambda: both.typed == ["Jörg".encode(), b"second"])
    both.send(frame(NOTE, b"it does not read"))
    await both.until_shown(b"[brum: it does not read]")
    both.type(b"never sent\x1d")
    assert (await both.result()).status == 0
    assert both.typed[2:] == []


@pytest.mark.parametrize("by", ["ctrl-d", "ctrl-c"])
async def test_ctrl_d_and_ctrl_c_leave_a_script_with_a_pipe_as_it_is(both: Both, by: str) -> None:
    both.begin(is_terminal=False)
    both.send(frame(OUTPUT, b"up"))
    await both.until_shown(b"up")
    if by == "ctrl-d":
        both.type(b"\x04")
    else:
        os.kill(os.getpid(), signal.SIGINT)
    ending = await both.result()
    assert (ending.status, "runs on" in ending.says) == (0, True)


async def test_a_terminal_that_takes_nothing_keeps_neither_keys_nor_the_end(both: Both) -> None:
    both.begin(is_terminal=True)
    for _ in range(40):
        both.send(frame(OUTPUT, b"x" * 65_536))
    await both.until_typed(lambda: bool(both.sizes))
    both.type(b"a")
    await both.until_typed(lambda: both.typed == [b"a"])
    both.type(b"\x1d")
    assert (await both.result()).status == 0


async def answered(head: str, body: bytes = b"") -> None:
    reader = asyncio.StreamReader()
    length = f"content-length: {len(body)}\r\n" if body else ""
    reader.feed_data(f"HTTP/1.1 {head}\r\n{length}\r\n".encode() + body)
    reader.feed_eof()
    await switched(reader, "shop", "dev")


async def test_an_instance_that_switches_is_attached_to() -> None:
    await answered("101 Switching Protocols\r\nupgrade: brummer-attach/1")


@pytest.mark.parametrize(
    ("code", "told"), [("has_ended", "has_ended"), ("invalid_arguments", "has_ended"), ("no_input", "no_input")]
)
async def test_a_refusal_is_told_and_a_script_that_was_never_started_does_not_run_either(code: str, told: str) -> None:
    body = msgspec.json.encode({"error": {"code": code, "message": "its own words"}})
    with pytest.raises(CallFailed) as caught:
        await answered("409 Conflict", body)
    assert caught.value.error_code == told


async def test_an_instance_of_an_earlier_version_has_nothing_to_attach_to() -> None:
    with pytest.raises(CallFailed) as caught:
        await answered("404 Not Found", b"{}")
    assert caught.value.error_code == ""


def test_without_a_terminal_it_says_how_programs_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert attach.run(argparse.Namespace(script="dev", dir=None, name=None)) == 2
    assert "scripts_input" in capsys.readouterr().err
