"""Decides which requests an HTTP server of Brummer serves: they need the token, and must not come from a foreign page.

A request without the token gets only a refusal: 403 for a foreign Host or Origin (DNS rebinding), else 401. With the
token any Host is accepted, because a page behind a rebound name has no token; a foreign Origin is still refused.
"""

import hmac
import re
from typing import Final

from brummer.wire.http.server import HttpRequest, Refusal

JUDGED_LIMIT: Final = 100
"""Pairs of Host and Origin whose verdict is kept."""

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")
"""Host and port, and nothing else: general URL parsers find a host in much more."""

_JSON: Final = (b"content-type", b"application/json")
FOREIGN: Final = Refusal(403, b'{"error":"Host or Origin is not allowed"}', (_JSON,))
TOKEN_NEEDED: Final = Refusal(401, b'{"error":"a bearer token is needed"}', (_JSON, (b"www-authenticate", b"Bearer")))


def is_of_this_server(request: HttpRequest) -> bool:
    """Host names the loopback, and Origin, if there is one, is exactly this server: no page of another port either."""
    host, origin = request.headers.get(b"host", b""), request.headers.get(b"origin")
    return _host_name(host) in LOOPBACK_NAMES and origin in (None, b"http://" + host)


class Auth:
    """``extra_hosts``: names of this server beside those of the loopback."""

    def __init__(self, token: str, extra_hosts: frozenset[str] = frozenset()) -> None:
        self._token = token.encode()
        self._usual = b"Bearer " + self._token
        self._hosts = LOOPBACK_NAMES | {host.lower() for host in extra_hosts}
        self._judged: dict[tuple[bytes, bytes | None], tuple[bool, bool]] = {}

    def admit(self, request: HttpRequest) -> Refusal | bool:
        """True for a request that has the token, else its refusal."""
        headers = request.headers
        given = headers.get(b"authorization", b"")
        has_token = hmac.compare_digest(given, self._usual) or self._has_token(given)
        sent = headers.get(b"host", b""), headers.get(b"origin")
        host_is_ours, origin_is_ours = self._judged.get(sent) or self._judge(sent)
        if not origin_is_ours or not (host_is_ours or has_token):
            return FOREIGN
        return has_token or TOKEN_NEEDED

    def _judge(self, sent: tuple[bytes, bytes | None]) -> tuple[bool, bool]:
        """(Host names us, Origin names us or is missing). Cached: a client sends the same in every request."""
        host, origin = sent
        if len(self._judged) >= JUDGED_LIMIT:
            self._judged.clear()
        judged = self._judged[sent] = _host_name(host) in self._hosts, origin is None or self._is_own_origin(origin)
        return judged

    def _has_token(self, given: bytes) -> bool:
        scheme, _, token = given.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token, self._token)

    def _is_own_origin(self, origin: bytes) -> bool:
        scheme, _, authority = origin.partition(b"://")
        return scheme in (b"http", b"https") and _host_name(authority) in self._hosts


def _host_name(authority: bytes) -> str:
    found = _AUTHORITY.fullmatch(authority.decode("latin-1").lower())
    return found[1].strip("[]") if found else ""
