"""Maps a foreign server's HTTP response without an MCP answer to a typed error, with the time to come back. Pure.

A status does not depend on the body (RFC 9110 §15), so 401, 403, 429 and 503 are handled before the body.
"""

import re
from typing import Final

import msgspec

from brummer.core.errors import shown
from brummer.link.errors import RateLimited, Refused
from brummer.wire.http import status_codes
from brummer.wire.http.connection import Response

RETRY_AFTER_MAX_S: Final = 86_400.0
"""Quotas are renewed at least once a day; a longer time is more likely a wrong date."""

WORDS_BYTES: Final = 4096
"""The text of an error is at the start of the body; the rest of a large page is not decoded."""

_SUCCESS: Final = range(200, 300)
_SERVER_FAULTS: Final = range(500, 600)
_JSON_TYPES: Final = ("application/json", "text/event-stream", "")
_SECONDS: Final = re.compile(rb"\d{1,9}(\.\d+)?")


class Unauthorized(Refused):
    """HTTP 401: no credentials, or wrong ones."""

    code = "unauthorized"


class Forbidden(Refused):
    """HTTP 403: these credentials, or this client, are not allowed."""

    code = "forbidden"


class Moved(Refused):
    """HTTP 3xx: the server is at another address."""

    code = "moved"


class NotMcp(Refused):
    """The answer is not MCP, but for example a web page."""

    code = "not_mcp"


class NotSendable(Refused):
    """The settings hold characters that the head of an HTTP request can't carry; nothing was sent."""

    code = "not_sendable"


class ServerUnavailable(Refused):
    """HTTP 503: overloaded, or not started yet."""

    code = "server_unavailable"
    transient = True


class HelloRefused(Refused):
    """The server answers the handshake with a JSON-RPC error: it may still be starting."""

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
    """The refusal for a status that is handled before the body. ``wall_s``: seconds since 1970."""
    kind, what = _BY_STATUS.get(response.status, (None, ""))
    if kind is None:
        return None
    wait_s = retry_after_s(response.headers, wall_s)
    # A gateway also answers 503 when it lost the server in the middle of a call. A 503 with a time to come back has
    # refused the call itself.
    began = kind is ServerUnavailable and wait_s is None
    return kind(_sentence(response, what), began=began, retry_after_s=wait_s, status=response.status)


def refusal_by_content(response: Response, wall_s: float) -> Refused | None:
    """The refusal for a response without a JSON-RPC answer; None if neither status nor type gives a reason."""
    status, wait_s = response.status, retry_after_s(response.headers, wall_s)
    content_type = _content_type(response)
    location = response.headers.get(b"location", b"")
    if status in status_codes.REDIRECTIONS:
        where = f"it is at {shown(location.decode('latin-1'))} now" if location else "it has moved"
        return Moved(
            f"HTTP {status}: {where}; Brummer does not follow redirects, so set that address as its URL",
            began=False,
            retry_after_s=wait_s,
            status=status,
        )
    if status in status_codes.REFUSALS:
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

    A date is compared with the server's own ``Date``, if it sends one, because its clock need not agree with ours.
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
    """The server's own words: a JSON-RPC error's message, an OAuth error (RFC 6750 §3), or a short plain text."""
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
