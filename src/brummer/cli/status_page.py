"""The page of `brum status`: lines for people, made from the hubs' answers. Pure: the time is an argument.

The first line is the verdict: ``healthy``, perhaps with a note, or the code of the root cause; then since when, what
the hub does, and what the user can do. Each hub follows with its problems, its links (failing ones first), and its
timeline, oldest first.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from brummer.cli.colour import BOLD, PLAIN, RED, Paint
from brummer.cli.table import aligned, joined, width
from brummer.discovery.record import displayable
from brummer.settings.units import span

NO_HUB: Final = "no hub is running; a coding agent starts one with `brum --mcp` (`brum mcp-config` shows how to add it)"

HEALTHY: Final = "healthy"
INFO: Final = "info"
"""The severity of a note that is no fault."""

TIMELINE_SHOWN: Final = 12
"""Entries that are shown: half a screen; --json has all."""

_TRYING: Final = frozenset({"discovered", "connecting", "retrying", "impostor"})

_ORDER: Final = ("suspect", "retrying", "impostor", "incompatible", "connecting", "discovered", "gone", "ready")


class Facts(msgspec.Struct):
    """Facts about a hub; of one that does not answer only the pid is known."""

    pid: int
    version: str = ""
    directory: str = ""
    uptime_s: float | None = None


class ShownProblem(msgspec.Struct):
    """``code`` is a name for programs; the problem is about an instance, several, or a file.

    ``since_s`` is its age in seconds; ``hides`` counts the consequences that are not listed.
    """

    code: str
    severity: str = "error"
    title: str = ""
    since_s: float | None = None
    doing: str = ""
    advice: str = ""
    hides: int = 0
    detail: str = ""
    instance: str = ""
    instances: list[str] = []
    path: str = ""


class ShownError(msgspec.Struct):
    """The last error of a link."""

    code: str
    message: str


class ShownLink(msgspec.Struct):
    """The fields of a link in `hub_status` that the page shows."""

    instance_id: str
    state: str
    since_s: float = 0.0
    reason: str = ""
    condition: str = "unknown"
    last_error: ShownError | None = None
    attempts: int = 0
    next_retry_s: float | None = None
    breaker: str = "closed"
    in_flight: int = 0
    parked: int = 0


class ShownMachine(msgspec.Struct):
    """Another machine, as in `hub_status`."""

    host: str
    state: str = ""
    carrier: str = ""
    since_s: float = 0.0
    rtt_ms: float | None = None
    instances: int = 0
    detail: str = ""


class ShownTimelineEntry(msgspec.Struct):
    """``did`` is empty until the hub has finished its reaction."""

    kind: str
    at: datetime | None = None
    ago_s: float = 0.0
    reasons: list[str] = []
    did: str = ""
    took_s: float | None = None


class ShownStatus(msgspec.Struct):
    """One hub's answer. Unknown fields, as of another version, are ignored."""

    hub: Facts
    problems: list[ShownProblem] = []
    links: list[ShownLink] = []
    timeline: list[ShownTimelineEntry] = []
    machines: list[ShownMachine] = []

    @property
    def is_healthy(self) -> bool:
        return all(problem.severity == INFO for problem in self.problems)


def gist(statuses: Iterable[ShownStatus]) -> object:
    """A value that differs when the page must be printed again: without times and numbers that always change."""
    return [
        (
            (status.hub.pid, status.hub.version, status.hub.directory),
            [(each.code, each.instance, each.instances, each.path) for each in status.problems],
            sorted((each.instance_id, *_standing(each)) for each in status.links),
            [(each.kind, each.at, each.did) for each in status.timeline],
            [(each.host, each.state, each.instances, each.detail) for each in status.machines],
        )
        for status in statuses
    ]


def _standing(link: ShownLink) -> tuple[str, ...]:
    """Another attempt of a failing link changes neither its state nor its reason."""
    error = link.last_error.message if link.last_error else ""
    if link.attempts and link.state in _TRYING:
        return "trying", error
    return link.state, error, link.reason, link.breaker, link.condition if link.condition in _NOT_RUNNING else ""


def page(statuses: Sequence[ShownStatus], now: datetime, paint: Paint = PLAIN) -> str:
    """All hubs, those with problems first. ``now`` has the time zone of the page."""
    if not statuses:
        return NO_HUB
    ordered = sorted(statuses, key=lambda status: (status.is_healthy, not status.problems, status.hub.pid))
    parts = [_verdict(ordered[0], paint), *(_lines_of(status, now, paint) for status in ordered if status.hub.pid)]
    return "\n\n".join("\n".join(lines) for lines in parts)


def _verdict(worst: ShownStatus, paint: Paint) -> Iterator[str]:
    """The root cause, if there is one: since when, what the hub does, what to do."""
    if worst.is_healthy:
        known = [f"{HEALTHY}, but {_problem(problem)}" for problem in worst.problems[:1]]
        yield paint.styled(displayable(known[0] if known else HEALTHY), BOLD)
        return
    problem = worst.problems[0]
    yield paint.styled(displayable(_problem(problem)), RED)
    began = "" if problem.since_s is None else f"for {span(problem.since_s)}"
    others = len(worst.problems) - 1
    for title, said in (
        ("since", began),
        ("doing", problem.doing),
        ("to do", problem.advice),
        ("hidden", f"{_counted(problem.hides, 'consequence')} of it" if problem.hides else ""),
        ("also", f"{_counted(others, 'other problem')}, see below" if others else ""),
    ):
        if said:
            yield displayable(f"  {title:8}{said}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _lines_of(status: ShownStatus, now: datetime, paint: Paint) -> Iterator[str]:
    yield paint.styled(displayable(_title(status.hub)), BOLD)
    if not status.links and not status.problems:
        yield "  no instance is running"
    sections = (
        ("problems", map(_problem, status.problems)),
        ("machines", _machines(status.machines)),
        ("links", _links(status.links)),
        ("timeline", _timeline(status.timeline, now)),
    )
    for title, found in sections:
        lines = list(found)
        if lines:
            yield f"  {paint.styled(title, RED if title == 'problems' else BOLD)}"
            yield from (f"    {displayable(line)}" for line in lines)


def _title(hub: Facts) -> str:
    facts = [
        f"version {hub.version}" if hub.version else "",
        "" if hub.uptime_s is None else f"running for {span(hub.uptime_s)}",
        f"started in {hub.directory}" if hub.directory else "",
    ]
    return f"hub {hub.pid}  {', '.join(filter(None, facts))}".rstrip()


def _problem(problem: ShownProblem) -> str:
    about = problem.instance or ", ".join(problem.instances) or problem.path
    said = ": ".join(filter(None, (about, problem.title, problem.detail)))
    return f"{problem.code}: {said}" if said else problem.code


def _machines(machines: Sequence[ShownMachine]) -> Iterator[str]:
    for each in machines:
        rtt = f", {each.rtt_ms:g} ms away" if each.rtt_ms is not None else ""
        what = f"{_counted(each.instances, 'instance')} over {each.carrier}{rtt}"
        yield f"{each.host}  {each.state}  {span(each.since_s)}  {what}"
        if each.detail:
            yield f"  {each.detail}"


def _links(links: Sequence[ShownLink]) -> Iterator[str]:
    ordered = sorted(links, key=lambda link: (_rank(link.state), link.instance_id))
    rows = aligned([[link.instance_id, link.state, span(link.since_s), link.reason] for link in ordered])
    for link, row in zip(ordered, rows, strict=True):
        yield joined(row)
        indent = _indent(row)
        error = link.last_error
        if error and error.message not in link.reason:
            yield f"{indent}last error: {error.message} ({error.code})"
        if doing := "; ".join(_doing(link)):
            yield f"{indent}→ {doing}"


_NOT_RUNNING: Final = ("stopped", "frozen")


def _rank(state: str) -> int:
    return _ORDER.index(state) if state in _ORDER else 0


def _doing(link: ShownLink) -> Iterator[str]:
    """What the hub does about a failing link."""
    retry = f"dialled again in {span(link.next_retry_s)}" if link.next_retry_s else "dialled again"
    if link.condition in _NOT_RUNNING:
        yield f"its process is {link.condition}"
    match link.state:
        case "suspect":
            yield "probed until it answers"
        case "retrying" | "impostor":
            yield f"{retry}, attempt {link.attempts + 1}"
        case "connecting" | "discovered":
            yield f"being dialled, attempt {link.attempts + 1}"
        case "incompatible":
            yield "waits for another version of it"
        case "gone":
            yield "waits for it to start again"
    if link.breaker != "closed":
        yield f"calls are refused at once (breaker {link.breaker})"
    for count, what in ((link.in_flight, "under way"), (link.parked, "waiting for it")):
        if count:
            yield f"{count} {'call' if count == 1 else 'calls'} {what}"


def _timeline(timeline: Sequence[ShownTimelineEntry], now: datetime) -> Iterator[str]:
    shown = timeline[-TIMELINE_SHOWN:]
    if len(shown) < len(timeline):
        yield f"({len(timeline) - len(shown)} earlier)"
    rows = [[_clock(each.at, now), _ago(each.ago_s), "; ".join(each.reasons) or each.kind] for each in shown]
    for each, row in zip(shown, aligned(rows), strict=True):
        yield joined(row)
        took = "" if each.took_s is None else f" (within {span(each.took_s)})"
        yield f"{_indent(row)}→ {each.did or 'not finished yet'}{took}"


def _indent(row: Sequence[str]) -> str:
    """Blanks up to the last cell of the row."""
    return " " * sum(width(cell) + 2 for cell in row[:-1])


def _clock(at: datetime | None, now: datetime) -> str:
    """The time of day as people's clocks showed it then, with the date if it is not today's."""
    if at is None:
        return ""
    here = at.astimezone()
    return here.strftime("%H:%M:%S" if here.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def _ago(seconds: float) -> str:
    return "just now" if seconds < 1 else f"{span(seconds)} ago"
