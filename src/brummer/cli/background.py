"""An instance of its own session, that no terminal takes along when it closes."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final

from brummer.discovery.directory import log_directory
from brummer.discovery.record import instance_id_for
from brummer.host.directories import private_directory

LOG_LIMIT_BYTES: Final = 1 << 20
"""An instance says a few lines about itself. A log that has grown beyond this starts anew with the next instance."""

TAIL_BYTES: Final = 4096


class Background:
    """One that was started. Blocking, but short: use it in a thread."""

    def __init__(self, project: Path, name: str | None) -> None:
        self.log = _log_path(instance_id_for(project, name))
        log = _opened(self.log)
        try:
            self._begins_at = os.lseek(log, 0, os.SEEK_END)
            # -P: a file of the project must not take the place of a module of ours.
            command = [sys.executable, "-P", "-m", "brummer", "--no-tui", "-d", str(project)]
            self._process = subprocess.Popen(
                [*command, *(["--name", name] if name else [])],
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the scripts' lines, which the instance keeps
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> None:
        """It is not needed: another was faster, and this one must not take its place when that one ends."""
        self._process.terminate()
        self._process.wait()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The last line that it wrote; empty without one."""
        with self.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._begins_at, size - TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "").removeprefix("brum: ")


def _log_path(instance_id: str) -> Path:
    """Raises DirectoryUnusable."""
    directory = log_directory(os.environ)
    private_directory(directory)
    return directory / f"{instance_id}.log"


def _opened(log: Path) -> int:
    """For appending: two that are started at once must not write over each other."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
    if os.fstat(descriptor).st_size > LOG_LIMIT_BYTES:
        os.ftruncate(descriptor, 0)
    return descriptor
