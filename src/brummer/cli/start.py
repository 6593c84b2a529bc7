"""The first steps of every command. A hub on stdio answers its client's first message here, before heavy imports."""

import gc
import os
import sys
from typing import Final

from brummer.cli import standard_streams

_GREETED_FLAGS: Final = frozenset({"--mcp", "--log-json"})
"""Command lines of these flags are certainly valid, so the first answer need not wait for the argument parser."""

_PORT_MAX: Final = 65_535

_OVERRIDE: Final = "BRUMMER_HTTP_TOKEN"
"""The variable of `brummer.host.http_token`; few commands need that module."""

LEAST_OPEN_FILES: Final = 16
"""The interpreter and its event loop take twelve; with four more, later errors can be reported."""


def main(argv: list[str]) -> int:
    """Run ``brum`` with these arguments; returns the exit status."""
    gc.disable()  # nearly all objects made now belong to modules, which stay; `brummer.host.loop` enables it again
    standard_streams.make_usable()
    limit = os.sysconf("SC_OPEN_MAX")  # -1: unlimited; `brummer.host.descriptors` would take 0.2 ms to import
    if 0 <= limit < LEAST_OPEN_FILES:
        print(f"brum: {limit} open files are too few to start; raise the limit (ulimit -n)", file=sys.stderr)
        return 1
    ensure_home()
    if "--mcp" in argv and is_valid(argv) and not sys.stdin.isatty():
        from brummer.cli.protocol_stream import take

        take(answer_early=True)
    _import_datetime()
    _import_msgspec()
    from brummer.cli import dispatch

    if _OVERRIDE in os.environ:
        from brummer.host import http_token

        http_token.take_override(os.environ)
    return dispatch.main(argv)


def _import_datetime() -> None:
    """Import it and collect its Python half, which its C half replaces at once: 0.15 MiB of garbage otherwise.

    `gc.freeze` excludes older objects from the collection, so this takes a tenth of a millisecond.
    """
    gc.freeze()
    import datetime as dt  # noqa: F401

    gc.collect()


def _import_msgspec() -> None:
    """Import it without ``typing_extensions``, which it takes where it is, and does not need. That module is there for
    the toolkit of the terminal view; with what it imports itself it takes a third as long as msgspec.
    """
    if "typing_extensions" not in sys.modules:
        sys.modules["typing_extensions"] = None  # type: ignore[assignment] # its import fails
        import msgspec  # noqa: F401

        del sys.modules["typing_extensions"]


def ensure_home() -> None:
    """All later code takes HOME from the environment. If that is no absolute path, replace it by the directory in the
    system's user database. A container may run as a user without an entry; then use Docker's default.
    """
    if not os.path.isabs(os.environ.get("HOME", "")):  # noqa: PTH117 - pathlib is heavy
        from brummer.host.home import home_directory

        os.environ["HOME"] = str(home_directory(os.environ) or os.sep)


def is_valid(argv: list[str]) -> bool:
    """Whether the arguments are certainly valid, also with ``--metrics HOST:PORT``."""
    if "--metrics" in argv:
        at = argv.index("--metrics")
        host, _, port = "".join(argv[at + 1 : at + 2]).rpartition(":")
        is_port = port == "0" or (port.isdecimal() and len(port) <= len(str(_PORT_MAX)) and 1 <= int(port) <= _PORT_MAX)
        if not is_port or not host or host.startswith("-"):
            return False
        argv = argv[:at] + argv[at + 2 :]
    return _GREETED_FLAGS.issuperset(argv)
