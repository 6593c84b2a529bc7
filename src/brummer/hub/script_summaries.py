"""What runs in each instance, as `instances_list` shows it: the last run of each script, its URLs, and its error."""

from collections.abc import Sequence
from typing import Any, Final

from brummer.discovery.record import Record
from brummer.hub.everyone import answers_of
from brummer.link.state import LinkState
from brummer.peers.instance_entry import InstanceEntry

SHOWN: Final = 20
"""Scripts of an instance: failed ones come first, and `scripts_status` has all."""

ERROR_LENGTH: Final = 200

Answer = dict[str, Any]


async def script_summaries(entries: Sequence[InstanceEntry]) -> dict[str, Answer]:
    """The members ``scripts`` and, where there are more, ``more_scripts`` of each instance that can be asked, by id; or
    ``scripts_unknown``: why it did not answer.
    """
    ready = [entry for entry in entries if isinstance(entry.record, Record) and entry.link.state is LinkState.READY]
    answers = await answers_of(ready, "scripts_status", lambda _: {})
    return {instance_id: _members(answer) for instance_id, answer in answers.items()}


def _members(answer: Answer) -> Answer:
    if "error" in answer:
        return {"scripts_unknown": answer["error"].get("message", "")}
    processes = answer.get("processes", [])
    shown = {"scripts": [_summary(process) for process in processes[:SHOWN]]}
    is_more = len(processes) > SHOWN or "next_cursor" in answer
    return {**shown, "more_scripts": True} if is_more else shown


def _summary(process: Answer) -> Answer:
    summary: Answer = {"name": process.get("name"), "status": process.get("status")}
    if urls := process.get("urls"):
        summary["urls"] = urls
    if error := _error_of(process):
        summary["error"] = error[:ERROR_LENGTH]
    return summary


def _error_of(process: Answer) -> str:
    """Why it failed, or the last error since the last start of its server."""
    if said := process.get("first_error") or process.get("reason"):
        return str(said)
    errors = process.get("errors") or {}
    if not errors.get("since_start", errors.get("count")):
        return ""
    title, where = errors.get("last") or errors.get("first", ""), errors.get("last_where")
    return f"{title} ({where})" if where else str(title)
