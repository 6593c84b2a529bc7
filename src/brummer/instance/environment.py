"""The environment that a script is started with.

It begins with that of the command that asked for the start, or of the instance itself. What the project's files say is
added, and last come the marks by which the guard finds a script's processes.
"""

import errno
import io
import os
import select
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from brummer.core.errors import BrummerError, InvalidArguments
from brummer.host.clocks import awake
from brummer.instance.detect import Script
from brummer.instance.script_ports import FIRST, STEP, ScriptPorts
from brummer.process.guard import MARK, RUN_MARK, marks

if TYPE_CHECKING:
    from brummer.instance.env_files import Parse

LIMIT_BYTES: Final = 6 * 1024 * 1024
"""Linux lets a program have no more than this, three quarters of 8 MiB, as arguments and environment."""
FILE_LIMIT_BYTES: Final = 1024 * 1024
"""Of an env file: a hundred times a long one."""
LINES_SHOWN: Final = 5
PIPE_WAIT_S = 10.0
"""Password managers serve secrets through a named pipe, and ask first. A thread waits, so it can't be for ever."""
NOT_PASSED_ON: Final = frozenset(
    {"BRUMMER_HTTP_TOKEN", MARK, RUN_MARK, *("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")}
)
"""The secret of a hub, and the marks of another run. Nor are scripts a part of a makefile that starts us: the options
and jobs of that make are its own.
"""
CHANGES_BY_ITSELF: Final = frozenset({"_", "OLDPWD", "PWD", "SHLVL"})
"""A shell changes these with every command, so they make no difference between two environments."""


class EnvFileUnusable(BrummerError):
    """It can't be read, or is none; ``context`` has its path. Nothing was started."""

    code = "env_file_unusable"


class Environment(msgspec.Struct, frozen=True):
    """The variables of a command, or of the instance, and the time from which they are (RFC 3339). Never show them:
    there are secrets among them.
    """

    variables: Mapping[str, str]
    since: str

    def __repr__(self) -> str:
        return f"<Environment of {len(self.variables)} variables, since {self.since}>"

    def is_that_of(self, other: "Environment") -> bool:
        """Scripts would see no difference."""
        return self.variables == other.variables or _lasting(self.variables) == _lasting(other.variables)


def _lasting(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in CHANGES_BY_ITSELF}


def passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """What scripts may see of an environment."""
    return {name: value for name, value in environ.items() if name not in NOT_PASSED_ON}


def packed(environ: Mapping[str, str]) -> bytes:
    """What scripts may see of an environment, for a call: ``NAME=value`` and a zero byte, for each variable. The bytes
    are those of the system, so values that are no UTF-8 survive.
    """
    return b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in passed_on(environ).items())


def unpacked(data: bytes) -> dict[str, str]:
    """The variables that `packed` packed. Raises InvalidArguments, which shows nothing of them."""
    if len(data) > LIMIT_BYTES:
        raise InvalidArguments(
            f"the environment has {len(data):,} bytes, and a program may have {LIMIT_BYTES:,}", argument="environment"
        )
    entries = [os.fsdecode(entry).partition("=") for entry in data.removesuffix(b"\0").split(b"\0") if data]
    if not all(name and sign for name, sign, _ in entries):
        raise InvalidArguments("environment: not NAME=value, each with a zero byte after it", argument="environment")
    return passed_on({name: value for name, _, value in entries})


class Prepared(msgspec.Struct, frozen=True):
    """All variables of a script, and what its log should say of the files that they come from."""

    variables: dict[str, str]
    notes: list[str]


def environment_of(
    script: Script, given: Mapping[str, str], ports: ScriptPorts, generation: str, process_id: str
) -> Prepared:
    """Those given, then the lines of its Procfile's `.env`, then PORT, then the lines of its env file, then its own
    variables, then the marks: later ones win.

    Python scripts print at once, as they would on a terminal; and programs print colours, though not to one.
    Reads files and looks at ports: use a thread where it does. Raises EnvFileUnusable, InvalidArguments.
    """
    variables: dict[str, str] = {"PYTHONUNBUFFERED": "1", **given}
    notes: list[str] = []
    if script.procfile:
        from brummer.instance.env_files import beside_procfile  # noqa: PLC0415 - its imports take a millisecond

        path = Path(script.procfile.directory, ".env")
        if path.exists() and not path.is_dir():  # it may be a virtual environment
            variables |= _variables_in(str(path), beside_procfile, script, notes)
        variables |= _by_position(script, script.procfile.position, variables.get("PORT"), ports)
    if script.env_file:
        from brummer.instance.env_files import env_file  # noqa: PLC0415 - as above

        variables |= _variables_in(script.env_file, env_file, script, notes)
    variables |= script.environment
    if not script.wants_terminal and not variables.get("NO_COLOR"):
        variables.setdefault("FORCE_COLOR", "1")
    return Prepared({**variables, **marks(generation, process_id)}, notes)


def _by_position(script: Script, position: int, base: str | None, ports: ScriptPorts) -> dict[str, str]:
    """What the position of a line in its Procfile decides. ``base`` is the PORT of the first line."""
    try:
        first = int(base) if base else FIRST
    except ValueError:
        raise InvalidArguments(
            f"{script.name} was not started: PORT is {base!r} in its .env or environment, and the ports of a Procfile"
            " are counted from there: make it a number, or remove it",
            argument="PORT",
        ) from None
    port = ports.port_of(script.name, first + STEP * position)
    return {"PORT": str(port), "HONCHO_PROCESS_NAME": f"{script.short_name}.1"}


def _variables_in(path: str, parse: "Parse", script: Script, notes: list[str]) -> dict[str, str]:
    """Raises EnvFileUnusable."""
    refused = f"{script.name} was not started: its env file {path}"
    try:
        found = parse(_content_of(path).decode())
    except OSError as error:
        raise EnvFileUnusable(f"{refused} can't be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise EnvFileUnusable(f"{refused} is not UTF-8", path=path) from None
    if found.left_out:
        numbers = [*map(str, found.left_out[:LINES_SHOWN]), *(["…"] if len(found.left_out) > LINES_SHOWN else [])]
        notes.append(f"{path} is used without line {', '.join(numbers)}: not NAME=value as its tools read it")
    return found.values


def _content_of(path: str) -> bytes:
    """Bounded in bytes, and in time where it is a pipe. Raises OSError."""
    parts: list[bytes] = []
    left_bytes, until_s = FILE_LIMIT_BYTES, awake() + PIPE_WAIT_S
    with open(path, "rb", buffering=0, opener=_without_waiting) as file:
        while left_bytes and (part := _next_part(file, left_bytes, until_s)):
            parts.append(part)
            left_bytes -= len(part)
    return b"".join(parts)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _next_part(file: io.FileIO, left_bytes: int, until_s: float) -> bytes | None:
    """Empty at the end. The program that has opened a pipe for writing may still be waiting for a password."""
    coming = select.poll()
    coming.register(file, select.POLLIN)
    if not coming.poll(max(0.0, until_s - awake()) * 1000):
        raise TimeoutError(errno.ETIMEDOUT, f"no program has written into this pipe within {PIPE_WAIT_S:g} s")
    return file.read(left_bytes)
