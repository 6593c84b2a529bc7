"""Logging to stderr, for people or as JSON lines. Standard output belongs to the protocol.

Repeated lines are logged a few times, and then counted. Text that looks like a secret is removed from each finished
line, whatever code logged it.
"""

import functools
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from brummer.core import json_text
from brummer.core.background_writer import BackgroundWriter

if TYPE_CHECKING:
    import re

LEVELS: Final = ("debug", "info", "warning", "error")

END_S: Final = 0.5
"""How long the last lines may wait for a reader. A hub waits twice at its end, and promises to end within 2 s."""

WAITING_LIMIT: Final = 1 << 20
"""Characters of the log that wait to be read: some ten thousand lines."""

REPEATS: Final = 10
INTERVAL_S: Final = 10.0
"""One kind of line at most so often in so long: a person reads no more, and a link that flaps fills no disk."""

KINDS: Final = 1_000
"""Kinds of lines whose repeats are counted at a time."""


def fields(**values: object) -> dict[str, object]:
    """For ``extra``: what a JSON line shall carry beside its message, such as ``link`` and ``call``, their ids."""
    return {"fields": values}


@functools.cache
def _writer_of(stream: TextIO) -> BackgroundWriter:
    return BackgroundWriter(stream, "standard error", WAITING_LIMIT)


def standard_error() -> BackgroundWriter:
    """Log without blocking: a full pipe, or a stopped terminal, must not block a running event loop."""
    return _writer_of(sys.stderr)


def configure(level: str = "warning", *, as_json: bool = False) -> None:
    """Send this process' log to stderr from ``level`` (one of `LEVELS`) up."""
    handler = _Handler(standard_error())
    handler.setFormatter(_JsonLines() if as_json else _Lines("brum: %(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # a closed stderr must not break the hub


# Repeats.


class _Said(msgspec.Struct):
    first: logging.LogRecord
    times: int = 0

    @property
    def untold(self) -> int:
        return self.times - REPEATS


class Repeats:
    """Which records may pass. Pure: a record's own time (seconds since 1970) is the time."""

    def __init__(self) -> None:
        self._said: dict[tuple[object, ...], _Said] = {}

    def admits(self, record: logging.LogRecord) -> bool:
        """Whether this one is to be written; a kind is a message before its values, of one link, about one event."""
        values = _fields_of(record)
        kind = (record.name, record.msg, values.get("event"), values.get("link"))
        said = self._said.setdefault(kind, _Said(record))
        said.times += 1
        return said.times <= REPEATS

    def over(self, now_s: float | None = None) -> Iterator[logging.LogRecord]:
        """For each kind whose interval is over, and that was cut short, one record that says how many there were more.

        All of them without ``now_s``. A clock that was set back ends every interval.
        """
        ended: list[tuple[object, ...]] = []
        for kind, said in self._said.items():  # the oldest first
            is_over = now_s is None or not 0 <= now_s - said.first.created < INTERVAL_S
            if not is_over and len(self._said) - len(ended) <= KINDS:
                break
            ended.append(kind)
        for said in map(self._said.pop, ended):
            if said.untold > 0:
                yield _summary(said)


def _summary(said: _Said) -> logging.LogRecord:
    first = said.first
    record = logging.makeLogRecord({**first.__dict__, "exc_info": None, "exc_text": None, "args": None})
    record.msg = f"… and {said.untold} more: {first.getMessage()}"
    record.__dict__.update(fields(**{**_fields_of(first), "more": said.untold}))
    return record


class _Handler(logging.Handler):
    """Returns at once, even if the reader of stderr has stopped."""

    def __init__(self, writer: BackgroundWriter) -> None:
        super().__init__()
        self._repeats = Repeats()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        for summary in self._repeats.over(record.created):
            self._write(summary)
        if self._repeats.admits(record):
            self._write(record)

    def _write(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 — as every handler of the standard library
            self.handleError(record)

    def flush(self) -> None:
        """Wait until all lines are written; blocks for half a second at the most."""
        self._writer.flush(END_S)

    def close(self) -> None:
        for summary in self._repeats.over():
            self._write(summary)
        self.flush()
        super().close()


# Lines.


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 — as the library calls it
        """One line: a line break in a name must not begin a line that looks like a log line."""
        return super().formatMessage(record).replace("\n", "\\n")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_secrets(record.getMessage()),
        }
        for name, value in _fields_of(record).items():
            event.setdefault(name, without_secrets(value) if isinstance(value, str) else value)
        if record.exc_info:
            event["traceback"] = without_secrets(self.formatException(record.exc_info))
        return json_text.encode(event).decode()


def _fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    found: Mapping[str, object] = getattr(record, "fields", {})
    return found


def without_secrets(text: str) -> str:
    """The text, with ``***`` for what follows a name like ``token`` or ``authorization``, and for a URL's password."""
    return _secrets().sub(lambda found: f"{found['before']}***", text)


@functools.cache
def _secrets() -> "re.Pattern[str]":
    import re  # noqa: PLC0415 — most runs log nothing

    name = r"""[\w-]*(?:token|password|passwd|secret|api[-_]?key)|authorization|(?:set-)?cookie"""
    value = r"""[^\s"',;\\)}&]+"""
    return re.compile(
        rf"""(?P<before>\b(?:{name})["'\\]*\s*(?:[:=]|,\s(?=b?['"]))\s*(?:b(?=["']))?["'\\]*(?:(?:bearer|basic)\s+)?"""
        rf"""|\b(?:bearer|basic)\s+|://[^/\s:@]*:(?=[^/\s@]+@)){value}""",
        re.IGNORECASE,
    )
