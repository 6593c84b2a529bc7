"""Text that is printed for a reader that does not read."""

import errno
import fcntl
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from brummer.core.background_writer import BackgroundWriter

PIPE_BYTES = 4096
WITHIN_S = 30


class Pipe:
    """A pipe that is full when it is made. `read` returns only the bytes that came later."""

    def __init__(self) -> None:
        self.readable, writable = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            fcntl.fcntl(writable, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(writable, False)
        self._filled = 0
        self._seen = b""
        try:
            while True:
                self._filled += os.write(writable, b"x" * PIPE_BYTES)
        except BlockingIOError:
            os.set_blocking(writable, True)
        self.stream: TextIO = os.fdopen(writable, "w", encoding="utf-8")

    def read(self, wanted: str) -> str:
        """All text that has come, once it ends with this."""
        while not (text := self._seen[self._filled :].decode(errors="replace")).endswith(wanted):
            self._seen += os.read(self.readable, 1 << 16)
        return text

    def close(self) -> None:
        os.close(self.readable)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_stalled_reader_blocks_no_write_and_dropped_lines_are_counted(pipe: Pipe) -> None:
    writer = BackgroundWriter(pipe.stream, "test", limit=10)
    for text in ("first line\n", "second\nthird\n", "fourth\n"):
        writer.write(text)
    assert writer.dropped == 3
    assert pipe.read("first line\n") == "first line\n"
    writer.flush()
    assert pipe.read("in time]\n").endswith("[… 3 lines are missing here: they could not be written in time]\n")
    writer.write("last\n")
    writer.flush()
    assert writer.dropped == 0


def test_the_end_of_a_program_waits_for_a_stalled_reader_no_longer_than_the_timeout(pipe: Pipe) -> None:
    writer = BackgroundWriter(pipe.stream, "test", limit=1000)
    writer.write("unread\n")
    ended = threading.Event()

    def end() -> None:
        writer.flush(0.01)
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    assert ended.wait(WITHIN_S)
    assert pipe.read("unread\n") == "unread\n"


def test_a_stream_that_another_has_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.stream.fileno(), False)
    writer = BackgroundWriter(pipe.stream, "test", limit=100_000)
    text = "a long line of text\n" * 1000
    writer.write(text)
    assert pipe.read(text[-20:]).count("\n") > 0
    writer.flush()


def test_what_is_printed_comes_through_when_no_thread_can_be_started_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.StringIO()
    writer = BackgroundWriter(stdout, "test", limit=1000)
    assert writer.start()
    monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was started"))
    writer.write("one\n")
    writer.flush()
    assert stdout.getvalue() == "one\n"


def test_a_thread_that_can_not_be_started_is_tried_again_and_the_lines_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    stdout = io.StringIO()
    writer = BackgroundWriter(stdout, "test", limit=1000)
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", refused)
        writer.write("one\ntwo\n")
    writer.write("three\n")
    writer.flush()
    assert stdout.getvalue() == "[… 2 lines are missing here: they could not be written in time]\nthree\n"


def test_the_program_continues_when_the_reader_is_gone(pipe: Pipe) -> None:
    os.close(pipe.readable)
    writer = BackgroundWriter(pipe.stream, "test", limit=1000)
    writer.write("one\n")
    writer.write("two\n")
    writer.flush()
    pipe.readable = os.open(os.devnull, os.O_RDONLY)


def test_a_character_that_the_stream_can_not_show_is_shown_by_its_number(pipe: Pipe) -> None:
    pipe.stream.reconfigure(encoding="ascii")  # type: ignore[attr-defined]
    writer = BackgroundWriter(pipe.stream, "test", limit=1000)
    writer.write("caf\u00e9\n")
    assert pipe.read("\n") == "caf\\xe9\n"


def test_lines_lost_on_a_full_disk_are_counted_and_reported_once_it_has_room(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (tmp_path / "log").open("w+") as log:
        writer = BackgroundWriter(log, "test", limit=1000)
        with monkeypatch.context() as disk:
            disk.setattr("brummer.core.background_writer.os.write", full)
            writer.write("one\ntwo\n")
            writer.flush()
        writer.write("three\n")
        writer.flush()
    assert (tmp_path / "log").read_text().startswith("[… ")
    assert (tmp_path / "log").read_text().endswith("three\n")


def test_the_thread_continues_after_any_error_of_a_write() -> None:
    class Fails(io.StringIO):
        fails = True

        def write(self, text: str) -> int:
            if self.fails:
                raise MemoryError
            return super().write(text)

    stream = Fails()
    writer = BackgroundWriter(stream, "test", limit=1_000)
    writer.write("lost\n")
    writer.flush(WITHIN_S)
    stream.fails = False
    writer.write("kept\n")
    writer.flush(WITHIN_S)
    assert stream.getvalue().endswith("kept\n")
