"""All running hubs, asked through their Unix sockets in the instances directory."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.health import catalog
from brummer.host.pids import process_state
from brummer.host.private_sockets import address_of
from brummer.hub import status_socket

ANSWER_S: Final = 2.0
"""A hub answers within milliseconds; one that is busy or starved gets this long."""

ANSWER_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""A link takes half a kilobyte: this is enough for 100,000 links."""


class Hung(BrummerError):
    """A hub accepted the connection and gave no valid answer."""

    code = "hub_silent"


class RunningHubs:
    """Connections stay open, so that a repeated question costs little."""

    def __init__(self, directory: Path, request: bytes = status_socket.STATUS) -> None:
        self._directory = directory
        self._request = request
        self._known: dict[Path, RunningHub] = {}

    async def ask(self) -> list[dict[str, Any]]:
        """The answers, sorted by pid; a problem for each hub without an answer. Sockets of dead hubs are removed."""
        sockets = await asyncio.to_thread(self._find)
        for path in self._known.keys() - sockets.keys():
            self._known.pop(path).close()
        for path, pid in sockets.items():
            self._known.setdefault(path, RunningHub(path, pid, self._request))
        answers = await asyncio.gather(*(hub.answer() for hub in self._known.values()))
        if None in answers:
            await asyncio.to_thread(self._sweep)
        return sorted(filter(None, answers), key=lambda answer: answer["hub"]["pid"])

    def _find(self) -> dict[Path, int]:
        with contextlib.suppress(FileNotFoundError):
            return status_socket.find(self._directory)
        return {}

    def _sweep(self) -> None:
        with contextlib.suppress(OSError):
            status_socket.sweep(self._directory)

    async def aclose(self) -> None:
        for hub in self._known.values():
            hub.close()


class RunningHub:
    """One hub. A question without an answer is not repeated: a stopped hub gets one, not a hundred."""

    def __init__(self, path: Path, pid: int, request: bytes = status_socket.STATUS) -> None:
        self._path = path
        self._pid = pid
        self._request = request
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._is_waiting = False

    async def answer(self) -> dict[str, Any] | None:
        """Its answer, or what is wrong with it; None if no process listens on its socket."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._ask_twice()
        except (ConnectionRefusedError, FileNotFoundError):
            self.close()
            return None
        except TimeoutError:
            return await self.silence()
        except (OSError, Hung) as error:
            self.close()
            return self._problem(Hung.code, f": {error}")

    async def silence(self) -> dict[str, Any]:
        """Why it does not answer, if the state of its process explains that."""
        state = await asyncio.to_thread(process_state, self._pid)
        match state.state if state else None:
            case "stopped":
                return self._problem("hub_stopped", f": it is stopped; kill -CONT {self._pid} continues it")
            case "frozen":
                return self._problem("hub_frozen", ": its control group is frozen")
            case _:
                return self._problem(Hung.code, f" within {ANSWER_S:g} s")

    def _problem(self, code: str, why: str) -> dict[str, Any]:
        return problem_of(self._pid, code, f"hub {self._pid} does not answer{why}")

    async def _ask_twice(self) -> dict[str, Any]:
        """A hub closes connections that were silent for long: then connect again."""
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
        except ValueError:  # StreamReader raises it for a line beyond its limit
            raise Hung(f"its answer has more than {ANSWER_LIMIT_BYTES} bytes") from None
        self._is_waiting = False
        return decoded(line, self._pid)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams, self._is_waiting = None, False


def decoded(line: bytes, pid: int) -> dict[str, Any]:
    """The answer, an object that has at least ``hub.pid``. Raises `Hung`."""
    if not line.endswith(b"\n"):
        raise Hung("it closed the connection")
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise Hung(f"its answer is not understood: {error}") from None
    facts = answer.get("hub")
    return {**answer, "hub": {**(facts if isinstance(facts, dict) else {}), "pid": pid}}


def problem_of(pid: int, code: str, detail: str) -> dict[str, Any]:
    """An answer that replaces that of a hub that gave none."""
    problem = msgspec.to_builtins(catalog.Problem.of(catalog.Observed(code, detail)))
    return {"hub": {"pid": pid}, "problems": [problem], "links": [], "timeline": []}
