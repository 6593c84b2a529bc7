"""Brummer's own programs as other people start them: real processes, real pipes, every wait with an end."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, TypeVar

import psutil

BRUM: Final = Path(sys.executable).with_name("brum")
"""Beside the Python that runs the tests: what `make setup` leaves."""

WAIT_S: Final = 10.0
"""For anything that should take a moment; a machine that is busy with other things may need some seconds."""

DIES_S: Final = 2.0
"""How soon nothing may be left of what was killed: the issue's own number."""

LEGACY: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
MODERN_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
"""What every request of the newer era carries, at the least."""

SERVER_PY = """\
import http.server

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>hello</h1>")

    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Page)
print(f"ready on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
"""

PROCFILE = f"""\
dev: {sys.executable} server.py
hello: echo hello from the script
fail: echo no route to the cellar >&2; exit 3
quiet: sleep 300
"""


P = TypeVar("P", bound="Program")


def tasks(commands: Mapping[str, str]) -> dict[str, str]:
    """A project file with these scripts, for the shell, which `brum up` does not start unless they are called dev or
    start.
    """
    listed = [{"label": name, "type": "shell", "command": command} for name, command in commands.items()]
    return {".vscode/tasks.json": json.dumps({"tasks": listed})}


class Lines:
    """A stream's lines. A thread reads them, so that waiting for one can be bounded."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._coming: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.seen: list[str] = []

    def _read(self) -> None:
        for line in self._stream:
            self._coming.put(line)
        self._coming.put(None)

    def line(self, timeout_s: float = WAIT_S) -> str:
        """The next one. Raises EOFError at the end, TimeoutError when none comes."""
        try:
            line = self._coming.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no line within {timeout_s} s, after {self.seen[-5:]}") from None
        if line is None:
            self._coming.put(None)
            raise EOFError(f"the stream ended, after {self.seen[-20:]}")
        self.seen.append(line.decode(errors="backslashreplace"))
        return self.seen[-1]

    def until(self, wanted: str, timeout_s: float = WAIT_S) -> str:
        """The next line that contains this."""
        deadline = time.monotonic() + timeout_s
        while True:
            line = self.line(max(0.0, deadline - time.monotonic()))
            if wanted in line:
                return line

    def rest(self, timeout_s: float = WAIT_S) -> str:
        """Everything there was, once the stream has ended."""
        try:
            while True:
                self.line(timeout_s)
        except EOFError:
            return "".join(self.seen)

    def close(self) -> None:
        self._thread.join(WAIT_S)
        self._stream.close()


class Program:
    """One process. `end` always works."""

    def __init__(self, command: Iterable[str | Path], **settings: Any) -> None:
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **settings
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.stdout, self.stderr = Lines(self.process.stdout), Lines(self.process.stderr)
        self.url = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        """Its exit status; negative where a signal ended it."""
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """Gently, then firmly."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        self.stdout.close()
        self.stderr.close()


class Instance(Program):
    """``brum`` in a project. `record` is what it has published."""

    def __init__(self, instances: Path, command: Iterable[str | Path], **settings: Any) -> None:
        super().__init__(command, **settings)
        self._instances = instances
        self.record: dict[str, Any] = {}

    def published(self) -> Self:
        """Wait until it has announced itself, which it does once it can be called."""
        announced = self.stderr.until(") is running")
        instance_id = announced.partition("(")[2].partition(")")[0]
        self.record = json.loads((self._instances / f"{instance_id}.json").read_text())
        self.url = self.record["url"]
        return self

    @property
    def id(self) -> str:
        return str(self.record["instance_id"])

    @property
    def token(self) -> str:
        return str(self.record["token"])


class RpcError(Exception):
    """The answer was a JSON-RPC error; ``error`` is its member."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error
        self.code: int = error["code"]


class Hub(Program):
    """``brum --mcp`` with the pipes in our hands: bytes in, messages out."""

    def __init__(self, command: Iterable[str | Path], **settings: Any) -> None:
        super().__init__(command, stdin=subprocess.PIPE, **settings)
        self._ids = iter(range(1, 1_000_000))
        self.roots: list[str] = []
        self.notifications: list[dict[str, Any]] = []

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def receive(self, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The next message, whatever it is; every line on this stream must be one."""
        message: dict[str, Any] = json.loads(self.stdout.line(timeout_s))
        assert message["jsonrpc"] == "2.0"
        return message

    def answer_to(self, request_id: object, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The response with this id. What the hub asks meanwhile is answered, what it tells is kept."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.receive(max(0.0, deadline - time.monotonic()))
            if message.get("method") == "roots/list":
                result = {"roots": [{"uri": uri} for uri in self.roots]}
                self.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\n")
            elif "method" in message:
                self.notifications.append(message)
            elif message.get("id") == request_id:
                return message

    def ask(self, method: str, timeout_s: float = WAIT_S, /, **params: Any) -> dict[str, Any]:
        """The result. Raises `RpcError`."""
        request_id = next(self._ids)
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        self.send(json.dumps(request).encode() + b"\n")
        answer = self.answer_to(request_id, timeout_s)
        if "error" in answer:
            raise RpcError(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured content; of a failed call it is ``{"error": …}``. May take a parked call's 20 s."""
        result = self.ask("tools/call", 3 * WAIT_S, name=tool, arguments=arguments)
        content: dict[str, Any] = result["structuredContent"]
        assert result["isError"] is ("error" in content)
        return content

    def every(self, tool: str, section: str, **arguments: Any) -> list[dict[str, Any]]:
        """All entries of a list, over as many answers as it takes."""
        content = self.call(tool, **arguments)
        found: list[dict[str, Any]] = content[section]
        while "next_cursor" in content:
            content = self.call(tool, **arguments, cursor=content["next_cursor"])
            found += content[section]
        return found

    def greet(self, *, roots: Iterable[Path] | None = None) -> Self:
        """The handshake of the older era; with ``roots`` as a client that has some."""
        self.roots = [root.as_uri() for root in roots or ()]
        capabilities: dict[str, Any] = {} if roots is None else {"roots": {}}
        client = {"name": "test", "version": "0"}
        self.ask("initialize", protocolVersion=LEGACY, capabilities=capabilities, clientInfo=client)
        self.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        self.ask("ping")
        return self


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str


class Brum:
    """Starts programs in one test's own world: its own instances directory, a mark on every process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.instances = home / "instances"
        self.mark = f"BRUMMER_INTEGRATION={home}"
        self._programs: list[Program] = []

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BRUMMER_INST")}
        name, _, value = self.mark.partition("=")
        own = {"BRUMMER_INSTANCES_DIR": str(self.instances), "XDG_STATE_HOME": str(self.home / "state")}
        return {**kept, **own, name: value}

    @property
    def http_token_file(self) -> Path:
        return self.home / "state" / "brummer" / "http-token"

    @property
    def http_token(self) -> str:
        """The user's token, which exists once a program needed it."""
        return self.http_token_file.read_text().strip()

    @property
    def authorization(self) -> dict[str, str]:
        """The header that shows it."""
        return {"Authorization": f"Bearer {self.http_token}"}

    def project(self, name: str, files: Mapping[str, str] | None = None) -> Path:
        """A directory with these files, else with a dev server and scripts that end, fail, and do nothing."""
        project = self.home / name
        project.mkdir(parents=True)
        for path, content in (files or {"Procfile": PROCFILE, "server.py": SERVER_PY}).items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(content)
        return project

    def run(self, *arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"", **more: str) -> Done:
        """A command to its end. Whatever happens, nobody is shown a traceback."""
        done = subprocess.run(
            [BRUM, *arguments],
            cwd=cwd or self.home,
            env={**self.environment, **more},
            input=stdin,
            capture_output=True,
            timeout=3 * WAIT_S,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def instance(self, project: Path, *arguments: str | Path, **more: str) -> Instance:
        """A published one."""
        return self.instance_about_to_be(project, *arguments, **more).published()

    def instance_about_to_be(self, project: Path, *arguments: str | Path, **more: str) -> Instance:
        """Started, and not waited for."""
        return self.instance_by([BRUM, "--no-tui", "-d", project, *arguments], **more)

    def instance_by(self, command: Iterable[str | Path], **more: str) -> Instance:
        """Started by this command, and not waited for."""
        return self._kept(Instance(self.instances, command, **self._settings(more)))

    def hub(self, *arguments: str, cwd: Path | None = None, **more: str) -> Hub:
        """On stdio, and not greeted."""
        return self.hub_by([BRUM, "--mcp", *arguments], cwd, **more)

    def hub_by(self, command: Iterable[str | Path], cwd: Path | None = None, **more: str) -> Hub:
        """Started by this command, and not greeted."""
        return self._kept(Hub(command, **self._settings(more, cwd)))

    def hub_over_http(self, cwd: Path | None = None, **more: str) -> Program:
        """On a port of the system's choice; `url` is set."""
        program = self._kept(Program([BRUM, "--mcp", "--http", "127.0.0.1:0"], **self._settings(more, cwd)))
        program.url = program.stdout.until("http://").split()[-1]
        return program

    def python(self, *command: str | Path, **more: str) -> Program:
        return self._kept(Program([sys.executable, *command], **self._settings(more)))

    def start(self, *command: str | Path, **more: str) -> Program:
        return self._kept(Program(command, **self._settings(more)))

    def end(self) -> None:
        for program in reversed(self._programs):
            program.end()

    def kill_all(self) -> None:
        """What a test that failed has left in the background, where it ends with no program of ours."""
        for process in self.alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def alive(self, mark: str | None = None) -> list[psutil.Process]:
        """Every living process that carries the mark in its environment, wherever it has hidden."""
        return marked(mark or self.mark)

    def gone(self, timeout_s: float = DIES_S, mark: str | None = None) -> bool:
        """Whether in time nothing is left that carries the mark."""
        return within(timeout_s, lambda: not self.alive(mark))

    def _settings(self, more: Mapping[str, str], cwd: Path | None = None) -> dict[str, Any]:
        return {"cwd": cwd or self.home, "env": {**self.environment, **more}}

    def _kept(self, program: P) -> P:
        self._programs.append(program)
        return program


def marked(mark: str) -> list[psutil.Process]:
    """Living processes with this ``NAME=value`` in their environment; zombies are dead."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            environ = Path(f"/proc/{process.pid}/environ").read_bytes()
        except (OSError, psutil.Error):
            continue  # gone meanwhile, or another user's
        if mark.encode() in environ.split(b"\0"):
            found.append(process)
    return found


def within(timeout_s: float, condition: Callable[[], bool]) -> bool:
    """Whether it comes true in time. For what other processes do, which set no events here."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
