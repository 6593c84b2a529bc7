"""The least client that can have several calls in flight on a hub's stdio."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

ANSWER_S: Final = 60.0
"""No call may take longer, whatever befalls its instance: 30 s is the longest deadline that a test here gives one."""


class Cancelled(Exception):
    """The client itself has cancelled this call, so no answer will come."""


class Client:
    """``call`` returns the structured content as soon as the hub answers, ``{"error": …}`` for a failed call.

    ``unasked`` keeps every message that answers nothing in flight: progress, and answers that come too late.
    ``meta`` goes with every request: it makes the client one of the newer era.
    """

    def __init__(self, process: asyncio.subprocess.Process, meta: dict[str, Any] | None = None) -> None:
        self.process = process
        self.patience_s = ANSWER_S
        self.unasked: list[dict[str, Any]] = []
        self._meta = meta or {}
        self._next = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *command: str | Path, env: dict[str, str], meta: dict[str, Any] | None = None) -> "Client":
        pipe = subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, env=env, stdin=pipe, stdout=pipe, limit=1 << 26)
        client = cls(process, meta)
        if meta is None:
            info = {"name": "scenario", "version": "0"}
            opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
            await client.request("initialize", opening)
        return client

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, *command: str | Path, env: dict[str, str], meta: dict[str, Any] | None = None
    ) -> "AsyncIterator[Client]":
        """Started, and ended with the block."""
        client = await cls.start(*command, env=env, meta=meta)
        try:
            yield client
        finally:
            await client.close()

    async def _read(self) -> None:
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            message = json.loads(line)
            future = self._waiting.pop(message.get("id"), None)
            if future is None:
                self.unasked.append(message)
            elif not future.done():
                future.set_result(message)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EOFError("the hub has ended"))
                future.exception()  # seen, even if nobody waits for it

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Ask; returns the number under which `answer` will have it."""
        self._next += 1
        self._waiting[self._next] = asyncio.get_running_loop().create_future()
        if self._meta:
            params = {**params, "_meta": {**self._meta, **params.get("_meta", {})}}
        self._write({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})
        return self._next

    def cancel(self, number: int) -> bool:
        """Take back what was sent; whoever waits for it gets `Cancelled`. False: it has been answered already."""
        future = self._waiting.pop(number, None)
        self._write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
        if future is None:
            return False
        if not future.done():
            future.set_exception(Cancelled)
            future.exception()  # seen, even if nobody waits for it
        return True

    async def answer(self, number: int) -> dict[str, Any]:
        """The response. Raises `TimeoutError` after ``patience_s``."""
        async with asyncio.timeout(self.patience_s):
            return await self._waiting[number]

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self.answer(self.send(method, params))

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        answer = await self.request("tools/call", {"name": tool, "arguments": arguments})
        content: dict[str, Any] = answer["result"]["structuredContent"]
        return content

    async def call_in(self, instance: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """A tool that only the instance knows."""
        return await self.call("instance_call", instance=instance, tool=tool, arguments=arguments)

    async def links(self) -> dict[str, dict[str, Any]]:
        """Status by instance id, as the hub sees it now."""
        return {link["instance_id"]: link for link in (await self.call("hub_status"))["links"]}

    async def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        await self.process.wait()
        await self._reader

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
