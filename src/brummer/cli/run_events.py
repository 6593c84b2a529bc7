"""What happens to scripts, in a line for each event: `brum NAME` and `brum logs -f` print them among the output."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from brummer.cli.colour import RED, Paint
from brummer.contract.texts import who
from brummer.settings.units import span

PREFIX: Final = "brum"
"""In front of these lines, where a line of output has the name of its script."""

SHORTEST_S: Final = 0.05
"""A shorter time would be shown as none."""

ShownRunEvent = dict[str, Any]
"""A change as `changes_since` describes it. An instance of another version may have other members and kinds."""


class RunEvents:
    """The events of some scripts, or of all, as lines. ``names``: scripts, or ids of runs."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        self._started_at: dict[str, str] = {}

    def lines_of(self, changes: Iterable[ShownRunEvent]) -> list[ShownRunEvent]:
        """Each has the members of its change, and ``text`` as a line of output."""
        wanted = filter(self._is_wanted, changes)
        return [{**change, "text": text} for change in wanted if (text := self._text(change))]

    def _is_wanted(self, change: ShownRunEvent) -> bool:
        return not self._names or bool(self._names & {change.get("process"), change.get("process_id")})

    def _text(self, change: ShownRunEvent) -> str:
        """Empty for an event that the output shows by itself."""
        run, at = str(change.get("process_id", "")), str(change.get("at", ""))
        if change.get("kind") == "started":
            self._started_at[run] = at
        told = _TEXTS.get(str(change.get("kind")))
        return f"{change.get('process')} {told(change, _after(self._started_at.get(run), at))}" if told else ""


def _started(change: ShownRunEvent, _after: str) -> str:
    return f"started{who(change)}" + (f" (pid {change['pid']})" if "pid" in change else "")


def _ready(change: ShownRunEvent, after: str) -> str:
    urls = [str(url) for url in change.get("urls") or ()]
    return " ".join(["is ready", *(["at"] if urls else []), *urls, *([f"({after})"] if after else [])])


def _ended(word: str) -> Callable[[ShownRunEvent, str], str]:
    def told(change: ShownRunEvent, after: str) -> str:
        how = [str(change["signal"])] if change.get("signal") else []
        if not how and change.get("exit_code") is not None:
            how = [f"exit {change['exit_code']}"]
        facts = ", ".join([*how, *([f"after {after}"] if after else [])])
        does = "was restarted" if change.get("stop_asked_by") == "restart" else word
        says = f"{does}{who(change)}" + (f" ({facts})" if facts else "")
        reason = change.get("reason")
        if reason and str(reason) not in says:
            says += f": {reason}"
        if (next_s := change.get("next_restart_s")) is not None:
            says += f"; it starts again in {next_s:g} s"
        return says

    return told


_TEXTS: Final[dict[str, Callable[[ShownRunEvent, str], str]]] = {
    "started": _started,
    "ready": _ready,
    "exited": _ended("has ended"),
    "failed": _ended("failed"),
    "stopped": _ended("was stopped"),
    "crash-looping": _ended("is not restarted any more"),
}
"""By kind. An error and a URL stand in the output itself."""

_FAILURES: Final = frozenset({"failed", "crash-looping"})


def shown(event: ShownRunEvent, paint: Paint) -> str:
    """The text of an event for a terminal."""
    text = paint.foreign(event["text"])
    return paint.styled(text, RED) if event.get("kind") in _FAILURES else text


def _after(started_at: str | None, at: str) -> str:
    """The time between the two; empty if it is not known."""
    from datetime import datetime

    try:
        began, ended = datetime.fromisoformat(started_at or ""), datetime.fromisoformat(at)
    except ValueError:
        return ""
    took_s = (ended - began).total_seconds()
    return span(took_s) if took_s >= SHORTEST_S else ""
