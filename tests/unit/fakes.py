"""An instance that can be told how to behave: it proves its identity, or not, and answers calls as scripted."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Self

import msgspec

from brummer.host.real_system import REAL
from brummer.host.system import System
from brummer.link.target import Target
from brummer.wire.http.server import Exchange, HttpServer
from brummer.wire.mcp import identity

TOKEN = "t" * 43
JSON = [(b"content-type", b"application/json")]

Answer = Callable[[Exchange, dict[str, Any]], Awaitable[None]]


async def answer_with_arguments(exchange: Exchange, message: dict[str, Any]) -> None:
    """The result of every call is what it was called with."""
    arguments = message["params"].get("arguments", {})
    respond(exchange, message, {"structuredContent": arguments, "isError": False})


def respond(exchange: Exchange, message: dict[str, Any], result: object) -> None:
    exchange.respond(200, msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result}), JSON)


def seeded(rng: Random) -> System:
    """The real system, with this jitter."""
    return msgspec.structs.replace(REAL, random=rng)


class FakeInstance:
    """Listens on a port of its own; ``calls`` holds every message it was sent."""

    def __init__(
        self, *, generation: str = "generation-1", port: int = 0, answer: Answer = answer_with_arguments
    ) -> None:
        self.instance_id = "shop-00000000"
        self.generation = generation
        self.answer = answer
        self.calls: list[dict[str, Any]] = []
        self.called = asyncio.Event()
        self.speaks = asyncio.Event()
        """While it is not set, the instance is as if stopped: it is connected to, and answers nothing."""
        self.speaks.set()
        self.probes = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self._server = HttpServer(self._handle, body_limit_bytes=1 << 20)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def target(self) -> Target:
        return Target(self.instance_id, self.generation, "127.0.0.1", self.port, TOKEN)

    @property
    def connections(self) -> int:
        return len(self._server.connections)

    async def __aenter__(self) -> Self:
        await self._server.start([self._listener])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def take_no_more_connections(self) -> None:
        self._server.places.proven_limit = 0

    def drop_connections(self) -> None:
        for connection in list(self._server.connections):
            connection.abort()

    async def connections_dropped(self) -> None:
        """Drop them, and return when their sockets are closed."""
        self.drop_connections()
        while self.connections:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _handle(self, exchange: Exchange) -> None:
        await self.speaks.wait()
        request = exchange.request
        if request.target.startswith(identity.PATH):
            self.probes += 1
            status, body = identity.answer(TOKEN, self.instance_id, self.generation, request.target)
            exchange.respond(status, body, JSON)
            return
        message = msgspec.json.decode(request.body)
        self.calls.append(message)
        self.called.set()
        if "id" not in message or message["method"].startswith("notifications/"):
            exchange.respond(202)
        else:
            await self.answer(exchange, message)
