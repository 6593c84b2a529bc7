"""``brum``'s arguments, and what each command does with them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from brummer import __version__
from brummer.cli import arguments, people, standard_streams
from brummer.cli.messages import say
from brummer.core import log
from brummer.core.errors import BrummerError, NotFound
from brummer.settings.table import Flags
from brummer.settings.toml_file import nearest

USAGE: Final = """\
brum [options] [SCRIPT ...]      run this project's instance, and start the scripts
  brum --mcp [--http HOST:PORT]    run the hub that a coding agent connects to
  brum up [SCRIPT ...]             run it in the background, and start the scripts
  brum down [SCRIPT ...]           end it, or only these scripts
  brum ps                          show what runs in this project
  brum logs [-f] [SCRIPT ...]      print what the scripts printed, with -f also what they go on to print
  brum restart [SCRIPT ...]        stop what runs and start it anew, or only these scripts
  brum wait SCRIPT [CONDITION]     wait until a script is ready, has ended, has printed something, or listens
  brum ls                          list the instances on this machine
  brum status                      show what the running hubs see, what went wrong, and what they did about it
  brum metrics                     print their metrics, and those of the instances
  brum call INSTANCE TOOL [JSON]   call one tool of one instance, and print its result
  brum mcp-config [CLIENT]         show how to add the hub to a coding agent; --http: with the token of HTTP
  brum doctor                      check what discovery rests on, and say what to do
  brum --settings [--json]         show every setting that holds here, and where it was set
  brum --test-resource-limits      see every limit hold, with the values that are set here"""

EPILOG: Final = """\
Scripts come from package.json, Makefile and some twenty other kinds of project file. A script that is called like a
command is run with `brum -- NAME`. Records of running instances are kept in $BRUMMER_INSTANCES_DIR, else in the user's
runtime directory."""

_SYNONYMS: Final = {
    "start": "up",
    "run": "up",
    "stop": "down",
    "kill": "down --kill",
    "list": "ls",
    "tail": "logs -f",
    "config": "--settings",
    "help": "--help",
    "version": "--version",
}
"""What similar programs call their commands."""

READER_LEFT: Final = 141
"""What shells make of an end by SIGPIPE."""


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: 0 all well, 1 the command failed, 2 the arguments are wrong.

    `brummer.cli.people` has 3 and 4 too; 130 is an end by Ctrl-C, 141 that nobody read on.
    """
    command = _COMMANDS.get(argv[0]) if argv else None
    try:
        status = command(argv[1:]) if command else _run(argv)
        sys.stdout.flush()
    except BrummerError as error:
        say(error.message)
        return 1
    except BrokenPipeError:
        return READER_LEFT
    except OSError as error:
        say(_in_words(error))
        return 1
    finally:
        standard_streams.finish()
    return status


def _in_words(error: OSError) -> str:
    """What the system says; whatever fails in a directory that was removed, fails for that."""
    try:
        Path.cwd()
    except OSError:
        return "the directory in which you stand is not there any more; cd to another one"
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)


def _run(argv: Sequence[str]) -> int:
    parser = arguments.parser("brum", usage=USAGE, epilog=EPILOG)
    instance, hub = parser.add_argument_group("an instance"), parser.add_argument_group("the hub")
    instance.add_argument("scripts", type=arguments.text, nargs="*", metavar="SCRIPT", help="scripts to start at once")
    instance.add_argument(
        "-d", "--dir", type=arguments.directory, default=Path(), metavar="DIR", help="the project (default: here)"
    )
    instance.add_argument(
        "-p", "--port", type=arguments.port, help="port on 127.0.0.1 (default: the last one, else from 7777 up)"
    )
    instance.add_argument(
        "--name", type=arguments.name, help="run a second instance in the same directory under this name"
    )
    instance.add_argument("--no-tui", action="store_true", help="print lines only, even on a terminal")
    hub.add_argument("--mcp", action="store_true", help="speak MCP on stdin and stdout")
    hub.add_argument("--http", type=arguments.address, metavar="HOST:PORT", help="speak MCP over HTTP there instead")
    hub.add_argument(
        "--server",
        type=arguments.server,
        action="append",
        default=[],
        metavar="NAME=URL",
        help="link to this MCP server too; its tools are called by instance_call",
    )
    parser.add_argument(
        "--metrics",
        type=arguments.address,
        metavar="HOST:PORT",
        help="serve metrics for Prometheus there, of hub or instance",
    )
    parser.add_argument("--settings", action="store_true", help="show every setting that holds here, with its source")
    parser.add_argument(
        "--test-resource-limits",
        action="store_true",
        help="drive a throw-away set of instances into each limit, and show whether it holds; exit status 1 if one does"
        " not",
    )
    parser.add_argument("--json", action="store_true", help="with these two: as JSON")
    parser.add_argument(
        "--set",
        type=arguments.setting,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, above those of files and environment",
    )
    parser.add_argument("--version", action="version", version=f"brum {__version__}")
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    if options.http and not options.mcp:
        parser.error("--http goes with --mcp")
    if options.mcp and (options.scripts or options.port or options.name or options.dir != Path()):
        parser.error("--mcp takes no SCRIPT, -d, -p or --name: these are for an instance, and the hub finds them all")
    if options.settings and (options.mcp or options.scripts):
        parser.error("--settings goes with -d, --set, --server and --json")
    if options.test_resource_limits and (options.mcp or options.scripts or options.settings):
        parser.error("--test-resource-limits goes with -d, --set and --json")
    if options.json and not (options.settings or options.test_resource_limits):
        parser.error("--json goes with --settings or --test-resource-limits, or with a command")
    flags = Flags(dict(options.set), tuple(options.server))
    if options.test_resource_limits:
        return _test_resource_limits(options, flags)
    if options.settings:
        return _settings(options, flags)
    return _hub(options, flags) if options.mcp else _instance(options, flags)


def _settings(options: argparse.Namespace, flags: Flags) -> int:
    from brummer.cli import settings

    return settings.run(options.dir, flags, as_json=options.json)


def _test_resource_limits(options: argparse.Namespace, flags: Flags) -> int:
    from brummer.cli import resource_limits

    return resource_limits.run(options.dir, flags, as_json=options.json)


def _hub(options: argparse.Namespace, flags: Flags) -> int:
    from brummer.cli import hub

    if options.http is None:
        return hub.serve_stdio(flags, options.metrics)
    return hub.serve_http(options.http, flags, options.metrics)


def _instance(options: argparse.Namespace, flags: Flags) -> int:
    _refuse_strangers(options.dir, options.scripts)
    from brummer.cli import instance
    from brummer.instance.service import Options

    chosen = Options(options.dir, options.port, options.name)
    return instance.run(
        chosen,
        options.scripts,
        flags=flags,
        as_json=options.log_json,
        no_color=options.no_color,
        metrics=options.metrics,
    )


def _refuse_strangers(project: Path, names: Sequence[str]) -> None:
    """Who mistypes a command shall not get an instance instead: one of the names must be a script's.

    Raises NotFound.
    """
    if not names:
        return
    from brummer.instance.scripts import ScriptList

    scripts = ScriptList(project.resolve())
    if scripts.read().scripts.keys().isdisjoint(names):
        try:
            scripts.find(names[0])
        except NotFound as error:
            raise NotFound(error.message + _command_meant(names[0])) from None


def _command_meant(name: str) -> str:
    if name in _COMMANDS:
        return f" A command stands before its options: brum {name}."
    command = _SYNONYMS.get(name) or nearest(name, _COMMANDS)
    return f" Or did you mean brum {command}?" if command else ""


def _list(argv: Sequence[str]) -> int:
    parser = arguments.parser("brum ls", description="List the instances on this machine, with their state.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--watch", action="store_true", help="go on, and print each change as it happens")
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    from brummer.cli import client  # loads the event loop

    if options.watch:
        return client.watch_instances(as_json=options.json)
    return client.list_instances(as_json=options.json)


def _status(argv: Sequence[str]) -> int:
    parser = arguments.parser(
        "brum status",
        description="Show what the running hubs see, what went wrong, and what they did about it. Exit status 1 when no"
        " hub runs, or one has a problem.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a list of what hub_status tells, one per hub")
    parser.add_argument("--watch", action="store_true", help="go on, and print it anew when something has changed")
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    from brummer.cli import status  # loads the event loop

    return status.run(watch=options.watch, as_json=options.json, no_color=options.no_color)


def _metrics(argv: Sequence[str]) -> int:
    parser = arguments.parser(
        "brum metrics",
        description="Print the metrics of all running hubs and instances, as Prometheus reads them; each series says"
        " by its label `source` whose it is. Exit status 1 when nothing runs, or somebody does not answer.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a list, one per hub or instance")
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    from brummer.cli import metrics  # loads the event loop

    return metrics.run(as_json=options.json)


def _doctor(argv: Sequence[str]) -> int:
    parser = arguments.parser(
        "brum doctor", description="Check what discovery rests on. Exit status 1 when something is wrong."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    from brummer.cli import doctor  # loads the event loop

    return doctor.run(as_json=options.json)


def _call(argv: Sequence[str]) -> int:
    parser = arguments.parser(
        "brum call", description="Call one tool of one instance, and print its structured result."
    )
    parser.add_argument("instance", type=arguments.text, metavar="INSTANCE", help="id, name or directory")
    parser.add_argument("tool", type=arguments.text, metavar="TOOL", help="for example scripts_list")
    parser.add_argument(
        "arguments",
        type=arguments.text,
        metavar="JSON",
        nargs="?",
        default="{}",
        help="the tool's arguments, an object",
    )
    options = parser.parse_args(argv)
    log.configure(options.log_level, as_json=options.log_json)
    from brummer.cli import client

    return client.call(options.instance, options.tool, options.arguments)


def _mcp_config(argv: Sequence[str]) -> int:
    from brummer.cli import mcp_config

    parser = arguments.parser("brum mcp-config", description="Show how to add the hub to a coding agent.")
    parser.add_argument("client", nargs="?", choices=mcp_config.CLIENTS, help="default: all of them")
    parser.add_argument(
        "--http",
        type=arguments.address,
        nargs="?",
        const=mcp_config.HTTP_ADDRESS,
        metavar="HOST:PORT",
        help="for a hub over HTTP, with the token that it requires; default: 127.0.0.1:7700",
    )
    options = parser.parse_args(_http_last(argv))
    if options.http:
        print(mcp_config.text_for_http(options.client, options.http))
    else:
        print(mcp_config.text(options.client))
    return 0


def _http_last(argv: Sequence[str]) -> list[str]:
    """Reorder ``--http CLIENT`` to ``CLIENT --http``: else an option with an optional value takes the next word."""
    from brummer.cli import mcp_config

    words = list(argv)
    if "--http" in words[:-1] and words[words.index("--http") + 1] in mcp_config.CLIENTS:
        words.remove("--http")
        words.append("--http")
    return words


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    **people.COMMANDS,
    "ls": _list,
    "status": _status,
    "metrics": _metrics,
    "call": _call,
    "mcp-config": _mcp_config,
    "doctor": _doctor,
}
