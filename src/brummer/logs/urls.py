"""URLs that a dev server prints, as something that can be opened from here."""

import re

import msgspec

_URL = re.compile(
    r"""(https?)://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?((?:/|\?|\#)[^\s<>"'`{}|\\^]*)?""", re.ASCII
)
_TRAILING = ".,;:!?"
_ANY_ADDRESS = {"0.0.0.0", "[::]", "[0:0:0:0:0:0:0:0]"}  # noqa: S104 - recognised in text, never bound
_LOOPBACK = {"localhost", "[::1]"}
_LAST_PORT = 65_535
_DEFAULT_PORT = {"http": 80, "https": 443}
_BRACKETS = (("(", ")"), ("[", "]"))


class Url(msgspec.Struct, frozen=True):
    """``text`` can be opened as it is; ``is_local`` when its host is this machine's loopback."""

    text: str
    port: int
    is_local: bool


def urls_in(text: str) -> list[Url]:
    """The http(s) URLs in one line without escape sequences, in order.

    "Any address" hosts (0.0.0.0, [::]) become localhost; punctuation that belongs to the sentence is left
    off.
    """
    if "://" not in text:
        return []
    return [url for match in _URL.finditer(text) if (url := _url(*match.groups()))]


def _url(scheme: str, host: str, digits: str | None, path: str | None) -> Url | None:
    port = int(digits) if digits else _DEFAULT_PORT[scheme]
    if not 0 < port <= _LAST_PORT:
        return None
    host = "localhost" if host in _ANY_ADDRESS else host
    if not digits and not path:
        host = host.rstrip(".")
    authority = f"{host}:{digits}" if digits else host
    return Url(f"{scheme}://{authority}{_without_trailing(path or '')}", port, _is_local(host))


def _is_local(host: str) -> bool:
    return host in _LOOPBACK or host.startswith("127.") or host.endswith(".localhost")


def _without_trailing(path: str) -> str:
    """``(http://localhost:3000/).`` ends at the slash, but ``/a_(b)`` keeps its bracket. Linear in its length."""
    unopened = {close: path.count(close) - path.count(open_) for open_, close in _BRACKETS}
    end = len(path)
    while end and (path[end - 1] in _TRAILING or unopened.get(path[end - 1], 0) > 0):
        end -= 1
        if path[end] in unopened:
            unopened[path[end]] -= 1
    return path[:end]
