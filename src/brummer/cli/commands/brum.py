"""``brum`` without a command: the view or an instance, or with an option the hub, the settings, or the test of limits.

Its imports delay the start of every hub and instance, so each mode loads its own module.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from brummer import __version__
from brummer.cli import options
from brummer.cli.command_table import BY_NAME, SYNONYMS, usage
from brummer.cli.messages import say
from brummer.core.errors import NotFound
from brummer.host.settings_files import read_settings
from brummer.settings.table import Flags, Settings
from brummer.settings.toml_file import nearest

EPILOG: Final = """\
Scripts come from package.json, Makefile and some twenty other kinds of project file. A script with the name of a
command is run with `brum -- NAME`. Records of running instances are kept in $BRUMMER_INSTANCES_DIR, else in the user's
runtime directory."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage, parser.epilog = usage(), EPILOG
    instance, hub = parser.add_argument_group("an instance"), parser.add_argument_group("the hub")
    instance.add_argument("scripts", type=options.text, nargs="*", metavar="SCRIPT", help="scripts to start at once")
    instance.add_argument(
        "-d", "--dir", type=options.directory, default=Path(), metavar="DIR", help="the project (default: here)"
    )
    instance.add_argument(
        "-p", "--port", type=options.port, help="port on 127.0.0.1 (default: the last one, else from 7777 up)"
    )
    instance.add_argument(
        "--name", type=options.name, help="run a second instance in the same directory under this name"
    )
    instance.add_argument("--no-autostart", action="store_true", help="do not start the scripts that have `autostart`")
    instance.add_argument(
        "--end-idle",
        type=options.duration,
        metavar="TIME",
        help="end when no script has run and no call has come for that time, for example 30m",
    )
    instance.add_argument(
        "--started-by", type=options.text, metavar="AGENT", help="the agent that has it started, for `brum ls`"
    )
    instance.add_argument("--no-tui", action="store_true", help="print lines on a terminal, too, and open no view")
    hub.add_argument("--mcp", action="store_true", help="speak MCP on stdin and stdout")
    hub.add_argument("--http", type=options.address, metavar="HOST:PORT", help="speak MCP over HTTP there instead")
    hub.add_argument(
        "--server",
        type=options.server,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="link to this MCP server too; instance_call calls its tools",
    )
    parser.add_argument(
        "--metrics", type=options.address, metavar="HOST:PORT", help="serve metrics for Prometheus there"
    )
    parser.add_argument("--settings", action="store_true", help="show every setting in force here, with its source")
    parser.add_argument(
        "--test-resource-limits",
        action="store_true",
        help="exceed each limit with throw-away instances, and show whether it holds; exit status 1 if one does not",
    )
    options.add_json(parser, "print JSON, with --settings and --test-resource-limits")
    parser.add_argument(
        "--set",
        type=options.setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting; it overrides files and environment",
    )
    parser.add_argument("--version", action="version", version=f"brum {__version__}")


def run(chosen: argparse.Namespace) -> int:
    if contradiction := _contradiction(chosen):
        raise options.WrongArguments(contradiction)
    flags = Flags(dict(chosen.set), tuple(chosen.server))
    if chosen.mcp:
        from brummer.cli.commands import hub

        return hub.run(chosen, flags)
    refuse_unknown_names(chosen.dir, chosen.scripts)
    found = read_settings(chosen.dir.resolve(), os.environ, flags)
    for problem in (*found.problems, *found.warnings):
        say(problem.message)
    if chosen.settings:
        from brummer.cli.commands import settings

        return settings.run(found, as_json=chosen.json)
    if found.problems:
        return 1
    if chosen.test_resource_limits:
        from brummer.cli.commands import resource_limits

        return resource_limits.run(found, as_json=chosen.json)
    if _opens_view(chosen, found):
        from brummer.cli.commands import view

        try:
            return view.run(chosen, found, flags)
        except view.ViewUnavailable as error:
            say(f"{error.message}; lines are printed instead")
    from brummer.cli.commands import instance

    return instance.run(chosen, found.limits)


def _opens_view(chosen: argparse.Namespace, settings: Settings) -> bool:
    """A start in the background asks nothing, and imports nothing for it."""
    if chosen.no_tui or not settings.tui:
        return False
    from brummer.cli.view_wanted import place_allows_view, view_is_wanted
    from brummer.host.own_terminal import is_ours

    return view_is_wanted(chosen) and place_allows_view(
        os.environ, are_terminals=is_ours((0, 1, 2)), pid=os.getpid(), parent=os.getppid()
    )


def _contradiction(chosen: argparse.Namespace) -> str:
    """Why these options can't be used together; empty if they can."""
    of_instance = (chosen.scripts, chosen.port, chosen.name, chosen.dir != Path(), chosen.end_idle, chosen.started_by)
    faults = {
        "--http goes with --mcp": chosen.http and not chosen.mcp,
        "--mcp takes no SCRIPT, -d, -p or --name: these are for an instance, and the hub finds them all": chosen.mcp
        and any(of_instance),
        "--settings goes with -d, --set, --server and --json": chosen.settings and (chosen.mcp or chosen.scripts),
        "--test-resource-limits goes with -d, --set and --json": chosen.test_resource_limits
        and (chosen.mcp or chosen.scripts or chosen.settings),
        "--json goes with --settings or --test-resource-limits, or with a command": chosen.json
        and not (chosen.settings or chosen.test_resource_limits),
    }
    return next((message for message, is_wrong in faults.items() if is_wrong), "")


def refuse_unknown_names(project: Path, names: Sequence[str]) -> None:
    """A mistyped command must not start an instance: at least one of the names must be a script. Raises NotFound."""
    if not names:
        return
    from brummer.instance.scripts import ScriptList

    scripts = ScriptList(project.resolve())
    if scripts.read().scripts.keys().isdisjoint(names):
        try:
            scripts.find(names[0])
        except NotFound as error:
            raise NotFound(error.message + _suggestion(names[0])) from None


def _suggestion(name: str) -> str:
    if name in BY_NAME:
        return f" A command comes before its options: brum {name}."
    command = SYNONYMS.get(name) or nearest(name, BY_NAME)
    return f" Or did you mean brum {command}?" if command else ""
