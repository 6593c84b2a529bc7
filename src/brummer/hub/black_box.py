"""Answers to calls that only read, from the journal of an instance that is down.

Such an answer has ``"from": "black box"``, the time of the last write, and why the instance itself does not answer.
Nothing is read or imported while instances answer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from brummer.contract.tools import renderer
from brummer.core.errors import BrummerError, NotFound, shown
from brummer.discovery.record import instance_id_for
from brummer.host.clocks import wall
from brummer.host.threads import NoThread, in_thread
from brummer.wire.mcp.tool_arguments import ArgumentDecoder
from brummer.wire.mcp.tool_results import BUDGET_BYTES, budget_of
from brummer.wire.mcp.tools import structured

if TYPE_CHECKING:
    from brummer.logs.journal.reader import BlackBox
    from brummer.logs.journal.record_format import About

Answer = dict[str, Any]
T = TypeVar("T", bound=msgspec.Struct)

ANSWERED: Final = frozenset({"scripts_status", "logs_tail", "logs_search", "changes_since"})
"""The tools that a black box can answer."""


class Down(msgspec.Struct, frozen=True):
    """Why an instance does not answer, as far as it is known."""

    instance_id: str
    state: str | UnsetType = UNSET
    since_s: float | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class BlackBoxes:
    """The journals of all projects. ``find_root`` returns their directory; it may block."""

    def __init__(self, find_root: Callable[[], Path]) -> None:
        self._find_root = find_root

    async def answer(
        self, instance_id: str, tool: str, arguments: bytes, running: str | None, down: Down, last: str | None = None
    ) -> bytes | None:
        """The encoded result; None if there is no readable black box. Raises NotFound, InvalidArguments.

        ``running``: the generation that may still live. ``down``: why the instance does not answer. ``last``: the last
        generation that is known, living or not.
        """
        try:
            box = await in_thread(self._box, instance_id)
        except NoThread:
            return None
        if box is None or not box.runs:
            return None
        found, limit_bytes = await _found(box, tool, arguments, running, running or last)
        answer = {**found, "from": "black box", "written_at": box.written_at, "instance": msgspec.to_builtins(down)}
        return structured(answer, renderer(tool), limit_bytes)

    async def named(self, name: str) -> str | None:
        """The id of the project with this id, name or directory. Raises NotFound if there are several."""
        found = await in_thread(self._called, name)
        if len(found) > 1:
            raise NotFound(
                f"no instance {shown(name)!r} runs, and several have been called that; use the id",
                instances=[msgspec.structs.asdict(about) for about in found],
            )
        return found[0].instance_id if found else None

    # In a thread.

    def _box(self, instance_id: str) -> "BlackBox | None":
        from brummer.logs.journal.reader import BlackBox  # noqa: PLC0415 - see above

        try:
            return BlackBox(self._find_root() / instance_id)
        except (BrummerError, OSError):
            return None

    def _called(self, name: str) -> "list[About]":
        from brummer.logs.journal.reader import projects  # noqa: PLC0415 - see above

        try:
            known = projects(self._find_root())
            place = Path(name).expanduser()
            by_place = instance_id_for(place) if place.is_absolute() else None
        except (BrummerError, OSError, ValueError, RuntimeError):
            return []
        by_id = [about for about in known if about.instance_id in (name, by_place)]
        return by_id or [about for about in known if about.name == name]


async def _found(
    box: "BlackBox", tool: str, arguments: bytes, running: str | None, last: str | None
) -> tuple[Answer, int]:
    """Its content, within the number of bytes that the answer may have."""
    is_over = box.generation != running
    from brummer.contract import (  # noqa: PLC0415 - see above
        paging,
        texts,
        tools,
    )
    from brummer.logs.journal import query  # noqa: PLC0415 - see above

    match tool:
        case "scripts_status":
            name, cursor = _all_of(_decoded(tool, arguments, tools.ScriptsStatus), "name", "cursor")
            processes = box.processes(name, is_over=is_over)
            place = box.cursor()
            if name is not None:
                return paging.processes_of_one(processes, cursor, place), BUDGET_BYTES
            return paging.latest_processes(processes, cursor, place, now_s=wall()), BUDGET_BYTES
        case "changes_since":
            asked = _decoded(tool, arguments, tools.ChangesSince)
            cursor, limit, _ = _all_of(asked, "cursor", "limit", "wait_s")  # nothing that could be waited for will come
            return await query.changes(box, cursor=cursor, limit=limit, last=last), BUDGET_BYTES
        case _:
            kind = tools.TailLogs if tool == "logs_tail" else tools.SearchLogs
            wanted = _decoded(tool, arguments, kind)
            lines = await query.lines(box, wanted, is_over=is_over, last=last)
            return texts.compact(lines), budget_of(wanted)


def _all_of(arguments: msgspec.Struct, *names: str) -> list[Any]:
    """Their values. Raises TypeError if there are other arguments: an unknown one must not be dropped."""
    values = msgspec.structs.asdict(arguments)
    found = [values.pop(name) for name in names]
    if values:
        raise TypeError(f"a black box does not understand {', '.join(values)}")
    return found


def _decoded(tool: str, arguments: bytes, kind: type[T]) -> T:
    return ArgumentDecoder(tool, kind).decode(arguments)
