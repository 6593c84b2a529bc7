"""What ``[scripts.NAME]`` in .brum.toml may set: for each key the field of `Script`, and how its value is read.

Pure. A reader raises `Wrong`, whose text follows the key in a sentence: "restart is 'sometimes'; set it to …".
"""

import signal
from collections.abc import Callable, Iterable
from typing import Any, Final, get_args

from brummer.core.errors import InvalidArguments, shown
from brummer.host.patterns import Pattern
from brummer.instance.detect import Ready, Restart
from brummer.instance.detect.project import ProjectDirectory
from brummer.settings.toml_file import nearest
from brummer.settings.types import BOOLEAN, DURATION, PORT_MAX, ValueKind

STOP_TIMEOUT_MAX_S: Final = 600.0
"""A database may need minutes to write its pages down; a value beyond this is a mistake in the unit."""


class Wrong(Exception):
    """The value can't be taken."""


def command(value: object) -> list[str] | str:
    """A text for the shell, or a list of arguments."""
    if isinstance(value, list):
        arguments = [_text(argument) for argument in value]
        if arguments and arguments[0]:
            return arguments
    elif _text(value).strip():
        return _text(value)
    raise Wrong("is empty")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Wrong(f"has {_shown(value)} where a string belongs")
    if "\0" in value:
        raise Wrong("holds a null character, which no program can be given")
    return value


def _boolean(value: object, _: ProjectDirectory) -> bool:
    return bool(_read(BOOLEAN, value))


def _path(value: object, project: ProjectDirectory) -> str:
    return project.path(_text(value))


def _environment(value: object, _: ProjectDirectory) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Wrong('is no table, as in env = { PORT = "3000" }')
    for name in value:
        if not name or "=" in name or "\0" in name:
            raise Wrong(f"can't set a variable called {_shown(name)}")
    return {name: str(item) if type(item) is int else _text(item) for name, item in value.items()}


def _restart(value: object, _: ProjectDirectory) -> Restart:
    for word in get_args(Restart):
        if value == word:
            return word  # type: ignore[no-any-return]
    raise Wrong(f"is {_shown(value)}; set it to {_or(get_args(Restart))}{meant(value, get_args(Restart))}")


def _count(value: object, _: ProjectDirectory) -> int:
    if type(value) is not int or value < 0:
        raise Wrong(f"is {_shown(value)}; set it to a number from 0 on")
    return value


def _signal(value: object, _: ProjectDirectory) -> str:
    name = value.upper() if isinstance(value, str) else ""
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name not in signal.Signals.__members__:
        raise Wrong(f"is {_shown(value)}, which is no signal here{meant(name, signal.Signals.__members__)}")
    return name


def _seconds(value: object, _: ProjectDirectory) -> float:
    seconds = float(_read(DURATION, value))
    if not 0 < seconds <= STOP_TIMEOUT_MAX_S:
        raise Wrong(f"is {_shown(value)}; it must be more than 0 and at most {DURATION.shown(STOP_TIMEOUT_MAX_S)}")
    return seconds


def _ready(value: object, _: ProjectDirectory) -> Ready:
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= _READY.keys():
        raise Wrong(f"is {_shown(value)}; set one of {_or(_READY)}, as in ready = {{ port = 3000 }}")
    [(key, how)] = value.items()
    return _READY[key](how)


def _ready_log(value: object) -> Ready:
    try:
        return Ready(log=Pattern(_text(value), argument="log").source)
    except InvalidArguments as error:
        raise Wrong(f"can't be used: {error.message}") from None


def _ready_port(value: object) -> Ready:
    if type(value) is not int or not 0 < value <= PORT_MAX:
        raise Wrong(f"has the port {_shown(value)}; one is a number from 1 to {PORT_MAX}")
    return Ready(port=value)


def _ready_http(value: object) -> Ready:
    from brummer.core.http_text import is_sendable_url  # noqa: PLC0415 — few scripts have it

    if not _text(value).startswith(("http://", "https://")) or not is_sendable_url(_text(value)):
        raise Wrong(f"has the URL {_shown(value)}; one begins with http:// or https://, and has no blanks")
    if not _can_be_asked(_text(value)):
        raise Wrong(f"has the URL {_shown(value)}, which names no host, or a port that there is not")
    return Ready(http=_text(value))


def _can_be_asked(url: str) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 - 4 ms, and most scripts name no URL

    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _names(value: object, _: ProjectDirectory) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Wrong('is no list, as in depends_on = ["db"]')
    return tuple(dict.fromkeys(_text(name) for name in value))


def _read(kind: ValueKind, value: object) -> Any:
    try:
        return kind.read(value)
    except ValueError as error:
        raise Wrong(f"is {_shown(value)}; set it to {error}") from None


def meant(name: object, known: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known; empty where nothing is near."""
    found = nearest(shown(name), known) if isinstance(name, str) else None
    return f"; did you mean {found}?" if found else ""


def _shown(value: object) -> str:
    return shown(repr(value))


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"


_READY: Final[dict[str, Callable[[object], Ready]]] = {"log": _ready_log, "port": _ready_port, "http": _ready_http}

OPTIONS: Final[dict[str, tuple[str, Callable[[object, ProjectDirectory], Any]]]] = {
    "cwd": ("directory", _path),
    "env": ("environment", _environment),
    "env_file": ("env_file", _path),
    "autostart": ("autostart", _boolean),
    "restart": ("restart", _restart),
    "max_restarts": ("max_restarts", _count),
    "stop_signal": ("stop_signal", _signal),
    "stop_timeout_s": ("stop_timeout_s", _seconds),
    "ready": ("ready", _ready),
    "depends_on": ("depends_on", _names),
    "terminal": ("wants_terminal", _boolean),
}
