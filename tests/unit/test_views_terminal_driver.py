"""The terminal under the view: keys are passed on, and nothing wakes without one."""

import asyncio
import os
import sys
import threading
import tty
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from textual import events

from brummer.views.terminal.driver import TerminalDriver


class Receiver:
    """Takes what a driver sends, in place of an app."""

    def __init__(self) -> None:
        self.keys: asyncio.Queue[str] = asyncio.Queue()
        self.has_ended = asyncio.Event()

    async def _post_message(self, message: Any) -> None:
        if isinstance(message, events.Key):
            self.keys.put_nowait(message.key)

    def exit(self) -> None:
        self.has_ended.set()


class ReadTerminal(NamedTuple):
    """A driver that reads a terminal of ours in its thread, and the end at which keys are typed."""

    driver: TerminalDriver
    receiver: Receiver
    thread: threading.Thread
    keyboard: int

    async def type(self, keys: bytes) -> None:
        await asyncio.to_thread(os.write, self.keyboard, keys)


@pytest.fixture
async def terminal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ReadTerminal]:
    keyboard, inside = os.openpty()
    tty.setraw(inside)
    stdin = os.fdopen(inside)
    monkeypatch.setattr(sys, "__stdin__", stdin)
    receiver = Receiver()
    driver = TerminalDriver(receiver)
    thread = threading.Thread(target=driver.run_input_thread)
    thread.start()
    made = ReadTerminal(driver, receiver, thread, keyboard)
    try:
        yield made
    finally:
        driver.exit_event.set()
        await made.type(b"x")
        await asyncio.to_thread(thread.join)
        driver.close()
        stdin.close()
        os.close(keyboard)


async def test_keys_sequences_and_a_single_escape_are_told_apart(terminal: ReadTerminal) -> None:
    async with asyncio.timeout(20):
        for typed, key in ((b"q", "q"), (b"\x1b[A", "up"), (b"\x1b", "escape"), (b"\x03", "ctrl+c")):
            await terminal.type(typed)
            assert await terminal.receiver.keys.get() == key


async def test_a_character_that_comes_in_parts_is_one_key(terminal: ReadTerminal) -> None:
    async with asyncio.timeout(20):
        for part in "é".encode():
            await terminal.type(bytes([part]))
        assert await terminal.receiver.keys.get() == "é"


async def test_the_thread_ends_when_the_view_does(terminal: ReadTerminal) -> None:
    terminal.driver.exit_event.set()
    await terminal.type(b"x")
    await asyncio.to_thread(terminal.thread.join)
    assert not terminal.thread.is_alive()
