"""Checks of texts that go into the head of an HTTP request. Pure.

URLs and headers come from files and flags. A line break in a value would begin another header, and a name such as
``content-length`` would frame the request twice. So these functions check settings when they are read, and again when
the bytes are made.
"""

import string
from collections.abc import Iterator, Mapping
from typing import Final

_IN_NAMES: Final = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
"""A token: RFC 9110, 5.6.2."""

OURS: Final = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "expect",
        "keep-alive",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""These headers frame the request, or repeat a field of its body."""


def header_faults(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names of headers that can't be sent, each with the reason. Reasons contain no values: they may be secret."""
    seen: set[str] = set()
    for name, value in headers.items():
        if not name or not _IN_NAMES.issuperset(name):
            yield name, "a header's name has letters, digits and hyphens only"
        elif name.lower() in OURS:
            yield name, f"{name} is set by brum itself"
        elif name.lower() in seen:
            yield name, f"{name} is given twice (case does not matter)"
        elif not value.replace("\t", " ").isprintable():
            yield name, f"the value of {name} has a line break, or another invisible character"
        seen.add(name.lower())


def is_sendable_url(url: str) -> bool:
    """The URL has neither blanks nor invisible characters; ``urlsplit`` would silently drop some."""
    return url.isprintable() and " " not in url
