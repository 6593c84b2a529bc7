"""``brum status``: ask every hub through its socket, and print the answers as `status_page` makes them look."""

import asyncio
import contextlib
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli.colour import PLAIN, Paint, wants_colours
from brummer.cli.status_page import Status, gist, page, problem_of
from brummer.core import json_text
from brummer.core.errors import BrummerError
from brummer.core.visible import CLEAR
from brummer.discovery.directory import instances_directory
from brummer.host import loop
from brummer.host.directories import DirectoryUnusable, private_directory
from brummer.host.pids import process_state
from brummer.host.private_sockets import address_of
from brummer.hub import status_socket

ANSWER_S: Final = 2.0
"""A hub answers within milliseconds; one that is busy or starved gets this long."""

WATCH_S: Final = 1.0

ARRIVE_S: Final = status_socket.RETURN_S + 0.3
"""Hubs make no directory. Those that wait for it open their sockets soon after our making it; those under whom it was
removed wait for a moment first.
"""

ANSWER_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""A link takes half a kilobyte: more than any hub can have of them."""


class Hung(BrummerError):
    """A hub that can be reached gave no answer."""

    code = "hub_silent"


def run(*, watch: bool, as_json: bool, no_color: bool = False) -> int:
    """Print the status; returns 1 when no hub runs or one has a problem."""
    paint = Paint(colourful=wants_colours(sys.stdout, os.environ, no_color=no_color))
    try:
        return loop.run(_run(instances_directory(os.environ), watch=watch, as_json=as_json, paint=paint))
    except DirectoryUnusable as error:  # whatever hubs there are, they have no better socket
        _print(
            [problem_of(0, f"directory_{error.reason}", error.message)], as_json=as_json, watching=False, paint=paint
        )
        return 1


async def _run(directory: Path, *, watch: bool, as_json: bool, paint: Paint = PLAIN) -> int:
    await _enter(directory)
    async with contextlib.aclosing(Hubs(directory)) as hubs:
        answers = await hubs.ask()
        _print(answers, as_json=as_json, watching=watch, paint=paint)
        while watch:
            shown = gist(map(_as_status, answers))
            await asyncio.sleep(WATCH_S)
            answers = await hubs.ask()
            if gist(map(_as_status, answers)) != shown:
                _print(answers, as_json=as_json, watching=True, paint=paint)
    return 0 if answers and all(_as_status(answer).is_healthy for answer in answers) else 1


async def _enter(directory: Path) -> None:
    """Be sure that nobody else can put sockets there. Raises DirectoryUnusable."""
    try:
        await asyncio.to_thread(private_directory, directory, create=False)
    except DirectoryUnusable as error:
        if error.reason != "missing":
            raise
        await asyncio.to_thread(private_directory, directory)
        await asyncio.sleep(ARRIVE_S)


def _as_status(answer: dict[str, Any]) -> Status:
    """Hubs of another version may say more, which is passed over, or something else, which is a problem."""
    try:
        return msgspec.convert(answer, Status)
    except msgspec.ValidationError as error:
        pid = answer["hub"]["pid"]
        detail = f"hub {pid} speaks of things that this version does not know: {error}"
        return msgspec.convert(problem_of(pid, "not_understood", detail), Status)


def _print(answers: list[dict[str, Any]], *, as_json: bool, watching: bool, paint: Paint = PLAIN) -> None:
    if as_json:
        print(json_text.encode(answers).decode() if watching else json_text.indented(answers), flush=True)
        return
    now = datetime.now().astimezone()
    if watching:
        print(CLEAR, end="") if sys.stdout.isatty() else print(f"--- {now:%H:%M:%S}")
    print(page([_as_status(answer) for answer in answers], now, paint), flush=True)


class Hubs:
    """All hubs that have a socket in the directory. Connections are kept, so that to ask again costs little."""

    def __init__(self, directory: Path, request: bytes = status_socket.STATUS) -> None:
        self._directory = directory
        self._request = request
        self._known: dict[Path, Asked] = {}

    async def ask(self) -> list[dict[str, Any]]:
        """Their answers, by pid; a problem for each that gives none within 2 s. Sockets of the dead are removed."""
        sockets = await asyncio.to_thread(self._find)
        for path in self._known.keys() - sockets.keys():
            self._known.pop(path).close()
        for path, pid in sockets.items():
            self._known.setdefault(path, Asked(path, pid, self._request))
        answers = await asyncio.gather(*(asked.answer() for asked in self._known.values()))
        if None in answers:
            await asyncio.to_thread(_sweep, self._directory)
        return sorted(filter(None, answers), key=lambda answer: answer["hub"]["pid"])

    def _find(self) -> dict[Path, int]:
        with contextlib.suppress(FileNotFoundError):
            return status_socket.find(self._directory)
        return {}

    async def aclose(self) -> None:
        for asked in self._known.values():
            asked.close()


def _sweep(directory: Path) -> None:
    with contextlib.suppress(OSError):
        status_socket.sweep(directory)


class Asked:
    """One hub. A question that it has not answered stays asked: a stopped hub finds one, not a hundred."""

    def __init__(self, path: Path, pid: int, request: bytes = status_socket.STATUS) -> None:
        self._path = path
        self._pid = pid
        self._request = request
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._is_waiting = False

    async def answer(self) -> dict[str, Any] | None:
        """What it says, or what is wrong with it; None when nobody listens there any more."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._ask_twice()
        except (ConnectionRefusedError, FileNotFoundError):
            self.close()
            return None
        except TimeoutError:
            return await self._silent()
        except (OSError, Hung) as error:
            self.close()
            return problem_of(self._pid, Hung.code, f"hub {self._pid} does not answer: {error}")

    async def _silent(self) -> dict[str, Any]:
        """Why, where that can be seen."""
        state = await asyncio.to_thread(process_state, self._pid)
        if state is not None and state.state == "stopped":
            lets_go_on = f"kill -CONT {self._pid} lets it go on"
            return problem_of(self._pid, "hub_stopped", f"hub {self._pid} does not answer: it is stopped; {lets_go_on}")
        if state is not None and state.state == "frozen":
            detail = f"hub {self._pid} does not answer: its control group is frozen"
            return problem_of(self._pid, "hub_frozen", detail)
        return problem_of(self._pid, Hung.code, f"hub {self._pid} does not answer within {ANSWER_S:g} s")

    async def _ask_twice(self) -> dict[str, Any]:
        """A kept connection may have ended since, as the hub ends those that were silent for long."""
        was_kept = self._streams is not None
        try:
            return await self._ask()
        except (ConnectionError, Hung):
            if not was_kept:
                raise
            self.close()
            return await self._ask()

    async def _ask(self) -> dict[str, Any]:
        if self._streams is None:
            with address_of(self._path) as address:
                self._streams = await asyncio.open_unix_connection(address, limit=ANSWER_LIMIT_BYTES)
        reader, writer = self._streams
        if not self._is_waiting:
            writer.write(self._request + b"\n")
            self._is_waiting = True
        try:
            line = await reader.readline()
        except ValueError:  # what StreamReader says of a line beyond its limit
            raise Hung(f"its answer has more than {ANSWER_LIMIT_BYTES} bytes") from None
        self._is_waiting = False
        return _decode(line, self._pid)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams, self._is_waiting = None, False


def _decode(line: bytes, pid: int) -> dict[str, Any]:
    """An object that has at least ``hub.pid``. Raises `Hung`."""
    if not line.endswith(b"\n"):
        raise Hung("it hung up")
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Hung(f"what it says is not understood: {error}") from None
    facts = answer.get("hub")
    return {**answer, "hub": {**(facts if isinstance(facts, dict) else {}), "pid": pid}}
