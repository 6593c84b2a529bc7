"""Many instances in one process: what a hub sees of each is real (record, life lock, identity), and nothing else is.

Run as ``python crowd.py DIRECTORY COUNT``; says ``up`` when all are published. Whatever tool is called, its arguments
say how: ``takes_s`` before the answer, which names the instance and carries ``size`` bytes beside it. Tools that the
hub knows take no such argument: there it is a ``log`` of ``takes_s=SECONDS``.
"""

import asyncio
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec

from brummer.discovery.registrar import Registrar, describe_self
from brummer.host.descriptors import raise_descriptor_limit
from brummer.wire.http.server import Exchange, HttpServer
from brummer.wire.mcp import identity

JSON = [(b"content-type", b"application/json")]
BODY_LIMIT_BYTES = 16 << 20


class Member:
    """One of them."""

    def __init__(self, number: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.record = describe_self(
            Path(f"/projects/crowd-{number}"),
            generation=secrets.token_hex(8),
            url=f"http://127.0.0.1:{self._listener.getsockname()[1]}/mcp",
            token=secrets.token_urlsafe(32),
            protocols=("2025-11-25",),
        )
        self._server = HttpServer(self._handle, body_limit_bytes=BODY_LIMIT_BYTES)

    async def start(self, directory: Path) -> None:
        await self._server.start([self._listener])
        registrar = Registrar(directory, self.record.instance_id)
        await registrar.acquire()
        await registrar.publish(self.record)
        self._registrar = registrar  # holds the life lock

    async def _handle(self, exchange: Exchange) -> None:
        request, record = exchange.request, self.record
        if request.target.startswith(identity.PATH):
            answer = identity.answer(record.token, record.instance_id, record.generation, request.target)
            exchange.respond(*answer, JSON)
            return
        message: dict[str, Any] = msgspec.json.decode(request.body)
        if "id" not in message:
            exchange.respond(202)
            return
        arguments = message["params"].get("arguments", {})
        named_s = str(arguments.get("log", "")).removeprefix("takes_s=")
        await asyncio.sleep(float(named_s or arguments.get("takes_s", 0)))
        content = {"by": record.instance_id, "heard": len(request.body), "fill": "x" * arguments.get("size", 0)}
        result = {"content": [], "structuredContent": content, "isError": False}
        exchange.respond(200, msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": result}), JSON)


async def main(directory: Path, count: int) -> None:
    raise_descriptor_limit(8192)
    members = [Member(number) for number in range(count)]
    for member in members:
        await member.start(directory)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
