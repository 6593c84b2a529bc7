"""Instances and hubs as child processes, and bare clients that add as little as they can to what is measured."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from driver import INITIALIZE

BRUM = str(Path(sys.executable).with_name("brum"))


def environment(folder: Path) -> dict[str, str]:
    """The environment of this process, with an instances directory and a state directory in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as if installed
    return {**kept, "BRUMMER_INSTANCES_DIR": str(folder / "instances"), "XDG_STATE_HOME": str(folder / "state")}


@contextlib.contextmanager
def instance(
    folder: Path, name: str, procfile: str = "noop: true\n", *scripts: str, imports_to: Path | None = None
) -> Iterator[dict[str, Any]]:
    """A started instance, in which these scripts are started; yields its record.

    ``imports_to``: it writes there what it imports.
    """
    project = folder / name
    project.mkdir()
    (project / "Procfile").write_text(procfile)
    command = [BRUM, "--no-tui", "-d", str(project), *scripts]
    own = {"PYTHONPROFILEIMPORTTIME": "1"} if imports_to else {}
    with (imports_to or Path(os.devnull)).open("wb") as errors:
        process = subprocess.Popen(
            command, env={**environment(folder), **own}, stdout=subprocess.DEVNULL, stderr=errors
        )
    try:
        yield wait_for_record(folder, process.pid)
    finally:
        process.terminate()
        process.wait(15)


def wait_for_record(folder: Path, pid: int, timeout_s: float = 20.0) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for path in (folder / "instances").glob("*.json"):
            with contextlib.suppress(ValueError, OSError):
                record: object = json.loads(path.read_bytes())
                if isinstance(record, dict) and record.get("pid") == pid:  # chaos leaves rubbish in their place
                    return record
        time.sleep(0.001)
    raise TimeoutError(f"no record of pid {pid}")


class StdioClient(asyncio.SubprocessProtocol):
    """Sends lines to a hub and matches answers by id; decodes nothing but the id, and writes once per loop turn."""

    def __init__(self) -> None:
        self._next = 0
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._partial = b""
        self._unsent: list[bytes] = []
        self._exited = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.SubprocessTransport | None = None

    @property
    def pid(self) -> int:
        assert self.transport
        pid: int = self.transport.get_pid()
        return pid

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def process_exited(self) -> None:
        self._exited.set_result(None)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 — stdout is the only pipe
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            future = self._waiting.pop(line[22 : line.index(b",", 22)], None)  # {"jsonrpc":"2.0","id":N,…
            if future is not None and not future.done():
                future.set_result(line)

    def call(self, tool: str, arguments: dict[str, Any]) -> "asyncio.Future[bytes]":
        params = {"name": tool, "arguments": arguments}
        return self.send("tools/call", params)

    def send(self, method: str, params: dict[str, Any]) -> "asyncio.Future[bytes]":
        encoded = json.dumps({"method": method, "params": params}, separators=(",", ":")).encode()
        return self.send_encoded(encoded[1:])

    def send_encoded(self, members: bytes) -> "asyncio.Future[bytes]":
        """``members``: those of the request after its id, with the closing brace."""
        self._next += 1
        request_id = b"%d" % self._next
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting[request_id] = future
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(b'{"jsonrpc":"2.0","id":%b,%b\n' % (request_id, members))
        return future

    def _flush(self) -> None:
        stdin = self.transport.get_pipe_transport(0) if self.transport else None
        stdin.write(b"".join(self._unsent))  # type: ignore[union-attr]
        self._unsent = []

    async def close(self) -> None:
        assert self.transport
        self.transport.get_pipe_transport(0).close()  # type: ignore[union-attr]
        await self._exited
        self.transport.close()


@contextlib.asynccontextmanager
async def hub(
    folder: Path, *, settings: dict[str, str] | None = None, flags: Sequence[str] = ()
) -> AsyncIterator[StdioClient]:
    """A hub on stdio that has answered its handshake."""
    _, client = await asyncio.get_running_loop().subprocess_exec(
        StdioClient,
        BRUM,
        "--mcp",
        *flags,
        env={**environment(folder), **(settings or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
    )
    try:
        await client.send("initialize", INITIALIZE)
        yield client
    finally:
        await client.close()


class BareHttpClient(asyncio.Protocol):
    """One keep-alive connection that knows just enough HTTP to see the end of an answer."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._head = (
            f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {record['token']}\r\n"
            "content-type: application/json\r\naccept: application/json\r\nmcp-protocol-version: 2025-11-25\r\n"
        )
        self._answer: asyncio.Future[bytes] | None = None
        self._received = b""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(cls, record: dict[str, Any]) -> "BareHttpClient":
        port = int(record["url"].split(":")[2].split("/")[0])
        _, client = await asyncio.get_running_loop().create_connection(lambda: cls(record), "127.0.0.1", port)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        if separator and len(body) == length and self._answer is not None:
            self._received = b""
            self._answer.set_result(body)

    def call(self, tool: str, arguments: dict[str, Any]) -> "asyncio.Future[bytes]":
        assert self._transport
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        return self.send_encoded(self.encode(message))

    def encode(self, message: dict[str, Any]) -> bytes:
        """The whole HTTP request."""
        body = json.dumps(message, separators=(",", ":")).encode()
        return self._head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body

    def send_encoded(self, request: bytes) -> "asyncio.Future[bytes]":
        assert self._transport
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        if self._transport:
            self._transport.close()


def memory_mib(pid: int) -> tuple[float, float]:
    """(resident, unique) of a process, in MiB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])

    def kib(name: str) -> int:
        return int(fields[name].split()[0])

    return kib("Rss") / 1024, (kib("Private_Clean") + kib("Private_Dirty")) / 1024
