"""The subjects under which streams are opened, and under which their frames come. Pure.

A server grants rights by subject, so the machine's name is one token of it: a right for ``box`` must not hold for
``box.lan``. The dots of a name are written as ``_``, which no name contains.
"""

import re
from typing import Final

_STREAM: Final = re.compile(r"brum\.s\.([a-z0-9][a-z0-9_-]{0,62})\.[0-9a-f]{16}\.[0-9a-f]{16}")


def open_subject(host: str, generation: str) -> str:
    """Where streams to this run of an instance are opened. Only the machine on which it runs subscribes to it."""
    return f"brum.open.{host.replace('.', '_')}.{generation}"


def stream_subject(host: str, agent: str, stream: str) -> str:
    """Where one end of a stream hears its frames. Both ids are 16 random hex digits: who
    knows them may send there.
    """
    return f"brum.s.{host.replace('.', '_')}.{agent}.{stream}"


def stream_host(subject: str) -> str | None:
    """The machine's token; None if it is no subject of a stream.

    What the other side names as its subject is checked by this: we might have the right to publish where it has not.
    """
    match = _STREAM.fullmatch(subject)
    return match and match[1]


def opening_host(subject: str) -> str:
    """The machine's token in an `open_subject`."""
    return subject.split(".")[2]
