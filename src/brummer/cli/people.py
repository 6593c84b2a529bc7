"""The arguments of the commands for day-to-day work in a project: up, down, ps, logs, restart, wait.

Exit status of each: 0 all well, 1 it failed, 2 the arguments are wrong, 3 no instance of this project runs, 4 the time
was over first.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from brummer.cli import arguments
from brummer.core import log

EPILOG: Final = """\
The project is the one that you stand in: its directory, or one below it in the same repository.
Exit status: 0 all well, 1 it failed, 2 the arguments are wrong, 3 no instance of this project runs, 4 the time was
over first."""

LINES_MAX: Final = 5_000
"""What one answer of an instance takes (`brummer.contract.arguments`)."""


def _up(argv: Sequence[str]) -> int:
    parser = _parser(
        "up",
        "Make sure that this project's instance runs, in the background if it has to be started, and that the scripts"
        " run in it. Without SCRIPT: those with autostart, else dev or start. What runs already is left as it is.",
    )
    parser.add_argument("scripts", type=arguments.text, nargs="*", metavar="SCRIPT", help="scripts to start")
    _add_waiting(parser, "until the scripts are ready")
    options = _parsed(parser, argv)
    from brummer.cli import up

    return up.up(options.dir, options.name, options.scripts, _timeout(options), _paint(options))


def _down(argv: Sequence[str]) -> int:
    parser = _parser("down", "Stop everything and end this project's instance; with SCRIPT, stop only these.")
    parser.add_argument("scripts", type=arguments.text, nargs="*", metavar="SCRIPT", help="scripts to stop")
    parser.add_argument("--kill", action="store_true", help="end an instance that hangs: its scripts are ended too")
    parser.add_argument(
        "--timeout", type=arguments.duration, default=20.0, metavar="TIME", help="for the instance to end (default 20s)"
    )
    options = _parsed(parser, argv)
    if options.kill and options.scripts:
        parser.error("--kill ends the whole instance, and takes no SCRIPT")
    from brummer.cli import down

    return down.down(options.dir, options.name, options.scripts, options.timeout, kill=options.kill)


def _ps(argv: Sequence[str]) -> int:
    parser = _parser("ps", "Show the scripts that run, or have run, in this project.")
    parser.add_argument("--json", action="store_true", help="print JSON, as scripts_status tells it")
    options = _parsed(parser, argv)
    from brummer.cli import processes

    return processes.ps(options.dir, options.name, _paint(options), as_json=options.json)


def _logs(argv: Sequence[str]) -> int:
    parser = _parser("logs", "Print what the scripts of this project printed.")
    parser.add_argument(
        "scripts", type=arguments.text, nargs="*", metavar="SCRIPT", help="only these; dev-2 is the second run of dev"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C, through restarts too")
    parser.add_argument(
        "-n",
        "--lines",
        type=_lines,
        default=100,
        metavar="N",
        help=f"so many of the last lines (default 100, at most {LINES_MAX}, or as many as one answer holds)",
    )
    options = _parsed(parser, argv)
    from brummer.cli import logs

    return logs.run(options.dir, options.name, options.scripts, options.lines, _paint(options), follow=options.follow)


def _restart(argv: Sequence[str]) -> int:
    parser = _parser("restart", "Stop scripts and start them anew; without SCRIPT, all that run.")
    parser.add_argument("scripts", type=arguments.text, nargs="*", metavar="SCRIPT", help="scripts to restart")
    _add_waiting(parser, "until the scripts are ready")
    options = _parsed(parser, argv)
    from brummer.cli import up

    return up.restart(options.dir, options.name, options.scripts, _timeout(options), _paint(options))


def _wait(argv: Sequence[str]) -> int:
    parser = _parser(
        "wait",
        "Wait until something is true of a script, which may start later. Exit status 0 when it came true; with --exit,"
        " only if the script ended with 0.",
    )
    parser.add_argument("script", type=arguments.text, metavar="SCRIPT")
    condition = parser.add_mutually_exclusive_group()
    condition.add_argument("--ready", action="store_true", help="it is ready (the default)")
    condition.add_argument("--exit", action="store_true", help="it has ended")
    condition.add_argument("--log", type=arguments.text, metavar="REGEX", help="it has printed a line that matches")
    condition.add_argument("--port", type=arguments.port, metavar="N", help="something answers on this port")
    parser.add_argument(
        "--timeout", type=arguments.duration, default=30.0, metavar="TIME", help="default 30s; also 500ms, 2m, 1h"
    )
    options = _parsed(parser, argv)
    from brummer.cli import processes

    condition_asked = {"log": options.log, "port": options.port, "exit": options.exit or None}
    wanted: dict[str, Any] = {key: value for key, value in condition_asked.items() if value is not None}
    return processes.wait(options.dir, options.name, options.script, wanted or {"ready": True}, options.timeout)


COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "up": _up,
    "down": _down,
    "ps": _ps,
    "logs": _logs,
    "restart": _restart,
    "wait": _wait,
}


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = arguments.parser(f"brum {command}", description=description, epilog=EPILOG)
    where = parser.add_argument_group("the project")
    where.add_argument(
        "-d", "--dir", type=arguments.directory, default=Path(), metavar="DIR", help="as if you stood there"
    )
    where.add_argument("--name", type=arguments.name, help="the further instance of this name (brum --name)")
    return parser


def _add_waiting(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--timeout",
        type=arguments.duration,
        metavar="TIME",
        help=f"to wait {what} (default 30s, and 10s for one that runs, does not listen and names no `ready`)",
    )
    parser.add_argument("--no-wait", action="store_true", help="do not wait")


def _timeout(options: argparse.Namespace) -> float | None:
    return 0.0 if options.no_wait else options.timeout


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    return options


def _paint(options: argparse.Namespace) -> Any:
    from brummer.cli.colour import Paint, wants_colours

    return Paint(colourful=wants_colours(sys.stdout, os.environ, no_color=options.no_color))


def _lines(text: str) -> int:
    if not text.isdecimal() or int(text) > LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines (0 to {LINES_MAX})")
    return int(text)
