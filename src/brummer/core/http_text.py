"""Which texts may stand in the head of an HTTP request. Pure.

Files and flags give URLs and headers; the wire takes bytes. A line break in a value would begin another header, and a
name such as ``content-length`` would frame the request twice. So settings are checked when they are read, with these
functions, and again where the bytes are made.
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
"""They frame the request, or say what its body says."""


def header_faults(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names of the headers that can't be sent, and why. Values are not repeated: they may be secret."""
    seen: set[str] = set()
    for name, value in headers.items():
        if not name or not _IN_NAMES.issuperset(name):
            yield name, "a header's name has letters, digits and hyphens only"
        elif name.lower() in OURS:
            yield name, f"{name} is set by brum itself"
        elif name.lower() in seen:
            yield name, f"{name} is there twice; case makes no difference"
        elif not value.replace("\t", " ").isprintable():
            yield name, f"the value of {name} has a line break, or another character that nobody sees"
        seen.add(name.lower())


def is_sendable_url(url: str) -> bool:
    """Whether it has neither blanks nor characters that nobody sees; ``urlsplit`` would drop some without a word."""
    return url.isprintable() and " " not in url
