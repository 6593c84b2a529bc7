"""A throwaway copy of a project in which other people's programs may run: without network, as a user who owns nothing
else, for a bounded time, and none of them outlives its call.

A Makefile or a Rakefile is a program, and even to list its targets means to run parts of it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, Self

NOBODY: Final = 65534
LIMIT_S: Final = 60.0
"""Of one listing. The slowest (a large Rakefile on a busy machine) takes a tenth of it."""


class NoSandboxError(Exception):
    """No namespace without network is to be had here; nothing may run then."""


class Sandbox:
    """A context; ``run`` runs a program in the copy."""

    def __init__(self, original: Path) -> None:
        self._original = original
        self._scratch = tempfile.TemporaryDirectory(prefix="compare-", ignore_cleanup_errors=True)
        self._home = Path(self._scratch.name)

    def __enter__(self) -> Self:
        return self

    @cached_property
    def root(self) -> Path:
        """The copy; made when it is first needed."""
        root = self._home / self._original.name
        shutil.copytree(self._original, root, symlinks=True)
        if os.geteuid() == 0:
            for path in (self._home, *self._home.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        self._commit(root)
        return root

    def _commit(self, root: Path) -> None:
        """Project files ask git for their version, or for their list of files."""
        author = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
        for words in (("init", "--quiet"), ("add", "--all"), (*author, "commit", "--quiet", "--message", "files")):
            self.run(("git", *words), root)

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def run(self, command: Sequence[str], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """In a folder of the copy, with these variables. Status 124 if it took too long."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "COLUMNS": "1000",
            "GIT_CEILING_DIRECTORIES": str(self._home),
            **more,
        }
        try:
            return subprocess.run(
                [*_sealed(), *command],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"took more than {LIMIT_S:.0f} s")


def check() -> None:
    """Raises `NoSandboxError`."""
    try:
        done = subprocess.run([*_sealed(), "true"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoSandboxError(str(error)) from None
    if done.returncode:
        raise NoSandboxError(done.stderr.strip())


def _sealed() -> list[str]:
    """No network, and a process namespace that ends with its first process, so with the call."""
    apart = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
    if os.geteuid() == 0:
        return [*apart, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    return [*apart, "--user", "--map-current-user"]
