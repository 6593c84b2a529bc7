"""The argument parser of all commands, the kinds of arguments, and options that several commands share."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from brummer.core import log
from brummer.core.errors import shown
from brummer.discovery.record import displayable
from brummer.settings import servers, units
from brummer.settings.load import value_from_flag
from brummer.settings.servers import Server
from brummer.settings.toml_file import SettingsInvalid, nearest
from brummer.settings.types import PORT_MAX

if TYPE_CHECKING:
    from brummer.cli.colour import Paint

DURATION_MAX_S: Final = 86_400.0
"""The limit of the tools (`brummer.contract.tools`)."""

HELP_COLUMNS: Final = 78
"""The classic width of a terminal. To find the real one, argparse would load the compressors of `shutil` at every
start, although help is rare.
"""

ON: Final = "--on"
"""`brummer.cli.on_box` reads it before the other arguments: these are checked on the other machine."""

PROJECT_EPILOG: Final = """\
The project is that of the current directory: this directory, or one above it in the same repository.
Exit status: 0 success, 1 failure, 2 wrong arguments, 3 no instance of this project runs, 4 timeout."""


class WrongArguments(Exception):
    """The arguments contradict each other; the command ends as for an unknown option."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=HELP_COLUMNS)


class Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, without the whole usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, displayable(f"{self.prog}: {message}; see {self.prog} --help") + "\n")

    def parse_args(self, args: Sequence[str], namespace: Any = None) -> Any:  # type: ignore[override]
        """Suggests a similar option for an unknown one."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            meant = nearest(unknown[0], list(self.option_strings())) if unknown[0].startswith("-") else None
            self.error(f"unknown argument {shown(unknown[0])}" + (f"; did you mean {meant}?" if meant else ""))
        return options

    def option_strings(self) -> Iterator[str]:
        """All options, among which a similar one is suggested."""
        return iter(self._option_string_actions)


def parser(program: str, **settings: Any) -> Parser:
    """With the options that every command has."""
    made = Parser(prog=program, formatter_class=_Formatter, allow_abbrev=False, **settings)
    made.add_argument("--no-color", action="store_true", help="no colours, even on a terminal; so does NO_COLOR=1")
    logging_ = made.add_argument_group("logging, on stderr")
    logging_.add_argument("--log-level", choices=log.LEVELS, default="warning", help="default: warning")
    logging_.add_argument("--log-json", action="store_true", help="as JSON lines")
    return made


def add_json(made: argparse.ArgumentParser, what: str = "print JSON") -> None:
    """Add ``--json``."""
    made.add_argument("--json", action="store_true", help=what)


def add_project(made: argparse.ArgumentParser) -> None:
    """Add the options that choose a project, and the exit statuses."""
    made.epilog = PROJECT_EPILOG
    where = made.add_argument_group("the project")
    where.add_argument("-d", "--dir", type=directory, default=Path(), metavar="DIR", help="use this directory instead")
    where.add_argument("--name", type=name, help="the further instance of this name (brum --name)")
    add_on(where)


def add_on(made: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Add ``--on``."""
    made.add_argument(ON, metavar="BOX", help="run this on another machine of [servers], over SSH; DIR is there")


def add_scripts(made: argparse.ArgumentParser, what: str) -> None:
    """Add any number of scripts."""
    made.add_argument("scripts", type=text, nargs="*", metavar="SCRIPT", help=what)


def paint(chosen: argparse.Namespace) -> "Paint":
    """Colours for standard output, if they are wanted there."""
    from brummer.cli.colour import Paint, wants_colours

    return Paint(colourful=wants_colours(sys.stdout, os.environ, no_color=chosen.no_color))


def directory(text: str) -> Path:
    """An existing directory."""
    path = os.path.expanduser(text)  # noqa: PTH111 - pathlib raises for an unknown user
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib raises for a directory that we may not enter
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a directory")
    return Path(path)


def text(value: str) -> str:
    """Valid UTF-8: nothing else can be sent to an instance."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{shown(value)} is not UTF-8") from None
    return value


def name(value: str) -> str:
    """The name of a further instance."""
    if not value.strip() or value.startswith("-"):
        raise argparse.ArgumentTypeError("a name is one or more words, for example second")
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
    """``HOST:PORT``; with port 0 the system chooses one."""
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
        raise argparse.ArgumentTypeError(f"{text} is not a time of at most one day, for example 30s, 500ms or 2m")
    return seconds


def setting(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``."""
    try:
        return value_from_flag(text)
    except SettingsInvalid as error:
        raise argparse.ArgumentTypeError(error.message) from None
