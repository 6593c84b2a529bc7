"""Logging to stderr, for people or as JSON lines. Standard output belongs to the protocol."""

import logging
import sys
import time
from typing import Final

import msgspec

LEVELS: Final = ("debug", "info", "warning", "error")


def configure(level: str = "warning", *, as_json: bool = False) -> None:
    """Send this process' log to stderr from ``level`` (one of `LEVELS`) up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("brum: %(levelname)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # a closed stderr must not break the hub


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(event).decode()
