"""Owners that are real processes, without Python in them: they start in two milliseconds."""

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from brummer.discovery.record import Record, encode, file_name
from brummer.discovery.registrar import describe_self, lock_path
from brummer.host.files import write_atomically
from brummer.host.pids import identify


@contextlib.contextmanager
def directory_in_memory() -> Iterator[Path]:
    """A private directory, on a tmpfs where there is one: no test here is about a disk."""
    shm = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="brummer-test-", dir=shm if os.access(shm, os.W_OK) else None))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def record_of_this_process(project: Path = Path("/projects/frontend"), **changes: Any) -> Record:
    record = describe_self(
        project,
        generation=secrets.token_hex(8),
        url="http://127.0.0.1:4000/mcp",
        token=secrets.token_urlsafe(32),
        protocols=("2025-11-25",),
    )
    return msgspec.structs.replace(record, **changes)


def put(directory: Path, record: Record) -> Path:
    path = directory / file_name(record.instance_id)
    write_atomically(path, encode(record))
    return path


def bad_path(directory: Path, number: int = 0, name: str = "bad") -> Path:
    """Where to put what is no record, under a name that a record could have: it is refused for what it is alone."""
    return directory / file_name(f"{name}-{number:08x}")


class Owner:
    """A process that holds the life lock of a project; what it would publish, the test publishes."""

    def __init__(self, directory: Path, project: Path) -> None:
        self.directory = directory
        self.record = record_of_this_process(project)
        with self._locked() as lock:
            self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[lock])
        identity = identify(self.process.pid)
        assert identity is not None
        changes = {"pid": identity.pid, "start_token": identity.start_token}
        self.record = msgspec.structs.replace(self.record, **changes)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The child inherits the lock, and keeps it when we close our descriptor."""
        path = lock_path(self.directory, self.record.instance_id)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    @property
    def path(self) -> Path:
        return self.directory / file_name(self.record.instance_id)

    def publish(self, **changes: Any) -> Record:
        self.record = msgspec.structs.replace(self.record, **changes)
        put(self.directory, self.record)
        return self.record

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> None:
        """The process sees the end of its input and exits; its body is taken away."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
