"""The relay that anybody writes first: from stdio to HTTP with asyncio streams, from the standard library alone.

``python stdlib_relay.py PORT TOKEN``. A task for each line, eight keep-alive connections, no look into a message. It
promises nothing: no identity, no deadline, no cancellation, no recovery, one instance.
"""

import asyncio
import sys

port, token = int(sys.argv[1]), sys.argv[2]
HEAD = (
    f"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
    "content-type: application/json\r\naccept: application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: "
)


async def main() -> None:
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(8):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

    async def relay(line: bytes) -> None:
        reader, writer = connection = await idle.get()
        writer.write(f"{HEAD}{len(line)}\r\n\r\n".encode() + line)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        idle.put_nowait(connection)
        sys.stdout.buffer.write(body + b"\n")
        sys.stdout.buffer.flush()

    async with asyncio.TaskGroup() as relaying:
        while line := await lines.readline():
            relaying.create_task(relay(line))


if __name__ == "__main__":
    asyncio.run(main())
