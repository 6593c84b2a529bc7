"""Who may speak to an HTTP server of ours: Host and Origin must name it (DNS rebinding), and the token must fit."""

import hmac
import re
from typing import Final

from brummer.wire.http_server import HttpRequest

JUDGED_LIMIT: Final = 100
"""Pairs of Host and Origin whose verdict is kept."""

TOKEN_VARIABLE: Final = "BRUMMER_HTTP_TOKEN"  # noqa: S105 — its name, not its value

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
"""Host and port, and nothing else: general URL parsers find a host in much more."""


class Doorkeeper:
    """``token`` None means that nobody need show one."""

    def __init__(self, token: str | None, extra_hosts: frozenset[str] = frozenset()) -> None:
        self._token = None if token is None else token.encode()
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in extra_hosts}
        self._judged: dict[tuple[bytes, bytes], bool] = {}

    def comes_from_here(self, request: HttpRequest) -> bool:
        """Host and, if there is one, Origin must name us. Judged once each: a client says the same every time."""
        said = (request.headers.get(b"host", b""), request.headers.get(b"origin", b""))
        if said not in self._judged:
            if len(self._judged) >= JUDGED_LIMIT:
                self._judged.clear()
            host, origin = said
            is_ours = _host_name(host) in self._hosts
            self._judged[said] = is_ours and (b"origin" not in request.headers or self._is_own_origin(origin))
        return self._judged[said]

    def is_authorized(self, request: HttpRequest) -> bool:
        if self._token is None:
            return True
        scheme, _, token = request.headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token, self._token)

    def _is_own_origin(self, origin: bytes) -> bool:
        scheme, _, authority = origin.partition(b"://")
        return scheme in (b"http", b"https") and _host_name(authority) in self._hosts


def _host_name(authority: bytes) -> str:
    found = _AUTHORITY.fullmatch(authority.decode("latin-1").lower())
    return found[1].strip("[]") if found else ""
