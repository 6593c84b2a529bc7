"""A relay from stdio to HTTP that does nothing else: the floor for any Python program in the middle.

``python bare_relay.py PORT TOKEN``. Standard library only; eight keep-alive connections, first come, first served; no
parsing but for the request's id and the answer's length.
"""

import asyncio
import os
import sys

port, token = int(sys.argv[1]), sys.argv[2]
HEAD = (
    f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
    "content-type: application/json\r\naccept: application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: "
).encode()


class Connection(asyncio.Protocol):
    def __init__(self, idle: "asyncio.Queue[Connection]") -> None:
        self._idle = idle
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def ask(self, line: bytes) -> None:
        self._transport.write(b"%b%d\r\n\r\n%b" % (HEAD, len(line), line))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) == int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            self._received = b""
            os.write(1, body + b"\n")
            self._idle.put_nowait(self)


class Stdin(asyncio.Protocol):
    def __init__(self, lines: "asyncio.Queue[bytes]", ended: asyncio.Event) -> None:
        self._lines, self._ended, self._partial = lines, ended, b""

    def data_received(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._lines.put_nowait(line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 — however it ended
        self._ended.set()


async def main() -> None:
    loop = asyncio.get_running_loop()
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    ended = asyncio.Event()
    for _ in range(8):
        _, connection = await loop.create_connection(lambda: Connection(idle), "127.0.0.1", port)
        idle.put_nowait(connection)
    await loop.connect_read_pipe(lambda: Stdin(lines, ended), sys.stdin)

    async def serve() -> None:
        while True:
            line = await lines.get()
            (await idle.get()).ask(line)

    serving = asyncio.create_task(serve())
    await ended.wait()
    serving.cancel()


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
