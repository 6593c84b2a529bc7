"""Finds the command of a command line, runs it, and turns errors into one line and an exit status."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from brummer.cli import options, standard_streams
from brummer.cli.command_table import BY_NAME, Command
from brummer.cli.messages import say
from brummer.core import log
from brummer.core.errors import BrummerError

READER_LEFT: Final = 141
"""The status that shells show for an end by SIGPIPE."""


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0 success, 1 failure, 2 wrong arguments.

    Commands of a project also return 3 and 4 (`brummer.cli.project`); 130 is Ctrl-C, 141 a reader that left.
    """
    command = BY_NAME.get(argv[0]) if argv else None
    try:
        status = _run(command, argv[1:]) if command else _run(None, argv)
        sys.stdout.flush()
    except BrummerError as error:
        say(error.message)
        return 1
    except BrokenPipeError:
        return READER_LEFT
    except OSError as error:
        say(described(error))
        return 1
    finally:
        standard_streams.finish()
    return status


def _run(command: Command | None, argv: Sequence[str]) -> int:
    module = module_of(command)
    parser = parser_of(command, module)
    if command and any(word.startswith(options.ON) for word in argv) and options.ON in parser.option_strings():
        from brummer.cli import on_box

        if elsewhere := on_box.split(argv):
            return on_box.run(command.name, *elsewhere)
    chosen = parser.parse_args(argv)
    log.configure(chosen.log_level, as_json=chosen.log_json)
    try:
        status: int = module.run(chosen)
    except options.WrongArguments as error:
        parser.error(str(error))
    return status


def module_of(command: Command | None) -> Any:
    """The module of a command, or of ``brum`` without one; loaded only when it runs."""
    name = command.name.replace("-", "_") if command else "brum"
    return importlib.import_module(f"brummer.cli.commands.{name}")


def parser_of(command: Command | None, module: Any) -> options.Parser:
    """The argument parser of a command, or of ``brum`` without one."""
    if command is None:
        parser = options.parser("brum")
    else:
        summary = command.summary[0].upper() + command.summary[1:]
        parser = options.parser(f"brum {command.name}", description=f"{summary}. {module.DETAILS}".rstrip())
    module.add_options(parser)
    return parser


def described(error: OSError) -> str:
    """The system's own message; in a removed directory that is the cause of any error."""
    try:
        Path.cwd()
    except OSError:
        return "the current directory does not exist any more; cd to another one"
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
