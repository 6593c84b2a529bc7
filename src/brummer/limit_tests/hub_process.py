"""A hub as agents start it, ``brum --mcp`` on pipes, and calls on it."""

import asyncio
import contextlib
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw

from brummer.core.errors import BrummerError
from brummer.limit_tests.answers import LimitAnswer, of_result, of_rpc_error
from brummer.limit_tests.signal import Signal
from brummer.wire.mcp import jsonrpc
from brummer.wire.mcp.eras import LEGACY_LATEST

END_S: Final = 3.0
"""A hub promises to end within two seconds."""

LINE_BYTES: Final = 1 << 31
"""More than any answer that a test asks for."""


class HubEnded(BrummerError):
    """The tested hub has ended by itself."""

    code = "hub_ended"


class _Message(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    result: Raw = Raw()
    error: Raw = Raw()


_decode = msgspec.json.Decoder(_Message).decode


class HubProcess:
    """Made by `running`. ``changed`` fires at each answer."""

    def __init__(self, process: asyncio.subprocess.Process, changed: Signal) -> None:
        assert process.stdin is not None  # noqa: S101 — both are pipes
        assert process.stdout is not None  # noqa: S101
        self._stdin, self._stdout = process.stdin, process.stdout
        self.pid = process.pid
        self._changed = changed
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[LimitAnswer]] = {}
        self._has_ended = False

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, directory: Path, environ: Mapping[str, str], changed: Signal, descriptors: int | None = None
    ) -> "AsyncIterator[HubProcess]":
        """A hub until the block ends. ``descriptors``: the limit on open files with which it starts."""
        command = [sys.executable, "-P", "-m", "brummer", "--mcp"]
        if descriptors is not None:
            command = ["/bin/sh", "-c", f'ulimit -S -n {descriptors}; exec "$0" "$@"', *command]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=directory,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # its warnings are about the tests
            limit=LINE_BYTES,
        )
        reading: asyncio.Task[None] | None = None
        try:
            hub = cls(process, changed)
            reading = asyncio.create_task(hub._read(), name="answers of the hub")
            client = {"name": "brum --test-resource-limits", "version": "0"}
            opening = {"protocolVersion": LEGACY_LATEST, "capabilities": {}, "clientInfo": client}
            await hub._ask("initialize", msgspec.json.encode(opening))
            yield hub
        finally:
            await _end(process)
            if reading is not None:
                await reading

    def call(self, tool: str, /, **arguments: Any) -> "asyncio.Future[LimitAnswer]":
        """Call a tool of the hub or of an instance; the request is sent at once."""
        params = {"name": tool, "arguments": arguments}
        return self._ask("tools/call", msgspec.json.encode(params))

    def call_in(self, instance: str, tool: str, /, **arguments: Any) -> "asyncio.Future[LimitAnswer]":
        """Call a tool that only this instance has."""
        return self.call("instance_call", instance=instance, tool=tool, arguments=arguments)

    async def state_of(self, instance: str) -> str:
        """The state of its link; empty if the hub does not know it yet."""
        content = (await self.call("instances_list")).decoded()
        states = {known["instance_id"]: known["state"] for known in content["instances"]}
        return str(states.get(instance, ""))

    async def status(self) -> dict[str, Any]:
        """The answer of ``hub_status``."""
        return (await self.call("hub_status")).decoded()

    def _ask(self, method: str, params: bytes) -> "asyncio.Future[LimitAnswer]":
        """Raises HubEnded."""
        if self._has_ended:
            raise HubEnded("the hub has ended")
        request_id = next(self._ids)
        answered: asyncio.Future[LimitAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = answered
        self._stdin.write(jsonrpc.request(b"%d" % request_id, method, params) + b"\n")
        return answered

    async def _read(self) -> None:
        while line := await self._stdout.readline():
            message = _decode(line)
            if message.method is not None or not isinstance(message.id, int):
                continue  # a notification: this client declared no capabilities, so the hub requests nothing
            answered = self._waiting.pop(message.id, None)
            if answered is not None and not answered.done():
                answered.set_result(of_rpc_error(message.error) if message.error else of_result(message.result))
            self._changed.fire()
        self._has_ended = True
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(HubEnded("the hub has ended before it answered all calls"))
                answered.exception()  # retrieved, else asyncio logs a complaint where no task waits for it
        self._changed.fire()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it by closing its input, as an agent does; kill it if that is not enough."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
