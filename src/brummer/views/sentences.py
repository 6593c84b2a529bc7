"""What a view says: the title of a row, the verdict, and the other sentences. Pure: the time is an argument."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from brummer.discovery.record import displayable
from brummer.settings.units import span
from brummer.views.model import (
    ENDED,
    NOT_STARTED,
    READY,
    Answer,
    Now,
    Plan,
    PrintedErrorRow,
    RowKey,
    ViewedInstance,
    ViewModel,
    counted,
    kind_of,
)

BY_RANK, URL_RANK, WHY_RANK, USAGE_RANK, FILTER_RANK, FOLLOW_RANK = 6, 5, 4, 3, 2, 1
"""What a narrow title leaves out first: the highest. 0 is never left out."""
NAMED_FAILED: Final = 2
"""Scripts named in the verdict: more do not fit into 80 columns beside the rest."""
_MINUTE_S: Final = 60.0


class LogFacts(NamedTuple):
    """What the log shows of the chosen row. ``has_answer``: the first answer is there. ``is_earlier``: it shows earlier
    lines, and does not go on to new ones.
    """

    has_answer: bool = False
    follows: bool = True
    unseen: int = 0
    is_earlier: bool = False
    level: str | None = None
    query: str = ""
    shows_only_hits: bool = False


class VerdictLine(NamedTuple):
    """One line on how everything is."""

    text: str
    is_bad: bool = False


def title(model: ViewModel, key: RowKey | None, log: LogFacts, now: Now, width: int) -> str:
    """About the chosen row, within this width as far as that is possible."""
    entry = model.instances.get(key.instance) if key else None
    if key is None or entry is None:
        return "no project"
    parts = [(0, f"{entry.name} › {'all' if key.script is None else displayable(key.script)}")]
    parts += _of_project(entry) if key.script is None else _of_script(entry, key.script)
    parts += _of_log(log, is_answerable=entry.facts.state != NOT_STARTED)
    if why := standing(entry, now):
        parts.insert(1, (0, f"{model.signs['away']} {why}"))
    return fitted(parts, width)


def _of_project(entry: ViewedInstance) -> Iterator[tuple[int, str]]:
    kinds = [kind_of(each) for each in entry.processes.values()]
    if not entry.is_down:
        yield 0, _run(kinds.count("runs") + kinds.count("busy"))
    if failed := kinds.count("failed"):
        yield 0, f"{failed} failed"
    if entry.file_problems:
        yield WHY_RANK, entry.file_problems[0]


def _of_script(entry: ViewedInstance, name: str) -> Iterator[tuple[int, str]]:
    process = entry.processes.get(name)
    if process is None:
        yield 0, "never started" if entry.has_answered or entry.is_down else "asking …"
        return
    yield 0, displayable(process.outcome)
    if process.runs and process.urls:
        yield URL_RANK, displayable(process.urls[0])
    elif process.problem:
        yield WHY_RANK, displayable(process.problem)
    if asked := entry.asked.get(name):
        yield BY_RANK, asked
    cpu, memory = entry.usage.get(name, (None, None))
    if process.runs and not entry.is_away:
        if cpu is not None:
            yield USAGE_RANK, f"{100 * cpu:.0f} %"
        if memory is not None:
            yield USAGE_RANK, f"{memory:.0f} MiB"


def standing(entry: ViewedInstance, now: Now) -> str:
    """Why the instance is not as usual, since when, and what happens next; empty if it is ready."""
    state = entry.facts.state
    if state == READY:
        return ""
    if state == NOT_STARTED:
        return "not started (s starts it)"
    if entry.is_old:
        return "ended (s starts it); this is what it has left"
    since = f"{state} since {_age(now.s - entry.since_s)}"
    return f"{since} (s starts it)" if state == ENDED else f"{since}, waiting"


def verdict(model: ViewModel) -> VerdictLine:
    """What is wrong first, and what is done about it; of other hubs only what this one does not see."""
    if problem := _worst(model.problems):
        return VerdictLine(f"{model.signs['failed']} {_problem(model, problem)}", is_bad=True)
    for pid, problems in model.of_hubs:
        if problem := _worst(problems):
            says_hub = f"{model.signs['failed']} hub {pid} of an agent: {_problem(model, problem)}"
            return VerdictLine(says_hub, is_bad=True)
    known = model.instances.values()
    seen = [(each.name, process) for each in known if not each.is_away for process in each.processes.values()]
    kinds = [kind_of(process) for _, process in seen]
    failed = [
        f"{project} › {displayable(process.name)}"
        for (project, process), kind in zip(seen, kinds, strict=True)
        if kind == "failed"
    ]
    living = sum(not each.is_down for each in known)
    says = [_failed(failed) if failed else "healthy"]
    says += [counted(living, "project"), _run(kinds.count("runs") + kinds.count("busy"))]
    says += [f"but {_problem(model, model.problems[0])}"] if model.problems else []
    return VerdictLine(f"{model.signs['failed' if failed else 'done']} {', '.join(says)}", is_bad=bool(failed))


def _failed(scripts: Sequence[str]) -> str:
    others = len(scripts) - NAMED_FAILED
    return f"failed: {', '.join(scripts[:NAMED_FAILED])}{f' and {others} more' if others > 0 else ''}"


def _problem(model: ViewModel, problem: Answer) -> str:
    ids = [problem["instance"]] if problem.get("instance") else list(problem.get("instances") or ())
    about = ", ".join(_called(model, str(each)) for each in ids)
    title, then = str(problem.get("title", "")), str(problem.get("doing") or problem.get("advice") or "")
    said = ": ".join(filter(None, (str(problem.get("code", "")), about, title)))
    return displayable(f"{said}; {then}" if then else said)


def _called(model: ViewModel, instance: str) -> str:
    entry = model.instances.get(instance)
    return entry.name if entry else instance


def leaving(model: ViewModel) -> str:
    """The line that stays when the view is left: what runs on. Empty without an instance of this project."""
    entry = model.instances.get(model.own or "")
    if entry is None or entry.is_down:
        return ""
    count = len(entry.running())
    if not count:
        return f"{entry.name} runs on; brum down ends it"
    return f"{entry.name}: {_run(count)} on; brum down ends {'it' if count == 1 else 'them'}"


def words_of_error(error: PrintedErrorRow, now: Now) -> tuple[str, str, str, str]:
    """How often, what, where, and how long ago."""
    ago = f"{_age((now.at - error.at).total_seconds())} ago" if error.at else ""
    return (f"×{error.times}" if error.times > 1 else "", error.title, error.where, ago)


def words_of_plan(plan: Plan) -> str:
    """What is being done, in the status line."""
    what = displayable(", ".join(plan.scripts)) if len(plan.scripts) in {1, 2} else f"{len(plan.scripts)} scripts"
    return f"{plan.verb} {what if plan.scripts else 'the project'} …"


def fitted(parts: Sequence[tuple[int, str]], width: int) -> str:
    """The parts, two blanks between them; those with the highest rank are left out until the rest fits."""
    left = list(parts)
    while len("  ".join(text for _, text in left)) > width and (worst := max(rank for rank, _ in left)):
        left = [part for part in left if part[0] != worst]
    return "  ".join(text for _, text in left)


def _of_log(log: LogFacts, *, is_answerable: bool) -> Iterator[tuple[int, str]]:
    if log.level:
        yield FILTER_RANK, "errors only" if log.level == "error" else "warnings and errors"
    if log.query:
        yield FILTER_RANK, f"{'only ' if log.shows_only_hits else ''}/{displayable(log.query)}"
    if not is_answerable:
        return
    if not log.has_answer:
        yield FOLLOW_RANK, "asking …"
    elif log.is_earlier:
        yield FOLLOW_RANK, "earlier lines (f: new ones)"
    elif log.follows:
        yield FOLLOW_RANK, "following"
    else:
        yield FOLLOW_RANK, f"held, {log.unseen:,} new below (f)" if log.unseen else "held (f follows)"


def _worst(problems: Sequence[Answer]) -> Answer | None:
    return next((each for each in problems if each.get("severity") != "info"), None)


def _run(count: int) -> str:
    return "1 script runs" if count == 1 else f"{count or 'no'} scripts run"


def _age(seconds: float) -> str:
    """In whole seconds: a sentence that counts them is made once a second."""
    seconds = max(0.0, seconds)
    return f"{int(seconds)} s" if seconds < _MINUTE_S else span(seconds)
