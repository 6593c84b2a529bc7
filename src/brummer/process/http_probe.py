"""Does a URL answer, as a health check asks: one GET, and the status is all that counts."""

import asyncio
import contextlib
import ssl
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
"""A dev server compiles its first page on the first request."""
_OK_BELOW = 400


async def http_answers(url: str) -> bool:
    """A GET is answered with a status below 400. A certificate is not checked: it is a dev server's own."""
    with contextlib.suppress(OSError, ValueError, EOFError, asyncio.LimitOverrunError, TimeoutError):
        parts = urlsplit(url)
        secure = _unchecked() if parts.scheme == "https" else None
        async with asyncio.timeout(TIMEOUT_S):
            port = parts.port or (443 if secure else 80)
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
            try:
                target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                writer.write(f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n".encode())
                version, status, *_ = (await reader.readuntil(b"\n")).split()
                return version.startswith(b"HTTP/") and int(status) < _OK_BELOW
            finally:
                writer.transport.abort()
    return False


def _unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
