"""Unit tests: no network beyond loopback, no foreign programs, and quick enough to run after every save."""

import time
from collections.abc import Callable, Iterator

import pytest

from brummer.host.pids import own_identity

# Reads a few files under /proc, once per process: before any loop runs here, as in the programs themselves.
own_identity()


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the machine's time zone, by its name or its rules as in POSIX' TZ, until the test ends."""

    def enter(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield enter
    monkeypatch.undo()
    time.tzset()
