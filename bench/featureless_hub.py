"""A hub without any care: what is left to do when every promise is taken away.

``python featureless_hub.py PORT TOKEN``. It decodes each message, takes ``instance`` out of the arguments, makes the
call on one of eight keep-alive connections, and puts the client's id back into the answer. No identity, no deadline, no
keys, no cancellation, no recovery, no bounds. The libraries are those of the real one.
"""

import asyncio
import os
import sys
from typing import Any

import httptools
import msgspec
import uvloop

port, token = int(sys.argv[1]), sys.argv[2]
HEAD = (
    f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
    "content-type: application/json\r\naccept: application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: "
).encode()
encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


class Connection(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []

    def ask(self, body: bytes) -> "asyncio.Future[bytes]":
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(b"%b%d\r\n\r\n%b" % (HEAD, len(body), body))
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        self._answer.set_result(body)


class Stdio(asyncio.Protocol):
    def __init__(self, idle: "asyncio.Queue[Connection]", ended: asyncio.Event) -> None:
        self._idle, self._ended, self._partial = idle, ended, b""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsent: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            task = self._loop.create_task(self._relay(decode(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _relay(self, message: dict[str, Any]) -> None:
        message["params"].get("arguments", {}).pop("instance", None)
        request_id = message["id"]
        connection = await self._idle.get()
        answer = decode(await connection.ask(encode({**message, "id": 1})))
        self._idle.put_nowait(connection)
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(encode({"jsonrpc": "2.0", "id": request_id, "result": answer["result"]}))

    def _flush(self) -> None:
        os.write(1, b"\n".join(self._unsent) + b"\n")
        self._unsent = []

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — however it ended
        self._ended.set()


async def main() -> None:
    loop = asyncio.get_running_loop()
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    ended = asyncio.Event()
    for _ in range(8):
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
        idle.put_nowait(connection)
    await loop.connect_read_pipe(lambda: Stdio(idle, ended), sys.stdin)
    await ended.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
