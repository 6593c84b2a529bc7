"""What a view knows: answers of tools go in, rows and plans come out. Pure: the time is an argument.

A *row* of the tree is a project (an instance, whether it runs or not) or one of its scripts, and has a `RowKey`. All
deciding is here: which rows there are and in which order, and what a key does to the chosen row. What a view says of it
is in `brummer.views.sentences`. Text of scripts and projects is made harmless where it becomes a word of a view.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from brummer.contract.processes import FAILED, ShownProcess, processes_of
from brummer.discovery.record import displayable

Answer = dict[str, Any]

Kind = Literal["runs", "busy", "failed", "done", "stopped", "never", "away"]
"""What a row's sign says; the title says it in words."""

SIGNS: Final[dict[str, dict[Kind, str]]] = {
    "unicode": {"runs": "●", "busy": "◐", "failed": "✖", "done": "✓", "stopped": "○", "never": "·", "away": "◌"},
    "ascii": {"runs": "*", "busy": "~", "failed": "x", "done": "+", "stopped": "o", "never": ".", "away": "?"},
}
"""By the setting `glyphs`. They differ in shape, never by colour alone."""

_KINDS: Final[dict[str, Kind]] = {
    "ready": "runs",
    "running": "runs",
    **dict.fromkeys((*FAILED, "lost"), "failed"),
    "exited": "done",
    "stopped": "stopped",
}

ERRORS_KEPT: Final = 200
"""Of one instance: far more than a person reads, and some 100 KiB."""

ENDED: Final = "ended"
"""The state of an instance that was ended in good order, or that is known from its black box alone."""
NOT_STARTED: Final = "not started"
"""The state of this project while no instance of it runs, and none has run yet."""
READY: Final = "ready"
_DOWN: Final = frozenset({ENDED, NOT_STARTED, "gone"})


class RowKey(NamedTuple):
    """``script``: None for the row of the project itself."""

    instance: str
    script: str | None = None


class Now(NamedTuple):
    """``s`` is the loop's time, for ages of links; ``at`` the wall clock in UTC, for what scripts have printed."""

    s: float
    at: datetime


class TreeRow(NamedTuple):
    """``port``: of its first URL, with the colon. ``note``: why it is not as usual. ``is_dim``: it shows what was."""

    key: RowKey
    name: str
    kind: Kind
    sign: str
    port: str = ""
    errors: int = 0
    note: str = ""
    is_dim: bool = False


class ProjectRows(NamedTuple):
    """A project and its scripts. ``hidden``: how many scripts are not shown."""

    row: TreeRow
    scripts: list[TreeRow]
    hidden: int = 0


class PrintedErrorRow(NamedTuple):
    """One kind of error in the output of a run. ``lines`` are its first ones; ``n`` is the number of the first line, 0
    if that is one of an earlier run of the instance.
    """

    key: RowKey
    title: str
    where: str
    times: int
    at: datetime | None
    n: int
    lines: tuple[str, ...] = ()


class Plan(NamedTuple):
    """What a key is about to do. ``scripts``: in this order; empty for "start": those that `brum up` would start.
    ``question``: to be answered with yes first, if there is one.
    """

    verb: Literal["run", "stop", "restart", "start"]
    instance: str
    scripts: tuple[str, ...] = ()
    question: str = ""


class ViewedInstanceFacts(NamedTuple):
    """An instance as a hub lists it. ``since_s``: how long it has been in this state. ``host``: the machine whose
    ``directory`` it is; empty for this one.
    """

    instance_id: str
    name: str
    directory: str
    state: str
    since_s: float = 0.0
    reason: str = ""
    host: str = ""


class ViewedInstance(msgspec.Struct):
    """All that is known of one instance. ``since_s``: loop time. ``scripts``: the names in its files."""

    facts: ViewedInstanceFacts
    since_s: float = 0.0
    is_old: bool = False
    """It had ended before the view was opened."""
    has_answered: bool = False
    scripts: list[str] = []
    file_problems: list[str] = []
    """Mistakes in its files, which may be why a script is missing."""
    processes: dict[str, ShownProcess] = {}
    ran_before: frozenset[str] | None = None
    asked: dict[str, str] = {}
    """By script, its last start or stop with who asked for it: "restarted by claude-code 2.1.3"."""
    restarting: set[str] = set()
    """Scripts that were stopped to be started again."""
    errors: dict[tuple[str, int], PrintedErrorRow] = {}
    usage: dict[str, tuple[float | None, float | None]] = {}
    """By script: CPU as a part of one core, and MiB."""

    @property
    def id(self) -> str:
        return self.facts.instance_id

    @property
    def name(self) -> str:
        return displayable(f"{self.facts.name}@{self.facts.host}" if self.facts.host else self.facts.name)

    @property
    def is_away(self) -> bool:
        """What is known of it is perhaps not so any more."""
        return self.facts.state != READY

    @property
    def is_down(self) -> bool:
        """No process of it lives."""
        return self.facts.state in _DOWN

    def names(self) -> list[str]:
        """Of its scripts: first those that had run when it was first shown, each part in the order of the files. So a
        row stays where it is while the view is open.
        """
        known = dict.fromkeys([*self.scripts, *self.processes])
        return sorted(known, key=lambda name: name not in (self.ran_before or ()))

    def running(self) -> list[str]:
        """The names of the scripts that run, as far as it is known."""
        return [name for name in self.names() if (process := self.processes.get(name)) and process.runs]


class ViewModel:
    """All instances, and what is wrong. ``own``: the id of this project's instance, if there is a project here."""

    def __init__(self, own: str | None = None, glyphs: str = "unicode") -> None:
        self.own = own
        self.signs = SIGNS[glyphs]
        self.instances: dict[str, ViewedInstance] = {}
        self.problems: list[Answer] = []
        self.of_hubs: list[tuple[int, list[Answer]]] = []

    # Answers go in.

    def take_instances(self, listed: Iterable[ViewedInstanceFacts], now: Now) -> None:
        """What the hub says of those that it knows; others stay as they were."""
        for facts in listed:
            self._entry(facts).since_s = now.s - facts.since_s

    def take_ended(self, listed: Iterable[ViewedInstanceFacts]) -> None:
        """Instances that are known from what they have left behind alone, if they are not known otherwise."""
        for facts in listed:
            known = self.instances.get(facts.instance_id)
            if known is None or known.facts.state == NOT_STARTED:
                self._entry(facts).is_old = True

    def _entry(self, facts: ViewedInstanceFacts) -> ViewedInstance:
        entry = self.instances.setdefault(facts.instance_id, ViewedInstance(facts))
        entry.facts = facts
        entry.is_old = entry.is_old and entry.is_down
        return entry

    def take_problems(self, problems: Sequence[Answer]) -> None:
        """Those of the view's own hub, the worst first, as in `hub_status`."""
        self.problems = list(problems)

    def take_hubs(self, answers: Iterable[Answer]) -> None:
        """The status of each hub that runs for an agent."""
        self.of_hubs = [(int(each["hub"]["pid"]), list(each.get("problems", []))) for each in answers]

    def take_scripts(self, instance: str, answer: Answer) -> None:
        """An answer of `scripts_list`."""
        entry = self.instances[instance]
        entry.scripts = [str(each.get("name", "")) for each in answer.get("scripts", [])]
        entry.file_problems = list(map(_file_problem, answer.get("problems", [])))
        if entry.is_down:
            entry.ran_before = frozenset(entry.processes)

    def take_processes(self, instance: str, answer: Answer) -> bool:
        """An answer of `scripts_status` without a name; whether it says anything else than the last one."""
        entry = self.instances[instance]
        before = entry.processes if entry.has_answered else None
        entry.processes = {process.name: process for process in processes_of(answer)}
        entry.has_answered = True
        if entry.ran_before is None:
            entry.ran_before = frozenset(entry.processes)
        return entry.processes != before

    def take_changes(self, instance: str, answer: Answer) -> list[str]:
        """An answer of `changes_since`. Returns the scripts that had been ready and have failed since."""
        entry = self.instances[instance]
        if answer.get("cursor_reset"):
            entry.errors = {key: error._replace(n=0) for key, error in entry.errors.items()}
        ready = {each.process_id for each in entry.processes.values() if each.ready_at is not None}
        failed = []
        for change in answer.get("changes", []):
            kind, run = change.get("kind"), str(change.get("process_id", ""))
            _take_who_asked(entry, change)
            if kind == "ready":
                ready.add(run)
            elif kind == "error":
                self._take_error(entry, change)
            elif kind in FAILED and run in ready:
                failed.append(displayable(str(change.get("process", ""))))
        return failed

    def _take_error(self, entry: ViewedInstance, change: Answer) -> None:
        n = _whole(change.get("first_n"))
        error = PrintedErrorRow(
            RowKey(entry.id, str(change.get("process", ""))),
            displayable(str(change.get("title", ""))),
            displayable(str(change.get("where") or "")),
            max(1, _whole(change.get("count"))),
            _moment(change.get("at")),
            n,
            tuple(displayable(str(line)) for line in change.get("lines") or ()),
        )
        known = (str(change.get("process_id", "")), n)
        entry.errors.pop(known, None)
        entry.errors[known] = error
        while len(entry.errors) > ERRORS_KEPT:
            del entry.errors[next(iter(entry.errors))]

    def take_usage(self, instance: str, answer: Answer) -> bool:
        """An answer of `scripts_usage`; whether it has other figures than the last one."""
        found = {}
        for each in answer.get("scripts", []):
            cpu, memory = each.get("cpu"), each.get("memory_mib")
            if isinstance(cpu, int | float | None) and isinstance(memory, int | float | None):
                found[str(each.get("name", ""))] = (cpu, memory)
        before, self.instances[instance].usage = self.instances[instance].usage, found
        return found != before

    # Rows come out.

    def rows(self, *, hides_idle: bool = False) -> list[ProjectRows]:
        """First this project, then those that run by name, and at the end what has ended before.

        ``hides_idle``: without scripts that have never run, and without those at the end.
        """
        shown = [each for each in self.instances.values() if not (hides_idle and each.is_old and each.id != self.own)]
        shown.sort(key=lambda each: (each.id != self.own, each.is_old, each.name.casefold(), each.id))
        return [self._project(each, hides_idle=hides_idle) for each in shown]

    def _project(self, entry: ViewedInstance, *, hides_idle: bool) -> ProjectRows:
        note = f"{self.signs['away']} {entry.facts.state}" if entry.is_away else "!" if entry.file_problems else ""
        row = TreeRow(RowKey(entry.id), entry.name, "runs", "", note=note, is_dim=entry.is_away)
        scripts = [self._script(entry, name) for name in entry.names()]
        shown = [each for each in scripts if not (hides_idle and each.kind == "never")]
        return ProjectRows(row, shown, len(scripts) - len(shown))

    def _script(self, entry: ViewedInstance, name: str) -> TreeRow:
        process = entry.processes.get(name)
        kind = kind_of(process)
        port = _port(process.urls) if process and process.runs else ""
        count = process.errors.count if process and process.errors else 0
        return TreeRow(
            RowKey(entry.id, name), displayable(name), kind, self.signs[kind], port, count, is_dim=entry.is_away
        )

    def first_row(self) -> RowKey | None:
        """The one to choose when the view opens: the script of this project that failed, else runs, else any row."""
        for project in self.rows():
            ranked = sorted(project.scripts, key=lambda each: _FIRST.index(each.kind))
            return ranked[0].key if ranked else project.row.key
        return None

    @property
    def own_name(self) -> str:
        """The name of this project; empty if there is none."""
        entry = self.instances.get(self.own or "")
        return entry.name if entry else ""

    def process(self, key: RowKey) -> ShownProcess | None:
        """That of a script's row."""
        entry = self.instances.get(key.instance)
        return entry.processes.get(key.script) if entry and key.script is not None else None

    def question(self, key: RowKey) -> str:
        """The last output without a line end of the script, which may be a question; empty if there is none."""
        process = self.process(key)
        return displayable(process.unfinished_line or "") if process and process.runs else ""

    def errors_of(self, key: RowKey) -> list[PrintedErrorRow]:
        """Of the script, or of all scripts of the project, the newest first."""
        entry = self.instances.get(key.instance)
        found = list(entry.errors.values()) if entry else []
        mine = [each for each in reversed(found) if key.script in (None, each.key.script)]
        return sorted(mine, key=lambda each: each.at or _LONG_AGO, reverse=True)

    # What a key does.

    def start_or_stop(self, key: RowKey) -> Plan | None:
        """`s`: on a project all of it. None where there is no such row any more."""
        entry = self.instances.get(key.instance)
        if entry is None:
            return None
        if entry.is_down:
            return Plan("start", entry.id, () if key.script is None else (key.script,))
        running = [name for name in entry.running() if key.script in (None, name)]
        if not running:
            return Plan("run", entry.id, () if key.script is None else (key.script,))
        question = f"stop {len(running)} scripts of {entry.name}?" if len(running) > 1 else ""
        return Plan("stop", entry.id, tuple(running), question)

    def restart(self, key: RowKey) -> Plan | None:
        """`r`: it also starts what does not run; on a project it restarts what runs."""
        entry = self.instances.get(key.instance)
        if entry is None:
            return None
        if entry.is_down:
            return self.start_or_stop(key)
        wanted = (key.script,) if key.script is not None else tuple(entry.running())
        return Plan("restart", entry.id, wanted) if wanted else Plan("run", entry.id)

    def stop_project(self) -> str:
        """The question of `Q`; empty where there is nothing of this project to end."""
        entry = self.instances.get(self.own or "")
        if entry is None or entry.is_down:
            return ""
        count = len(entry.running())
        scripts = f" and its {counted(count, 'script')}" if count else ""
        return f"end {entry.name}{scripts}, and leave?"

    @property
    def has_problems(self) -> bool:
        """The view's own hub has some."""
        return bool(self.problems)

    @property
    def has_age(self) -> bool:
        """A sentence about an instance counts seconds, so it must be made again each second."""
        known = self.instances.values()
        return any(each.is_away and not each.is_old and each.facts.state != NOT_STARTED for each in known)


_FIRST: Final[tuple[Kind, ...]] = ("failed", "busy", "runs", "done", "stopped", "never", "away")
"""Which script a person wants to see first."""

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def kind_of(process: ShownProcess | None) -> Kind:
    """What the sign of a script says: of its latest run, or that there was none."""
    return _KINDS.get(process.status, "busy") if process else "never"


def _file_problem(problem: Answer) -> str:
    place = ":".join(str(part) for part in (problem.get("source"), problem.get("line")) if part is not None)
    return displayable(f"{place}: {problem.get('message', '')}")


def _port(urls: Sequence[str]) -> str:
    """``:5173`` of the first URL; empty if it names none."""
    place = urls[0].partition("://")[2].partition("/")[0] if urls else ""
    _, colon, port = place.rpartition(":")
    return colon + port if port.isdecimal() else ""


def _take_who_asked(entry: ViewedInstance, change: Answer) -> None:
    """A restart is a stop and a start; the start says so."""
    kind, by, name = change.get("kind"), change.get("by"), str(change.get("process", ""))
    if kind == "stopped" and change.get("stop_asked_by") == "restart":
        entry.restarting.add(name)
    if kind in ("started", "stopped"):
        verb = "restarted" if name in entry.restarting else kind
        entry.asked[name] = f"{verb} by {displayable(by)}" if isinstance(by, str) else ""
    if kind == "started":
        entry.restarting.discard(name)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo else None


def counted(count: int, what: str) -> str:
    """``1 script``, ``2 scripts``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
