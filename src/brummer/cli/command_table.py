"""All commands, as one literal table. Dispatch, usage, suggestions and the table in the docs use it.

A new command is a row here, and a module ``brummer.cli.commands.NAME`` (a dash becomes an underscore) with

- ``DETAILS``: sentences for ``brum NAME --help`` after the summary,
- ``add_options(parser)``, which adds its arguments,
- ``run(options)``, which returns the exit status.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

USAGE_COLUMNS: Final = 35
"""The width of the left column of the usage."""


class Command(NamedTuple):
    """``name``: empty for ``brum`` without a command, an option such as ``--mcp`` for a mode of that.

    ``synonyms`` maps words that similar programs use to what is typed here. ``is_hidden``: programs run it, so
    the usage and the completion leave it out.
    """

    name: str
    arguments: str
    summary: str
    synonyms: Mapping[str, str] = MappingProxyType({})
    is_hidden: bool = False

    @property
    def line(self) -> str:
        """How it is typed, with its arguments."""
        return " ".join(filter(None, ("brum", self.name, self.arguments)))


COMMANDS: Final = (
    Command(
        "",
        "[options] [SCRIPT ...]",
        "open the view on a terminal; with SCRIPT, or elsewhere, run the instance here, and print lines",
        {"help": "--help", "version": "--version"},
    ),
    Command("--mcp", "[--http HOST:PORT]", "run the hub that a coding agent connects to"),
    Command(
        "up", "[SCRIPT ...]", "run the instance in the background, and start the scripts", {"start": "up", "run": "up"}
    ),
    Command(
        "down",
        "[SCRIPT ...]",
        "stop all scripts and the instance, or only these scripts",
        {"stop": "down", "kill": "down --kill"},
    ),
    Command(
        "ps",
        "[--usage]",
        "show the scripts that run, or have run, in this project; with --usage also CPU and memory",
        {"top": "ps --usage", "stats": "ps --usage"},
    ),
    Command(
        "logs",
        "[-f] [SCRIPT ...]",
        "print the output of the scripts; with -f also new lines",
        {"tail": "logs -f", "errors": "logs --errors", "grep": "logs --grep"},
    ),
    Command("attach", "SCRIPT", "type to a script on this terminal; Ctrl-] leaves"),
    Command("restart", "[SCRIPT ...]", "restart all scripts that run, or only these"),
    Command(
        "wait", "SCRIPT [CONDITION]", "wait until a script is ready, has ended, has printed a line, or a port answers"
    ),
    Command(
        "ls",
        "",
        "list the projects with an instance: what runs there, and what has failed",
        {"list": "ls"},
    ),
    Command("status", "", "show the scripts that have failed, and the hubs: problems, links, and recent events"),
    Command(
        "web",
        "[--port PORT]",
        "serve a page with all projects on this machine, and print its address",
        {"ui": "web", "dashboard": "web", "open": "web"},
    ),
    Command("metrics", "", "print the metrics of the running hubs and instances"),
    Command("call", "INSTANCE TOOL [JSON]", "call one tool of one instance, and print its structured result"),
    Command(
        "mcp-config",
        "[--write] [CLIENT]",
        "show how to add the hub to a coding agent, or add it; --http: with the token of HTTP",
    ),
    Command("init", "", "write a commented .brum.toml with the scripts that were found"),
    Command("completion", "SHELL", "print what makes bash or zsh complete commands, options and names of scripts"),
    Command(
        "bridge", "", "print the instances here for a hub on another machine, which runs it over SSH", is_hidden=True
    ),
    Command("doctor", "", "check what discovery needs, and say what to do"),
    Command(
        "--settings", "[--json]", "show every setting in force here, and where it was set", {"config": "--settings"}
    ),
    Command("--test-resource-limits", "", "test every limit with the values that are set here"),
)

BY_NAME: Final = {command.name: command for command in COMMANDS if command.name[:1].isalpha()}
"""Those with a module; the others are options of ``brum``."""

SYNONYMS: Final = {word: typed for command in COMMANDS for word, typed in command.synonyms.items()}


def usage() -> str:
    """The usage of ``brum --help``."""
    lines = (f"{command.line:{USAGE_COLUMNS - 2}}{command.summary}" for command in COMMANDS if not command.is_hidden)
    return "\n  ".join(lines)


def markdown() -> Iterator[str]:
    """The lines of the table in the docs."""
    yield "| command | what it does | suggested for |"
    yield "|---|---|---|"
    for command in COMMANDS:
        synonyms = ", ".join(f"`{word}`" for word in command.synonyms)
        yield f"| `{command.line.replace('|', chr(92) + '|')}` | {command.summary} | {synonyms} |"
