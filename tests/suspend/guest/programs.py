"""Two instances and a hub, as an agent would have them; the standard library is all there is."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

START_S: Final = 60.0
"""A Python needs seconds to start in software emulation."""

ANSWER_S: Final = 30.0
END_S: Final = 10.0
LOGS: Final = Path("/tmp/logs")
INSTANCES: Final = Path("/run/brummer-instances")
PROCFILE: Final = "slow: echo began >> began.txt && sleep 5 && echo ran >> ran.txt\n"
"""Its sleep counts awake time, so it is under way before, during and after."""


class Project:
    """A directory with an instance, whose one script writes down that it ran."""

    def __init__(self, name: str) -> None:
        self.directory = Path("/tmp") / name
        self.directory.mkdir()
        (self.directory / "Procfile").write_text(PROCFILE)
        for file in ("began.txt", "ran.txt"):
            (self.directory / file).touch()

    def began(self) -> int:
        return len((self.directory / "began.txt").read_text().splitlines())

    def ran(self) -> int:
        return len((self.directory / "ran.txt").read_text().splitlines())


class Call:
    """One request and every answer to it: there must be one."""

    def __init__(self, hub: "Hub", request_id: int) -> None:
        self._hub = hub
        self._id = request_id

    @property
    def answers(self) -> list[dict[str, Any]]:
        return self._hub.answers[self._id]

    def content(self, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """The structured content of the first. Raises TimeoutError."""
        self._hub.wait_until(lambda: bool(self.answers), timeout_s)
        content: dict[str, Any] = self.answers[0]["result"]["structuredContent"]
        return content


class Hub:
    """``brum --mcp`` and its client. A thread reads the answers, so that waiting for one can be bounded."""

    def __init__(self) -> None:
        self.answers: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._arrived = threading.Condition()
        self._ids = itertools.count(1)
        self.process = _start("hub", "--mcp", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()
        client = {"name": "suspend", "version": "0"}
        greeting = self.send("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        self.wait_until(lambda: bool(greeting.answers), START_S)
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            with self._arrived:
                self.answers[message.get("id", 0)].append(message)
                self._arrived.notify_all()

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, /, **params: Any) -> Call:
        request_id = next(self._ids)
        self._write({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        return Call(self, request_id)

    def call(self, tool: str, /, **arguments: Any) -> Call:
        return self.send("tools/call", name=tool, arguments=arguments)

    def status(self) -> dict[str, Any]:
        return self.call("hub_status").content()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Raises TimeoutError. Looks whenever something arrived."""
        with self._arrived:
            if not self._arrived.wait_for(condition, timeout_s):
                raise TimeoutError(f"no answer from the hub within {timeout_s} s")

    def connections(self) -> set[int]:
        """The ports on its side of every connection to an instance, as the kernel knows them: not by its own word."""
        ours = set()
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                ours.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue  # closed meanwhile
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        established = [row for row in rows if row[3] == "01" and f"socket:[{row[9]}]" in ours]
        return {int(row[1].partition(":")[2], 16) for row in established}


def _start(name: str, *arguments: str, **pipes: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BRUMMER_INSTANCES_DIR": str(INSTANCES)}
    with (LOGS / name).open("wb") as log:
        settings = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, **pipes}
        return subprocess.Popen([sys.executable, "-m", "brummer", *arguments], env=environment, **settings)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """For what other processes do, which set no events here. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


@contextmanager
def running(projects: list[Project]) -> Iterator[Hub]:
    """A hub whose links to an instance in every project are ready."""
    INSTANCES.mkdir(mode=0o700)
    LOGS.mkdir()
    started = [_start(project.directory.name, "--no-tui", "-d", str(project.directory)) for project in projects]
    try:
        hub = Hub()
        started.append(hub.process)
        wait_for(lambda: is_ready(hub.status(), len(projects)), "the links are ready", START_S)
        yield hub
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(END_S)


def is_ready(status: dict[str, Any], links: int) -> bool:
    """Whether there are as many links, and each is ready."""
    return [link["state"] for link in status["links"]] == ["ready"] * links
