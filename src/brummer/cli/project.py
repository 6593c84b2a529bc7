"""The project's instance as commands use it: found from a directory of the project, and called without a hub."""

import argparse
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli.instance_calls import InstanceCalls, InstanceStopped, NothingRuns, Unanswered
from brummer.cli.messages import print_json, say
from brummer.cli.project_place import up_to_the_repository
from brummer.contract.tools import CALL_ANSWER_S, DEFAULT_WAIT_S, READ_ONLY, UNTIL_BLACK_BOX_S, WAITING
from brummer.contract.whole_lists import LISTS, whole_list
from brummer.core.errors import BrummerError, InvalidArguments
from brummer.discovery.directory import black_box_directory, instances_directory
from brummer.discovery.owners import living_record
from brummer.discovery.record import Record, displayable, instance_id_for
from brummer.discovery.registrar import lock_path, scripts_lock_path
from brummer.host import loop
from brummer.host.directories import DirectoryUnusable, private_directory
from brummer.host.locks import is_locked

EXIT_WRONG: Final = 2
EXIT_NOTHING_RUNS: Final = 3
EXIT_TIMED_OUT: Final = 4
EXIT_NOTHING_CHOSEN: Final = 5
"""No rule says what to start."""

OMITTED: Final = {
    "environment": "scripts start in the environment of the instance, not in this one",
    "colours": "the lines come without colours",
    "asked_by": "",
    "wait_s": "",
}
"""What may be left out for an instance of an older version, which does not know it; and what is missing then."""
ANEW: Final = "brum down, then brum up, starts this version"
_OLD_WORDS: Final = re.compile("unknown field `([a-z_]+)`")
"""Of an instance before ``known`` was in the context of that error."""


class CallFailed(BrummerError):
    """The call failed, in the instance or on the way; ``error_code`` is the code of that error.

    ``unknown``: the argument that the instance does not know, if that is why.
    """

    code = "call_failed"

    def __init__(self, message: str, error_code: str, unknown: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code
        self.unknown = unknown


class Project:
    """``place``: a directory of the project. ``name``: of a further instance. ``return_s``: see `InstanceCalls`."""

    def __init__(self, place: Path, name: str | None, return_s: float = 0.0) -> None:
        self.place = place
        self.name = name
        self._return_s = return_s
        self._calls = InstanceCalls(self.instance, return_s)
        self._said = ""

    def another(self) -> "Project":
        """The same project, called on a connection of its own: each takes one call at a time."""
        return Project(self.place, self.name, self._return_s)

    def find(self) -> Record | None:
        """The record of the closest instance: of this directory, or of one above it."""
        directory = instances_directory(os.environ)
        try:
            private_directory(directory, create=False)
        except DirectoryUnusable:
            return None
        return next(filter(None, (living_record(directory, instance_id) for instance_id in self._ids())), None)

    def instance(self) -> Record:
        """As `find`. Raises NothingRuns."""
        if record := self.find():
            return record
        raise self._nothing_runs()

    def unpublished_lock(self) -> Path | None:
        """The held lock of an instance without a record: it is about to end, or to start."""
        directory = instances_directory(os.environ)
        locks = (path(directory, each) for each in self._ids() for path in (scripts_lock_path, lock_path))
        return next(filter(is_locked, locks), None)

    def _ids(self) -> Iterator[str]:
        return ids_at(self.place, self.name)

    def _nothing_runs(self) -> NothingRuns:
        what = f"no instance called {self.name}" if self.name else "nothing"
        return NothingRuns(f"{what} runs for {self.place}; brum up starts it, brum ls shows what runs elsewhere")

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """The structured content of the answer. An instance of an older version is asked without what it does not know,
        if that is allowed. Raises NothingRuns, InstanceStopped, CallFailed.
        """
        while True:
            try:
                return await self._call_once(tool, arguments)
            except CallFailed as error:
                if error.unknown not in arguments:
                    raise
                older = f"{self.instance().name} is of another version of Brummer"
                if error.unknown not in OMITTED:
                    what = f"{older}, whose {tool} has no `{error.unknown}`; {ANEW}"
                    raise CallFailed(what, error.error_code) from None
                arguments.pop(error.unknown)
                if missing := OMITTED[error.unknown]:
                    self._say(f"{older}: {missing}; {ANEW}")

    async def _call_once(self, tool: str, arguments: dict[str, object]) -> dict[str, Any]:
        ask = partial(self._calls.result, tool, wait_s=_wait_s(tool, arguments))
        if tool in READ_ONLY and tool not in WAITING:
            try:
                return await _content(tool, partial(ask, patience_s=UNTIL_BLACK_BOX_S), arguments)
            except Unanswered as error:
                record = self.instance()
                if content := await self._from_black_box(record.instance_id, record.generation, tool, arguments):
                    self._say(f"{error.message}; {_source(content)}")
                    return content
        return await _content(tool, partial(ask, patience_s=CALL_ANSWER_S), arguments)

    async def left_behind(self, tool: str, **arguments: object) -> dict[str, Any]:
        """The answer of the black box of the last run. Raises NothingRuns if there is none."""
        for instance_id in self._ids():
            if content := await self._from_black_box(instance_id, None, tool, arguments):
                self._say(f"nothing runs for {self.place} (brum up starts it); {_source(content)}")
                return content
        raise self._nothing_runs()

    def close(self) -> None:
        self._calls.close()

    async def _from_black_box(
        self, instance_id: str, generation: str | None, tool: str, arguments: dict[str, object]
    ) -> dict[str, Any] | None:
        """None if there is no black box, or it can't answer. ``generation``: of the run that may still live."""
        from brummer.hub.black_box import ANSWERED, BlackBoxes, Down

        if tool not in ANSWERED:
            return None
        boxes = BlackBoxes(lambda: black_box_directory(os.environ))

        async def ask(encoded: bytes) -> dict[str, Any]:
            last = self._calls.last_generation
            result = await boxes.answer(instance_id, tool, encoded, generation, Down(instance_id), last)
            return msgspec.json.decode(result) if result else {}

        with contextlib.suppress(BrummerError):
            return await _content(tool, ask, arguments) or None
        return None

    def _say(self, text: str) -> None:
        """Say it once, however many calls cause it."""
        if text != self._said:
            self._said = text
            say(text)


def _wait_s(tool: str, arguments: dict[str, object]) -> float:
    """How long the tool itself may wait."""
    wait_s = arguments.get("timeout_s", DEFAULT_WAIT_S) if tool in WAITING else arguments.get("wait_s")
    return wait_s if isinstance(wait_s, int | float) else 0.0


async def _content(
    tool: str, ask: Callable[[bytes], Awaitable[dict[str, Any]]], arguments: dict[str, object]
) -> dict[str, Any]:
    """Raises CallFailed for any failure but those of the instance's state."""
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        result = await (whole_list(ask, **given) if tool in LISTS else ask(msgspec.json.encode(given)))
    except (NothingRuns, InstanceStopped, Unanswered):
        raise
    except BrummerError as error:
        raise CallFailed(error.message, error.code) from error
    content: dict[str, Any] = result.get("structuredContent", {})
    if result.get("isError"):
        failure = content.get("error", {})
        message, code = str(failure.get("message", "the call failed")), str(failure.get("code", ""))
        raise CallFailed(message, code, _unknown_argument(message, failure) if code == InvalidArguments.code else "")
    return content


def _unknown_argument(message: str, failure: dict[str, Any]) -> str:
    """Its name; empty if something else is wrong with the arguments. Nothing has been done then."""
    context = failure.get("context") or {}
    if "known" in context:
        return str(context.get("argument", ""))
    found = _OLD_WORDS.search(message)
    return found[1] if found else ""


def _source(content: dict[str, Any]) -> str:
    """The origin of an answer that did not come from the instance."""
    return displayable(f"this is from its {content.get('from')}, written at {content.get('written_at')}")


def ids_at(place: Path, name: str | None) -> Iterator[str]:
    """The ids that an instance of this project can have, the closest directory first. A repository within another, such
    as a submodule or a worktree, is a project of its own.
    """
    return (instance_id_for(directory, name) for directory in up_to_the_repository(place))


def with_project(chosen: argparse.Namespace, use: Callable[[Project], Awaitable[int]], return_s: float = 0.0) -> int:
    """Run a command of the project that ``--dir`` and ``--name`` choose; returns the exit status. With ``--json`` an
    error is printed as JSON, too.
    """
    project = Project(chosen.dir.resolve(), chosen.name, return_s)

    async def main() -> int:
        try:
            return await use(project)
        finally:
            project.close()

    try:
        return loop.run(main())
    except BrummerError as error:
        if getattr(chosen, "json", False):
            print_json({"error": failure(error)})
        say(error.message)
        return _exit_status(error)


def _exit_status(error: BrummerError) -> int:
    if isinstance(error, NothingRuns):
        return EXIT_NOTHING_RUNS
    return EXIT_WRONG if failure(error)["code"] == InvalidArguments.code else 1


def failure(error: BrummerError) -> dict[str, str]:
    """An error for programs, in the answer of a command."""
    return {"code": error.error_code if isinstance(error, CallFailed) else error.code, "message": error.message}
