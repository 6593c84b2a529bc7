"""Connections: an address needs no look-up, and what the system says reaches the caller."""

import socket
import subprocess
import sys

import pytest

from brummer.core.errors import ConnectionRefused
from brummer.wire.http.dialling import dial

CONNECTS = """
import asyncio, socket, sys
from pathlib import Path
import uvloop
from brummer.wire.http.dialling import dial

async def connect():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (await dial("127.0.0.1", port, timeout_s=10, descriptors=1000, tls=None)).close()

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(connect())
print(len(list(Path("/proc/self/task").iterdir())))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="platform: only /proc counts threads")
def test_to_connect_to_an_address_takes_no_thread() -> None:
    done = subprocess.run([sys.executable, "-c", CONNECTS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1"]


async def test_a_connection_is_made_and_does_not_block() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with await dial("127.0.0.1", port, timeout_s=10, descriptors=10_000, tls=None) as sock:
            accepted, address = listener.accept()
            with accepted:
                assert sock.getsockname() == address
                assert sock.gettimeout() == 0


async def test_a_port_on_which_nobody_listens_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefused):
        await dial("127.0.0.1", port, timeout_s=10, descriptors=10_000, tls=None)
