"""A proxy that adds the token, for clients that cannot send a header of their own, such as the conformance suite.

It adds the token like a configured client: only to requests that name the proxy as their host. A request with a foreign
Host or Origin passes without the token, like a request of a web page behind a rebound name.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.integration.programs import WAIT_S

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_FOREIGN = re.compile(rb"\r\n(?:host|origin):(?! *(?:https?://)?(?:localhost|127\.0\.0\.1)[:\r])", re.IGNORECASE)


@contextlib.contextmanager
def proxy_with_token(url: str, token: str) -> Iterator[str]:
    """Yields the URL of a proxy to this one."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    target = parts.hostname, parts.port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (listener, target, b"\r\nauthorization: Bearer %b" % token.encode())
        accepting = threading.Thread(target=_accept, args=arguments, daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{parts.path}"
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(WAIT_S)


def _accept(listener: socket.socket, target: tuple[str, int], header: bytes) -> None:
    with contextlib.suppress(OSError):  # the listener is shut down
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(target)
            threading.Thread(target=_requests, args=(client, server, header), daemon=True).start()
            threading.Thread(target=_answers, args=(server, client), daemon=True).start()


def _requests(client: socket.socket, server: socket.socket, header: bytes) -> None:
    """One after the other; a body is as long as its length says."""
    held = b""
    with contextlib.suppress(OSError):
        while True:
            while b"\r\n\r\n" not in held:
                if not (data := client.recv(65536)):
                    server.shutdown(socket.SHUT_WR)
                    return
                held += data
            head, _, held = held.partition(b"\r\n\r\n")
            length = int(found[1]) if (found := _LENGTH.search(head)) else 0
            while len(held) < length:
                held += client.recv(65536)
            server.sendall(head + (b"" if _FOREIGN.search(head + b"\r") else header) + b"\r\n\r\n" + held[:length])
            held = held[length:]


def _answers(server: socket.socket, client: socket.socket) -> None:
    """As they come, up to the end of either side, which ends both."""
    with contextlib.suppress(OSError):
        while data := server.recv(65536):
            client.sendall(data)
    for each in (client, server):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
