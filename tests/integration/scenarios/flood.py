"""Unproven connections to a port, as many as one process can open.

    python flood.py HOST PORT KIND COUNT

Prints "flooding" once COUNT connections were opened, and continues until it is ended. It reopens the connections
that the server closes.
"""

import selectors
import socket
import sys
from typing import Final

BEGINNINGS: Final[dict[str, bytes]] = {
    "silent": b"",
    "half": b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-le",
    "drip": b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nx-filler: ",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "unauthorized": b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 1000,
    "foreign": b"GET /mcp HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    "open": b"GET /identity?nonce=0123456789abcdef HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    "forged": b"GET /identity?nonce=0123456789abcdef HTTP/1.1\r\nhost: 127.0.0.1\r\nx-brummer-proof: forged\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
"""What each kind sends first. ``churn`` opens and closes as fast as it can."""

DRIP_S: Final = 0.05


def opened(address: tuple[str, int], kind: str, selector: selectors.BaseSelector) -> bool:
    try:
        connection = socket.create_connection(address, timeout=10)
        connection.setblocking(False)
        connection.send(BEGINNINGS[kind])
    except OSError:
        return False
    selector.register(connection, selectors.EVENT_READ)
    return True


def drip(selector: selectors.BaseSelector) -> None:
    for key in list(selector.get_map().values()):
        try:
            key.fileobj.send(b"x")  # type: ignore[union-attr]
        except OSError:
            close(key, selector)


def close(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
    selector.unregister(key.fileobj)
    key.fileobj.close()  # type: ignore[union-attr]


def hold(address: tuple[str, int], kind: str, count: int) -> None:
    selector, open_now, announced = selectors.DefaultSelector(), 0, False
    tried = 0
    while True:
        while open_now < count and tried < 2 * count:
            tried += 1
            open_now += opened(address, kind, selector)
        tried = 0
        if not announced:
            announced = True
            print("flooding", flush=True)
        if kind == "drip":
            drip(selector)
        for key, _ in selector.select(DRIP_S):
            try:
                ended = not key.fileobj.recv(65536)  # type: ignore[union-attr]
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                close(key, selector)
        open_now = len(selector.get_map())


def churn(address: tuple[str, int], count: int) -> None:
    opened_so_far = 0
    while True:
        try:
            socket.create_connection(address, timeout=10).close()
        except OSError:
            continue
        opened_so_far += 1
        if opened_so_far == count:
            print("flooding", flush=True)


if __name__ == "__main__":
    target = sys.argv[1], int(sys.argv[2])
    if sys.argv[3] == "churn":
        churn(target, int(sys.argv[4]))
    else:
        hold(target, sys.argv[3], int(sys.argv[4]))
