"""Completion in real shells: a terminal, the printed text evaluated as the documents say, and the tab key."""

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum

PROMPT = "ready> "
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SET_UP = {
    "bash": "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
    "zsh": "unsetopt beep zle_bracketed_paste prompt_sp; autoload -U compinit; compinit -D -u",
}
CLEAR_LINE = "\x15"
TO_BEGIN_OF_LINE = "\x01"
TOML = '[scripts]\nwork = "sleep 600"\n"front end" = "sleep 600"\n"api:dev" = "sleep 600"\n"api:test" = "true"\n'
FILES = {".brum.toml": TOML, "sub/.brum.toml": '[scripts]\nsomething = "true"\n'}


class Shell:
    """An interactive shell in a terminal of its own."""

    def __init__(self, name: str, directory: Path, environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**environment, "TERM": "dumb", "COLUMNS": "200", "PS1": PROMPT}
        self._unread = ""
        self._program = subprocess.Popen(
            START[name],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)

    def set_up(self, name: str) -> None:
        self.until(PROMPT)  # what is typed before may be thrown away
        self.run(SET_UP[name])
        self.run(f'eval "$({shlex.quote(str(BRUM))} completion {name})"')

    def run(self, line: str) -> None:
        self._type(f"{line}; echo do''ne\n")
        self.until("done")
        self.until(PROMPT)

    def completed(self, line: str) -> str:
        """Type the line and a tab; returns the words of the line that the shell has then. It prints them itself: what
        it shows while one types is only what has changed.
        """
        self._type(f"{CLEAR_LINE}{line}\t{TO_BEGIN_OF_LINE}printf '<%s>' res''ult \n")
        self.until("<result>")
        words = self.until(PROMPT).removesuffix(PROMPT).strip()
        return " ".join(re.findall(r"<(.*?)>", words))

    def listed(self, line: str, shows: str) -> None:
        """Type the line and the tabs that list all candidates, until it has shown this."""
        self._type(f"{CLEAR_LINE}{line}\t\t")
        self.until(shows)
        self._type(f"{CLEAR_LINE}\n")
        self.until(PROMPT)

    def until(self, shows: str) -> str:
        """What it shows up to and with this."""
        until_s = time.monotonic() + WAIT_S
        while shows not in self._unread:
            left_s = until_s - time.monotonic()
            assert left_s > 0, f"{shows!r} is not in {self._unread!r}"
            if select.select([self._ours], [], [], left_s)[0]:
                self._unread += os.read(self._ours, 65_536).decode(errors="replace")
        before, _, self._unread = self._unread.partition(shows)
        return before + shows

    def _type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> None:
        """Let it end by itself, once all completions have; what it shows has to be read for that."""
        self._type(f"{CLEAR_LINE}exit\n")
        try:
            while select.select([self._ours], [], [], WAIT_S)[0] and os.read(self._ours, 65_536):
                pass
        except OSError:  # EIO: nobody has the other end any more
            pass
        self._program.kill()
        self._program.wait(WAIT_S)
        os.close(self._ours)


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, brum: Brum) -> Iterator[Shell]:
    if shutil.which(request.param) is None:
        pytest.skip(f"this machine has no {request.param}")
    project = brum.project("shop", FILES)
    path = f"{BRUM.parent}{os.pathsep}{os.environ['PATH']}"
    made = Shell(request.param, project, {**brum.environment, "PATH": path})
    try:
        made.set_up(request.param)
        yield made
    finally:
        made.end()


COMPLETED = {
    "brum resta": "brum restart",
    "brum logs --time": "brum logs --timestamps",
    "brum logs --level warn": "brum logs --level warning",
    "brum up wo": "brum up work",
    "brum wo": "brum work",
    "brum up fron": "brum up front end",
    "brum -d sub some": "brum -d sub something",
    "brum logs -n 5 wo": "brum logs -n 5 work",
    "brum mcp-config --write open": "brum mcp-config --write opencode",
    "brum logs -d s": "brum logs -d sub",
    "brum up api:d": "brum up api:dev",
    "brum up ap": "brum up api:",
    "brum wait nothing-of-that-name": "brum wait nothing-of-that-name",
}


def test_a_tab_completes_commands_options_and_names(shell: Shell) -> None:
    assert {line: shell.completed(line).rstrip("/") for line in COMPLETED} == COMPLETED
    shell.listed("brum restart api:", "test")


def test_instances_that_run_are_completed(shell: Shell, brum: Brum) -> None:
    brum.instance(brum.project("kitchen", FILES))
    assert shell.completed("brum call kitc").startswith("brum call kitchen")
