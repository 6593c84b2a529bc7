"""Drives ``brum`` of any tree as a person and an agent do: its command line, and plain MCP over stdio.

It knows only the path of a tree's ``brum``. The client blocks on its pipes, runs no event loop, and decodes no answer,
so that it takes little of the machine from the measured programs.
"""

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

PATIENCE_S: Final = 60.0
"""The time limit for any answer and any end: far more than even a busy machine needs."""

POLL_S: Final = 0.001
INITIALIZE: Final = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "0"},
}


class UnexpectedAnswerError(Exception):
    """A hub that ended, was silent for too long, or answered with an error."""


@dataclass(frozen=True)
class Tree:
    """One build of Brummer, and a home directory of its own for everything that its programs keep."""

    name: str
    brum: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process, without settings of Brummer, and with every user directory in ``home``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRUMMER_", "XDG_"))}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
        own = {"HOME": str(self.home), "BRUMMER_INSTANCES_DIR": str(self.home / "instances")}
        return {**kept, **own, "XDG_STATE_HOME": str(self.home / "state"), "XDG_CONFIG_HOME": str(self.home / "config")}

    def project(self, name: str) -> Path:
        """A new directory with one script."""
        project = self.home / name
        project.mkdir(parents=True)
        (project / "Procfile").write_text("noop: true\n")
        return project

    @contextlib.contextmanager
    def instance(self, project: Path) -> Iterator[int]:
        """Start it without waiting; yields its process id."""
        quiet = subprocess.DEVNULL
        command: list[str | Path] = [self.brum, "--no-tui", "-d", project]
        process = subprocess.Popen(command, env=self.environment, stdin=quiet, stdout=quiet, stderr=quiet)
        with _ended(process):
            yield process.pid
            process.terminate()

    @contextlib.contextmanager
    def hub(self, flags: Sequence[str] = ()) -> Iterator["Hub"]:
        """Start a hub without initializing it."""
        pipe = subprocess.PIPE
        command: list[str | Path] = [self.brum, "--mcp", *flags]
        process = subprocess.Popen(command, env=self.environment, cwd=self.home, stdin=pipe, stdout=pipe, bufsize=0)
        with _ended(process), Hub(process) as hub:
            yield hub


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()


class Hub:
    """One hub on its pipes. Closing its stdin ends it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin
        assert process.stdout
        self.pid = process.pid
        self._stdin, self._stdout = process.stdin, process.stdout
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)
        self._partial = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stdin.close()
        self._stdout.close()

    def initialize(self) -> None:
        """Start the session; returns with the answer."""
        self.ask("initialize", INITIALIZE)
        self._stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def ask(self, method: str, params: dict[str, Any]) -> bytes:
        """The whole answer to one request. Raises UnexpectedAnswerError on an error."""
        self.send(members_of(method, params))
        return self.answers(1)[0]

    def send(self, members: bytes, count: int = 1) -> None:
        """Send so many requests with the same ``members`` (`members_of`) in one write."""
        ids = range(self._last_id + 1, self._last_id + count + 1)
        self._last_id += count
        self._stdin.write(b"".join(b'{"jsonrpc":"2.0","id":%d,%b\n' % (request_id, members) for request_id in ids))

    def answers(self, at_least: int) -> list[bytes]:
        """Wait for so many answers; returns them in any order. Raises UnexpectedAnswerError."""
        found: list[bytes] = []
        while len(found) < at_least:
            if not self._poll.poll(PATIENCE_S * 1000):
                raise UnexpectedAnswerError(f"no answer within {PATIENCE_S} s")
            if not (data := os.read(self._stdout.fileno(), 1 << 18)):
                raise UnexpectedAnswerError("the hub has ended")
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                if b'"result":' in line and b'"isError":true' not in line:
                    found.append(line)
                elif b'"method":' not in line:  # a notification
                    raise UnexpectedAnswerError(line.decode())
        return found

    def latencies_ms(self, members: bytes, count: int) -> list[float]:
        """Times of so many calls, one after the other."""
        taken = []
        for _ in range(count):
            began = time.perf_counter()
            self.send(members)
            self.answers(1)
            taken.append((time.perf_counter() - began) * 1000)
        return taken

    def calls_per_s(self, members: bytes, count: int, in_flight: int) -> float:
        """Of so many calls; as many as are answered are sent at once."""
        began = time.perf_counter()
        self.send(members, in_flight)
        unsent, missing = count - in_flight, count
        while missing:
            answered = len(self.answers(1))
            missing -= answered
            if more := min(answered, unsent):
                self.send(members, more)
                unsent -= more
        return count / (time.perf_counter() - began)

    def until_answered_by(self, project: Path) -> None:
        """Return once the instance of this directory has answered a call."""
        members = call_members("scripts_status", {"instance": str(project)})
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            self.send(members)
            try:
                self.answers(1)
                return
            except UnexpectedAnswerError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(POLL_S)


def members_of(method: str, params: dict[str, Any]) -> bytes:
    """A request's members after its id, with the closing brace."""
    return json.dumps({"method": method, "params": params}, separators=(",", ":")).encode()[1:]


def call_members(tool: str, arguments: dict[str, Any]) -> bytes:
    return members_of("tools/call", {"name": tool, "arguments": arguments})
