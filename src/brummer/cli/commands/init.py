"""``brum init``: a `.brum.toml` with what was found in the project, in which every line is a comment."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from brummer.cli import options
from brummer.cli.colour import shortened
from brummer.cli.messages import say
from brummer.cli.toml_edit import key
from brummer.core.errors import BrummerError
from brummer.instance.detect import Script
from brummer.instance.scripts import ScriptList
from brummer.settings.table import FILE_NAME

DETAILS: Final = (
    "It lists the scripts that were found, and the options that they can have. An existing file is left alone."
)

SHOWN: Final = 20
"""Scripts that are listed: a screen; `brum up` names all."""
COMMAND_COLUMNS: Final = 60
OWN: Final = "my-script"

HEAD: Final = """\
# Brummer's settings for this project. A line counts once the # at its beginning is removed.
# `brum up` starts the scripts that have autostart. `brum --settings` shows the settings in force.
"""
OPTIONS: Final = """\
#restart = "on-failure"                  # or "always"
#ready = { port = 8000 }                 # or { log = "listening on" } or { http = "http://127.0.0.1:8000/" };
#                                        # without it: it listens on a port
#env = { LOG = "debug" }
#env_file = ".env"
#stop_timeout_s = "10s"                  # then SIGKILL
"""
EXAMPLE: Final = f"""
# A script of your own:

#[scripts.{OWN}]
#command = "python -m my_app"            # for the shell; a list is run as it is: ["python", "-m", "my_app"]
#cwd = "."
"""


class IsThere(BrummerError):
    """There is a file already."""

    code = "is_there"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-d", "--dir", type=options.directory, default=Path(), metavar="DIR", help="the project (default: here)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Raises IsThere, OSError."""
    directory = chosen.dir.resolve()
    listing = ScriptList(directory).read()
    file = directory / FILE_NAME
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text_of(list(listing.listed.values())))
    except FileExistsError:
        raise IsThere(f"{file} is there already, and was not changed") from None
    for problem in listing.problems:
        say(f"{problem.source}: {problem.message}")
    count = len(listing.listed)
    found = f"{count} script{'s' * (count != 1)} found" if count else "no scripts found"
    print(f"{shortened(str(file), 200)} is written: {found}, and everything in it is a comment so far")
    return 0


def text_of(scripts: Sequence[Script]) -> str:
    """The file. Without the # at the beginning of lines it is valid, too."""
    return HEAD + "".join(_found(scripts)) + EXAMPLE


def _found(scripts: Sequence[Script]) -> Iterator[str]:
    if not scripts:
        yield "\n# No scripts were found in the files of this project.\n"
        return
    sources = ", ".join(dict.fromkeys(script.source for script in scripts))
    yield f"\n# Found in {_shown(sources)}:\n"
    for n, script in enumerate(scripts[:SHOWN]):
        command = script.command if isinstance(script.command, str) else shlex.join(script.command)
        yield f"\n#[scripts.{key(script.name)}]   # {_shown(command)}\n#autostart = true\n"
        if n == 0:
            yield OPTIONS
    if len(scripts) > SHOWN:
        yield f"\n# … and {len(scripts) - SHOWN} more\n"


def _shown(text: str) -> str:
    """On one line: a comment ends with it."""
    return shortened(" ".join(text.split()), COMMAND_COLUMNS)
