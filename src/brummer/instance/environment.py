"""The environment that a script is started with."""

import errno
import io
import os
import select

from brummer.core.errors import BrummerError
from brummer.host.clocks import awake
from brummer.instance.detect import Script
from brummer.process.guard import MARK, RUN_MARK, marked_environment

LIMIT_BYTES = 1024 * 1024
"""More than the kernel takes for a whole environment on most systems."""
PIPE_WAIT_S = 10.0
"""Password managers serve secrets through a named pipe, and ask first. A thread waits, so it can't be for ever."""


class EnvFileUnusable(BrummerError):
    """It can't be read, or is none; ``context`` has its path, and the line if it is known. Nothing was started."""

    code = "env_file_unusable"


def environment_of(script: Script, generation: str, process_id: str) -> dict[str, str]:
    """Ours, then the lines of the file, then the script's own variables, then the marks: later ones win.

    Reads the file: use a thread where there is one. Raises EnvFileUnusable.
    """
    marked = marked_environment(generation, process_id)
    if script.env_file is None and not script.environment:
        return marked
    from_file = _lines_of(script.name, script.env_file) if script.env_file else {}
    marks = {name: value for name, value in marked.items() if name in {MARK, RUN_MARK}}
    return {**marked, **from_file, **script.environment, **marks}


def _lines_of(name: str, path: str) -> dict[str, str]:
    from brummer.instance.dotenv import BadLine, parsed  # noqa: PLC0415 - its expressions take a millisecond

    try:
        return parsed(_content_of(path).decode())
    except OSError as error:
        raise EnvFileUnusable(
            f"{name} was not started: its env_file {path} can't be read: {error.strerror}", path=path
        ) from None
    except UnicodeDecodeError:
        raise EnvFileUnusable(f"{name} was not started: its env_file {path} is not UTF-8", path=path) from None
    except BadLine as error:
        raise EnvFileUnusable(
            f"{name} was not started: in its env_file {path}, {error}", path=path, line=error.number
        ) from None


def _content_of(path: str) -> bytes:
    """Bounded in bytes, and in time where it is a pipe. Raises OSError."""
    parts: list[bytes] = []
    room, until_s = LIMIT_BYTES, awake() + PIPE_WAIT_S
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        while room and (part := _next_part(file, room, until_s)):
            parts.append(part)
            room -= len(part)
    return b"".join(parts)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _next_part(file: io.FileIO, room: int, until_s: float) -> bytes | None:
    """Empty at the end. The program that has opened a pipe for writing may still be waiting for a password."""
    coming = select.poll()
    coming.register(file, select.POLLIN)
    if not coming.poll(max(0.0, until_s - awake()) * 1000):
        raise TimeoutError(errno.ETIMEDOUT, f"no program has written into this pipe within {PIPE_WAIT_S:g} s")
    return file.read(room)
