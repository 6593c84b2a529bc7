"""What the commands' argument parsers share: the parser itself, and the kinds of arguments."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from brummer.core import log
from brummer.core.errors import shown
from brummer.discovery.record import displayable
from brummer.settings import servers, units
from brummer.settings.load import value_from_flag
from brummer.settings.servers import Server
from brummer.settings.toml_file import SettingsInvalid, nearest
from brummer.settings.types import PORT_MAX

DURATION_MAX_S: Final = 86_400.0
"""What the tools take (`brummer.contract.arguments`)."""

HELP_COLUMNS: Final = 78
"""Of a terminal as they have been since they were paper. To ask for its width, argparse would load the compressors of
`shutil` at every start, though it never shows help.
"""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=HELP_COLUMNS)


class Parser(argparse.ArgumentParser):
    """What is wrong it says in one line, without the whole usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, displayable(f"{self.prog}: {message}; see {self.prog} --help") + "\n")

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> Any:  # type: ignore[override]
        """An option that is not known may have been meant for one that is."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            meant = nearest(unknown[0], self._option_string_actions) if unknown[0].startswith("-") else None
            self.error(f"{shown(unknown[0])} is not taken" + (f"; did you mean {meant}?" if meant else ""))
        return options


def parser(program: str, **settings: Any) -> Parser:
    """With the options that every command has."""
    made = Parser(prog=program, formatter_class=_Formatter, allow_abbrev=False, **settings)
    made.add_argument("--no-color", action="store_true", help="no colours on a terminal either, as with NO_COLOR=1")
    logging_ = made.add_argument_group("logging, on stderr")
    logging_.add_argument("--log-level", choices=log.LEVELS, default="warning", help="default: warning")
    logging_.add_argument("--log-json", action="store_true", help="as JSON lines")
    return made


def directory(text: str) -> Path:
    """One that is there."""
    path = os.path.expanduser(text)  # noqa: PTH111 - that of pathlib raises for a user who is not known
    if not os.path.isdir(path):  # noqa: PTH112 - as above, for one that is not ours to see
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a directory")
    return Path(path)


def text(value: str) -> str:
    """What an instance can be told: the bytes of another encoding it can't."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{shown(value)} is not UTF-8") from None
    return value


def name(value: str) -> str:
    """Of a further instance."""
    if not value.strip() or value.startswith("-"):
        raise argparse.ArgumentTypeError("a name is a word or more, for example second")
    return text(value)


def port(text: str) -> int:
    """1 to 65535."""
    if not text.isdecimal() or not 1 <= int(text) <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return int(text)


def server(text: str) -> Server:
    """``NAME=URL``."""
    try:
        return servers.from_flag(text)
    except SettingsInvalid as error:
        raise argparse.ArgumentTypeError(error.message) from None


def address(text: str) -> tuple[str, int]:
    """``HOST:PORT``; port 0 leaves the choice to the system."""
    host, colon, number = text.rpartition(":")
    if not colon or not host:
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT, for example 127.0.0.1:7700")
    return host.strip("[]"), port(number) if number != "0" else 0


def duration(text: str) -> float:
    """``30s``, ``2m``, ``500ms``, ``1h``, or seconds as a plain number; in seconds."""
    try:
        seconds = units.seconds(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= DURATION_MAX_S:
        raise argparse.ArgumentTypeError(f"{text} is not a time of a day at the most, for example 30s, 500ms or 2m")
    return seconds


def setting(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``."""
    try:
        return value_from_flag(text)
    except SettingsInvalid as error:
        raise argparse.ArgumentTypeError(error.message) from None
