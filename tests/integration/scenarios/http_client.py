"""The least client for Streamable HTTP of either era: a connection per request, so that it can hang up on one."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

MODERN: Final = "2026-07-28"
MODERN_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
LEGACY: Final = "2025-11-25"
ANSWER_S: Final = 60.0


class HttpClient:
    """``modern`` says of which era. Use `connected`, which makes the session that the older one has."""

    def __init__(self, url: str, *, token: str | None = None, modern: bool = False) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._address = (parts.hostname, parts.port)
        self._headers = {"host": parts.netloc, "content-type": "application/json", "connection": "close"}
        self._headers["accept"] = "application/json, text/event-stream"
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._modern = modern
        self._numbers = itertools.count(1)

    @classmethod
    async def connected(cls, url: str, *, token: str | None = None, modern: bool = False) -> Self:
        client = cls(url, token=token, modern=modern)
        if not modern:
            info = {"name": "test", "version": "0"}
            opening = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info}
            async with client.asking("initialize", **opening) as asked:
                await asked.answer()
                client._headers["mcp-session-id"] = asked.headers["mcp-session-id"]
            client._headers["mcp-protocol-version"] = LEGACY
        return client

    @asynccontextmanager
    async def asking(self, method: str, **params: Any) -> "AsyncIterator[Asked]":
        """A request that is on its way; leaving the block hangs up."""
        number = next(self._numbers)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        reader, writer = await self._post(message, params)
        try:
            yield Asked(number, reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        async with self.asking("tools/call", name=tool, arguments=arguments) as asked:
            content: dict[str, Any] = (await asked.answer())["result"]["structuredContent"]
            return content

    async def cancel(self, number: int) -> None:
        """Take back a request by its id, as the older era does."""
        params = {"requestId": number}
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        reader, writer = await self._post(message, params)
        async with asyncio.timeout(ANSWER_S):
            assert b" 202 " in await reader.readline()
        writer.close()
        await writer.wait_closed()

    async def _post(
        self, message: dict[str, Any], params: dict[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        headers = dict(self._headers)
        if self._modern:
            message["params"] = {**params, "_meta": MODERN_META}
            headers |= {"mcp-protocol-version": MODERN, "mcp-method": message["method"]}
            if "name" in params:
                headers["mcp-name"] = params["name"]
        body = json.dumps(message).encode()
        headers["content-length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
        return reader, writer


class Asked:
    """A request in flight."""

    def __init__(self, number: int, reader: asyncio.StreamReader) -> None:
        self.number = number
        self.headers: dict[str, str] = {}
        self._reader = reader

    async def answer(self) -> dict[str, Any]:
        """The JSON-RPC response, plain or the last event of a stream."""
        async with asyncio.timeout(ANSWER_S):
            head, _, body = (await self._reader.read()).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        if "event-stream" in self.headers["content-type"]:
            body = next(line for line in reversed(body.splitlines()) if line.startswith(b"data: "))[6:]
        response: dict[str, Any] = json.loads(body)
        return response
