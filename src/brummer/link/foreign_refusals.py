"""A foreign server's HTTP response that holds no MCP answer → a typed error, with the time to come back. Pure.

A status says the same whatever the body holds (RFC 9110 §15), so 401, 403, 429 and 503 are read before the body is.
"""

import re
from typing import Final, Self

import msgspec

from brummer.core.errors import shown
from brummer.link.errors import NoResult
from brummer.wire import http_status
from brummer.wire.http_connection import Response

COME_BACK_S: Final = 20.0
"""The longest wait for a server that said when to come back: as long as a call waits for an instance that is away."""

RETRY_AFTER_MAX_S: Final = 86_400.0
"""A quota is renewed once a day at the latest; a longer time is more likely a wrong date."""

WORDS_BYTES: Final = 4096
"""An error's text stands at the start of a body; the rest of a large page is not decoded."""

_SUCCESS: Final = range(200, 300)
_SERVER_FAULTS: Final = range(500, 600)
_JSON_TYPES: Final = ("application/json", "text/event-stream", "")
_SECONDS: Final = re.compile(rb"\d{1,9}(\.\d+)?")


class Refused(NoResult):
    """The server answered over HTTP and served no MCP. ``context["status"]`` is the HTTP status.

    ``retry_after_s``: as the server says, counted from now; None where it does not say.
    """

    code = "refused_by_server"
    transient = False
    """True where it may end by itself; else only a change of settings, or of the server, ends it."""

    def __init__(self, message: str, *, began: bool, retry_after_s: float | None = None, **context: object) -> None:
        super().__init__(message, sent=began, **context)
        self.retry_after_s = retry_after_s

    def after(self, retry_after_s: float | None) -> Self:
        """The same refusal for another call, which was not sent."""
        return type(self)(self.message, began=False, retry_after_s=retry_after_s, **self.context)


class Unauthorized(Refused):
    """HTTP 401: no credentials, or wrong ones."""

    code = "unauthorized"


class Forbidden(Refused):
    """HTTP 403: these credentials, or this client, may not."""

    code = "forbidden"


class Moved(Refused):
    """HTTP 3xx: the server is at another address."""

    code = "moved"


class NotMcp(Refused):
    """What answers speaks no MCP: its body is a web page, say."""

    code = "not_mcp"


class NotSendable(Refused):
    """The settings hold what can't stand in the head of an HTTP request; nothing was sent."""

    code = "not_sendable"


class RateLimited(Refused):
    """HTTP 429: too many requests."""

    code = "rate_limited"
    transient = True


class ServerUnavailable(Refused):
    """HTTP 503: overloaded, or not started yet."""

    code = "server_unavailable"
    transient = True


class HelloRefused(Refused):
    """The handshake is answered with a JSON-RPC error: the server may still be starting."""

    transient = True


class ServerFailed(Refused):
    """Any other HTTP 5xx."""

    code = "server_failed"
    transient = True


_BY_STATUS: Final[dict[int, tuple[type[Refused], str]]] = {
    401: (Unauthorized, "the server wants other credentials; set them in its headers, in [servers]"),
    403: (Forbidden, "the server does not allow this; look at its headers in [servers]"),
    429: (RateLimited, "the server takes no more requests for now"),
    503: (ServerUnavailable, "the server is not available"),
}


def refusal_by_status(response: Response, wall_s: float) -> Refused | None:
    """For the statuses that are read before the body. ``wall_s``: seconds since 1970."""
    kind, what = _BY_STATUS.get(response.status, (None, ""))
    if kind is None:
        return None
    wait_s = retry_after_s(response.headers, wall_s)
    # A gateway also says 503 when it lost the server in the middle of a call. One that says when to come back has
    # refused the call itself.
    began = kind is ServerUnavailable and wait_s is None
    return kind(_sentence(response, what), began=began, retry_after_s=wait_s, status=response.status)


def refusal_by_content(response: Response, wall_s: float) -> Refused | None:
    """For a response from which no JSON-RPC answer could be read; None where neither status nor type says why."""
    status, wait_s = response.status, retry_after_s(response.headers, wall_s)
    content_type = _content_type(response)
    location = response.headers.get(b"location", b"")
    if status in http_status.REDIRECTIONS:
        where = f"it is at {shown(location.decode('latin-1'))} now" if location else "it has moved"
        return Moved(
            f"HTTP {status}: {where}, where we don't follow: name that address",
            began=False,
            retry_after_s=wait_s,
            status=status,
        )
    if status in http_status.REFUSALS:
        what = "the server refuses the request; look at its URL in [servers]"
        return Refused(_sentence(response, what), began=False, retry_after_s=wait_s, status=status)
    if status in _SERVER_FAULTS:
        return ServerFailed(_sentence(response, "the server failed"), began=True, retry_after_s=wait_s, status=status)
    encoding = response.headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if status in _SUCCESS and (content_type not in _JSON_TYPES or encoding != "identity"):
        found = shown(content_type if encoding == "identity" else f"{content_type}, encoded with {encoding}")
        what = f"HTTP {status}: the answer is {found}, not MCP; look at the server's URL in [servers]"
        return NotMcp(what, began=True, status=status, content_type=found)
    return None


def retry_after_s(headers: dict[bytes, bytes], wall_s: float) -> float | None:
    """``Retry-After`` (RFC 9110 §10.2.3), in seconds from now: a number, or a date.

    A date is compared with the server's own ``Date`` where it sends one, because its clock need not agree with ours.
    """
    text = headers.get(b"retry-after", b"").strip()
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_MAX_S)
    until_s = _date_s(text)
    if until_s is None:
        return None
    now_s = _date_s(headers.get(b"date", b""))
    return min(max(0.0, until_s - (wall_s if now_s is None else now_s)), RETRY_AFTER_MAX_S)


def _date_s(text: bytes) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 — 10 ms, and few servers send a date here

    try:
        return parsedate_to_datetime(text.decode("latin-1")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _content_type(response: Response) -> str:
    return response.headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")


def _sentence(response: Response, what: str) -> str:
    words = _words(response)
    return f"HTTP {response.status}: {what}" + (f"; it says: {shown(words)}" if words else "")


def _words(response: Response) -> str:
    """What the server itself says: a JSON-RPC error's message, an OAuth error (RFC 6750 §3), or a short plain text."""
    content_type = _content_type(response)
    if content_type == "text/plain":
        return response.body[:WORDS_BYTES].decode(errors="replace").strip()
    if len(response.body) > WORDS_BYTES:
        return ""
    try:
        said = msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""
    error = said.get("error") if isinstance(said, dict) else None
    for place, key in ((error, "message"), (said, "error_description"), (said, "message"), (said, "detail")):
        text = place.get(key) if isinstance(place, dict) else None
        if isinstance(text, str) and text:
            return text
    return error if isinstance(error, str) else ""
