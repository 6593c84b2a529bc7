"""Does a program's output say that a port was taken, and which? Pure."""

import re
from collections.abc import Sequence
from typing import Final

UNKNOWN: Final = 0
"""It says so, but not which: Python's own servers are like that."""
_COMPLAINT = re.compile(
    r"EADDRINUSE|address already in use|only one usage of each socket address|connection in use"
    r"|port (?:\d+ )?(?:is|was) (?:already )?(?:in use|allocated|used|taken)|port already in use",
    re.IGNORECASE,
)
_PORT = re.compile(
    r"""(?: \bport[\s:=]{1,3} | ::: | \]: | \*: | localhost: | \d\.\d{1,3}\.\d{1,3}: | (?:^|[\s("']):
    | ['"],\s* ) (\d{1,5}) \b""",
    re.VERBOSE | re.IGNORECASE,
)
_LAST_PORT = 65_535


def port_in_use(lines: Sequence[str]) -> int | None:
    """The port of the last complaint that names one, `UNKNOWN` if none does, None if nothing complains."""
    complaints = [line for line in lines if _COMPLAINT.search(line)]
    if not complaints:
        return None
    for line in reversed(complaints):
        ports = [port for digits in _PORT.findall(line) if 0 < (port := int(digits)) <= _LAST_PORT]
        if ports:
            return ports[-1]
    return UNKNOWN
