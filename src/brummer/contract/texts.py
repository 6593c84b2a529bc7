"""Writes the text of each tool's answer: for reading, with everything that the next call needs.

The source is the structured content, so the answers of a live instance and of a black box look the same. Unknown and
missing members are ignored: files and instances of another version may have other members.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from brummer.core.json_text import encode
from brummer.settings.units import span

Answer = dict[str, Any]

IDLE_MIN: Final = 30
"""Minutes without a script or a call, after which an instance ends that was started for an agent. One that thinks, or
waits for its person, comes back before; later its next call starts the instance again.
"""

_OTHER_SHAPE: Final = (LookupError, TypeError, ValueError, AttributeError)
"""Raised for data of an unknown shape, from another version or from an edited file."""


def lines_of(answer: Answer) -> list[Answer]:
    """The lines of an answer one by one, each with all members: what `compact` has joined is taken apart."""
    found = []
    for entry in answer.get("lines", []):
        whole = {**answer.get("common", {}), **entry}
        texts, after_ms = str(whole.get("text", "")).split("\n"), whole.pop("after_ms", None)
        found.append({**whole, "text": texts[0]})
        if len(texts) > 1:
            n, at = whole["n"], str(whole["at"])
            is_whole = after_ms is not None and len(after_ms) == len(texts)  # a text that was cut has fewer lines
            ats = _ats(at, after_ms) if is_whole else [at] * len(texts)
            found += [
                {**whole, "n": n + offset, "at": ats[offset], "text": texts[offset]} for offset in range(1, len(texts))
            ]
    return found


_HOUR: Final = len("2026-11-30T19:")
_TIME_LENGTH: Final = len("2026-11-30T19:04:03.123Z")


def _in_hour(at: str) -> str:
    """Minutes, seconds and milliseconds of a time: seven digits; empty for another form, as in an edited file."""
    digits = at[14:16] + at[17:19] + at[20:23]
    return digits if len(at) == _TIME_LENGTH and digits.isdecimal() else ""


def _ms(in_hour: str) -> int:
    minutes, ms = divmod(int(in_hour), 100_000)
    return 60_000 * minutes + ms


def _ats(first: str, after_ms: list[int]) -> list[str]:
    hour, begin = first[:_HOUR], _ms(_in_hour(first))
    return [
        f"{hour}{ms // 60_000:02}:{ms // 1000 % 60:02}.{ms % 1000:03}Z" for ms in (begin + each for each in after_ms)
    ]


class _Joined:
    """Lines of one stream of one process that are one entry of an answer."""

    __slots__ = ("at", "level", "line", "texts", "times")

    def __init__(self, line: Any) -> None:
        self.line = line
        self.level: str | None = None
        self.at: str = line.at
        self.texts: list[str] = [line.text]
        self.times: list[str] = []
        """As `_in_hour`, from the first line on, if there are several."""

    def take(self, line: Any) -> bool:
        """The line after the last one, if it is of the same stream and hour; whether it was taken."""
        first = self.line
        if line.process != first.process or line.stream != first.stream:
            return False
        if line.at != self.at or self.times:
            if line.at[:_HOUR] != self.at[:_HOUR] or not (in_hour := _in_hour(line.at)):
                return False
            if not self.times:
                if not (begin := _in_hour(self.at)):
                    return False
                self.times = [begin] * len(self.texts)
            self.times.append(in_hour)
        self.texts.append(line.text)
        return True

    def entry(self, common: Answer) -> Answer:
        members = {name: getattr(self.line, name) for name in ("n", "process", "stream", "at") if name not in common}
        if self.level is not None and "level" not in common:
            members["level"] = self.level
        if self.times:
            begin = _ms(self.times[0])
            members["after_ms"] = [_ms(each) - begin for each in self.times]
        members["text"] = "\n".join(self.texts)
        return members


def _joined(lines: list[Any]) -> list[_Joined]:
    joined: list[_Joined] = []
    until_n = 0
    for line in lines:
        if not (joined and line.n == until_n + 1 and joined[-1].take(line)):
            joined.append(_Joined(line))
        until_n = line.n
    return joined


def _joined_by_level(lines: list[Any], levels: Mapping[int, str]) -> list[_Joined]:
    joined: list[_Joined] = []
    for level, group in groupby(lines, key=lambda line: levels.get(line.n)):
        of_level = _joined(list(group))
        for each in of_level:
            each.level = level
        joined += of_level
    return joined


def compact(answer: Answer) -> Answer:
    """The answer with its ``lines`` (objects) as dicts. Lines that one stream of one process printed within an hour,
    without another between them, are one entry: ``text`` has them with line feeds, ``n`` is the number of the first.
    ``after_ms``, if they were not printed at once: for each line the milliseconds after ``at``. ``level``, if they are
    errors or warnings, by the ``levels`` of the answer. Members that several entries all share go into ``common``.
    """
    joined = _joined(answer["lines"]) if "levels" not in answer else _joined_by_level(answer["lines"], answer["levels"])
    common = {}
    if len(joined) > 1:
        for name in ("process", "stream"):
            value = getattr(joined[0].line, name)
            if all(getattr(each.line, name) == value for each in joined):
                common[name] = value
        if joined[0].level is not None and all(each.level == joined[0].level for each in joined):
            common["level"] = joined[0].level
    found = {**answer, **({"common": common} if common else {}), "lines": [each.entry(common) for each in joined]}
    if "levels" in answer:
        del found["levels"]
    return found


def rendered(tool: str, answer: Answer) -> str:
    """The text of an answer of this tool; an answer of an unknown shape is shown as data."""
    try:
        lines = _TOOLS[tool](answer)
        return "\n".join([_from(answer), *lines] if "from" in answer else lines)
    except _OTHER_SHAPE:
        return _plain(answer)


def entry(tool: str, section: str, content: Answer) -> str:
    """The text of one entry of a list in the answer of this tool."""
    try:
        return SECTIONS[tool][section](content)
    except _OTHER_SHAPE:
        return _plain(content)


def _from(answer: Answer) -> str:
    says = f"from the {answer['from']}"
    if instance := answer.get("instance"):
        says += f" of {instance['instance_id']}, which is {instance.get('state')} ({instance.get('reason', '')})"
    return f"[{says}, written at {answer['written_at']}]" if "written_at" in answer else f"[{says}]"


# Lines and changes.


def line(content: Answer) -> str:
    """``12:03:11 dev | …``; a line of Brummer itself has ``dev brum``."""
    return f"{_time(content)} {_origin_of(content)} | {content.get('text', '')}"


def _origin_of(content: Answer) -> str:
    return f"{content.get('process', '')}" + (" brum" if content.get("stream") == "brum" else "")


def change(content: Answer) -> str:
    """A change of a run, with its lines below."""
    words = [_time(content), *_instance_of(content), str(content.get("process_id", "")), str(content.get("kind", ""))]
    if "by" in content:
        words[-1] += who(content) if content.get("stop_asked_by") != "restart" else f", restarted{who(content)}"
    if "title" in content:
        words.append(content["title"])
    if "where" in content:
        words.append(f"({content['where']})")
    if content.get("count", 1) > 1:
        words.append(f"x{content['count']}")
    words += content.get("urls", [])
    head = " ".join(words) + _facts(
        content, ("pid", "exit_code", "signal", "reason", "stop_asked_by", "next_restart_s", "first_error")
    )
    return "\n".join([head, *(f"    {text}" for text in (*content.get("lines", ()), *content.get("last_lines", ())))])


def who(content: Answer) -> str:
    """Who asked for a change: `` by claude-code 2.1.3``, or `` from the view``; empty if nobody did."""
    by = content.get("by")
    return "" if not by else f" from the {by}" if by in _OURS else f" by {by}"


_OURS: Final = ("command line", "view", "page")
"""What people use; see `brummer.contract.tools.AskedBy`."""


def _instance_of(content: Answer) -> list[str]:
    """In answers about all instances."""
    return [content["instance"]] if "instance" in content else []


def _lines(answer: Answer) -> Iterator[str]:
    """What is the same as in the line before is left out: ``| …`` is of the same second and process, ``:12 | …`` of the
    same minute and process.
    """
    hits, before, before_of = set(answer.get("hits", ())), "", ""
    for content in lines_of(answer):
        mark = "" if "hits" not in answer else "> " if content["n"] in hits else "  "
        time, origin, text = _time(content), _origin_of(content), content.get("text", "")
        if origin != before_of or time[:5] != before[:5]:
            yield f"{mark}{time} {origin} | {text}"
        else:
            yield f"{mark}| {text}" if time == before else f"{mark}{time[5:]} | {text}"
        before, before_of = time, origin
    if not answer["lines"]:
        yield "no lines"
    yield _position(answer, "lines")


def _reset(answer: Answer) -> str:
    """``run_since`` is missing in answers of an earlier version, and in those of all instances."""
    if isinstance(whose := answer["cursor_reset"], list):
        return f"cursor_reset: the cursor was of an earlier run of {', '.join(whose)}"
    since = f", that of {_plain(answer['run_since'])}" if answer.get("run_since") else ""
    return f"cursor_reset: the cursor was of another run of the instance than this one{since}"


def _changes(answer: Answer) -> Iterator[str]:
    yield from map(change, answer["changes"]) if answer["changes"] else ["nothing has happened"]
    yield _position(answer, "changes")
    yield from _incomplete(answer)


def _position(answer: Answer, what: str) -> str:
    """The cursor of the answer, and what the answer leaves out."""
    entries = answer[what]
    says = [f"cursor: {answer['cursor']}"]
    if "before" in answer:
        says.append(f"there are earlier {what}: before={answer['before']}")
    elif answer.get("more"):
        says.append(f"there are newer {what}: go on with it")
    if answer.get("dropped"):
        of = ", ".join(f"{name} {count}" for name, count in answer.get("dropped_of", {}).items())
        says.append(f"dropped: {answer['dropped']}" + (f" ({of})" if of else ""))
    if answer.get("omitted"):
        says.append(
            f"omitted: {answer['omitted']} older {what}" if not answer.get("from") else f"omitted: {answer['omitted']}"
        )
    if answer.get("without_context"):
        says.append(f"without_context: {answer['without_context']}")
    if answer.get("cursor_reset"):
        says.append(_reset(answer))
    if entries:
        days = sorted({str(each.get("at", ""))[:10] for each in (entries[0], entries[-1])})
        says.append(f"times are UTC, {' to '.join(days)}")
    return f"[{'; '.join(says)}]"


# Processes.


_IN_ITS_HEAD: Final = frozenset(
    {
        *("process_id", "name", "status", "urls", "pid", "exit_code", "signal", "started_at", "ready_at", "ended_at"),
        *("cpu_s", "memory_max_mib", "instance", "last_lines"),
    }
)
"""Members of a process that its first line shows, and members that come last."""


def process(content: Answer) -> str:
    """One run: state, pid, URLs, and the reason of its state."""
    process_id, name, urls = content["process_id"], content["name"], content.get("urls")
    head = (
        f"{process_id} {content['status']}"
        if process_id.startswith(name)
        else f"{name} {process_id} {content['status']}"
    )
    if urls:
        head += f" {' '.join(urls)}"
    facts = ("pid", "exit_code", "signal", "started_at", "ready_at", "ended_at", "cpu_s", "memory_max_mib")
    head += _facts(content, facts)
    head = " ".join([*_instance_of(content), head])
    if content.keys() <= _IN_ITS_HEAD:
        return head
    below = [head]
    for member, value in content.items():
        if member == "errors":
            below.append(f"    errors: {_errors(value)}")
        elif member not in _IN_ITS_HEAD and value is not None:
            below.append(f"    {member}: {_plain(value)}")
    return "\n".join(below)


def _errors(content: Answer) -> str:
    """``last`` and ``since_start`` are missing in what an earlier version has written."""
    where = {name: f" ({content[name]})" if content.get(name) else "" for name in ("where", "last_where")}
    says = f"{content['count']}, the first: {content['first']}{where['where']}"
    if "last" in content:
        says += f"; at {content['last_at'][11:19]} the last: "
        says += "the same" if content["count"] == 1 else f"{content['last']}{where['last_where']}"
        says += f"; since the last start: {content['since_start']}"
    return says


def _cursor(answer: Answer) -> list[str]:
    """The place in output and changes at which the answer was made."""
    if "cursor" not in answer:
        return []
    reset = "; cursor_reset: the cursor was of an earlier run of the instance" if answer.get("cursor_reset") else ""
    return [f"[cursor: {answer['cursor']}{reset}]"]


def _run(answer: Answer) -> Iterator[str]:
    yield process({name: value for name, value in answer.items() if name != "cursor"})
    if last := answer.get("last_lines"):
        yield "last lines:"
        yield from (f"    {text}" for text in last)
    yield from _cursor(answer)


def _usages(answer: Answer) -> Iterator[str]:
    """The samples one by one would be a list of numbers: the text has what a reader would look for in them."""
    for script in answer["scripts"]:
        yield f"{script['process_id']}: {usage(script)}"
        if script["samples"]:
            yield f"    {_samples(script['samples'])}"
    if not answer["scripts"]:
        yield "no runs"
    if omitted := answer.get("omitted"):
        yield f"[{omitted} older samples did not fit: ask for one script by name]"


def _samples(samples: list[list[Any]]) -> str:
    says = f"{len(samples)} sample{'' if len(samples) == 1 else 's'}"
    if len(samples) > 1:
        says += f" in {span(samples[-1][0] - samples[0][0])}"
    cpus, mibs = ([sample[member] for sample in samples if sample[member] is not None] for member in (1, 2))
    ranges = [f"CPU {100 * min(cpus):.0f} to {100 * max(cpus):.0f} %"] if cpus else []
    ranges += [f"memory {min(mibs):g} to {max(mibs):g} MiB"] if mibs else []
    return f"{says}: {', '.join(ranges)}" if ranges else says


def usage(content: Answer) -> str:
    """CPU, memory and processes of a script now."""
    if not content["processes"]:
        return "no process"
    cpu = "CPU unknown" if content["cpu"] is None else f"CPU {100 * content['cpu']:.0f} % of a core"
    memory = "memory unknown" if content["memory_mib"] is None else f"{content['memory_mib']:g} MiB"
    count = content["processes"]
    return f"{cpu}, {memory}, {count} process{'' if count == 1 else 'es'}"


def _typed(answer: Answer) -> Iterator[str]:
    count = answer["written"]
    to = f"typed {count} byte{'' if count == 1 else 's'} to {answer['process_id']}"
    yield f"{to}; logs_tail or wait_for with this cursor shows what it says"
    yield from _cursor(answer)


def _wait(answer: Answer) -> Iterator[str]:
    if answer["matched"]:
        where = f" in {answer['instance']}" if "instance" in answer else ""
        yield f"matched: {answer.get('what')}{where}, after {answer.get('waited_s')} s"
    else:
        yield f"not matched in {answer.get('waited_s')} s" + (f": {answer['why']}" if "why" in answer else "")
    if found := answer.get("line"):
        yield line(found)
        yield f"[at {found.get('at')}]"
    if about := answer.get("process"):
        yield process(about)
    yield from _cursor(answer)
    yield from _incomplete(answer)


def _incomplete(answer: Answer) -> Iterator[str]:
    if incomplete := answer.get("incomplete"):
        more = answer.get("not_named", 0)
        yield f"{len(incomplete) + more} instances could not be asked or did not answer:"
        by_code: dict[str, list[Answer]] = {}
        for each in incomplete:
            by_code.setdefault(each["why"]["code"], []).append(each)
        for code, those in by_code.items():
            yield f"    {code} ({those[0]['why'].get('message', '')}): {', '.join(each['instance'] for each in those)}"
        if more:
            yield f"    and {more} more"


# Lists.


def _list(tool: str, nothing: str) -> Callable[[Answer], list[str]]:
    sections = SECTIONS[tool]

    def text(answer: Answer) -> list[str]:
        machines = map(_machine, answer.get("machines", ()))
        given = [entry(tool, section, content) for section in sections for content in answer[section]] or [nothing]
        given[:0] = machines
        if "next_cursor" in answer:
            given.append(f"[there are more: cursor={answer['next_cursor']}]")
        given += _cursor(answer)
        return [*given, *_incomplete(answer)] if "incomplete" in answer else given

    return text


def instance(content: Answer) -> str:
    """State and directory; if it is not ready, also the reason and the time of the next try; and its scripts."""
    words = [content["instance_id"], content["state"], f"since {_age(content['since_s'])}"]
    if not content["instance_id"].startswith(str(content["name"])):
        words.insert(1, f"({content['name']})")
    place = content["directory"] or content["mcp_url"]
    if "host" in content:
        place += f" on {content['host']}"
    head = " ".join([*words, place]) + _why(content)
    below = [_summary(script) for script in content.get("scripts", ())]
    if "started_by" in content:
        below.insert(0, f"started by {content['started_by']}")
    if content.get("more_scripts"):
        below.append("and more: scripts_status has all")
    if "scripts_unknown" in content:
        below.append(f"its scripts are not known: {content['scripts_unknown']}")
    return "\n    ".join([head, *below])


def _summary(script: Answer) -> str:
    head = " ".join([script["name"], script["status"], *script.get("urls", ())])
    return f"{head}: {script['error']}" if "error" in script else head


def link(content: Answer) -> str:
    """A link's state; if it fails, the reason; if it works, its measured values."""
    usual = {"breaker": "closed", "condition": "unknown", "in_flight": 0, "parked": 0, "attempts": 0}
    numbers = ("condition", "attempts", "breaker", "quality", "in_flight", "parked")
    unusual = {name: content.get(name) for name in numbers if content.get(name) != usual.get(name)}
    head = f"{content['instance_id']} {content['state']} since {_age(content['since_s'])}"
    return head + _facts(unusual, numbers) + _why(content)


def _why(content: Answer) -> str:
    if content["state"] == "ready":
        return ""
    error = content.get("last_error")
    says = [str(content.get("reason"))]
    if error:
        says.append(f"last error {error['code']}: {error['message']}")
    if content.get("next_retry_s") is not None:
        says.append(f"next try in {content['next_retry_s']:g} s")
    return f": {'; '.join(says)}"


def _script(content: Answer) -> str:
    more = [f"{name}: {_plain(content[name])}" for name in ("autostart", "ready") if name in content]
    return f"{content['name']}: {content['command']} ({', '.join([content['source'], content['directory'], *more])})"


def _file_problem(content: Answer) -> str:
    place = content["source"] if content.get("line") is None else f"{content['source']}:{content['line']}"
    return f"problem: {place}: {content['message']}"


def _problem(content: Answer) -> str:
    affected = content.get("instance") or ", ".join(content.get("instances", ()))
    known = {"code", "severity", "title", "detail", "since_s", "doing", "advice", "hides", "instance", "instances"}
    more = _facts(content, tuple(name for name in content if name not in known))
    age = "" if content.get("since_s") is None else f", since {_age(content['since_s'])}"
    hides = f"; hides {content['hides']} consequences" if content.get("hides") else ""
    head = f"{content['severity']} {content['code']} {affected}".rstrip()
    return (
        f"{head}: {content['title']}{age}: {content['detail']}{more}{hides}"
        f"\n    being done: {content['doing']}\n    advice: {content['advice']}"
    )


def _event(content: Answer) -> str:
    says = [*content["reasons"], *([content["did"]] if content.get("did") else [])]
    return f"{_time(content)} {content['kind']} ({_age(content['ago_s'])} ago): {'; '.join(says)}"


def _hub(answer: Answer) -> Iterator[str]:
    hub, limits = answer["hub"], answer["limits"]
    yield f"hub {hub['version']}, pid {hub['pid']}, in {hub['directory']}, up {_age(hub['uptime_s'])}"
    yield from _list("hub_status", "no instances and no problems")(answer)
    yield "in use: " + ", ".join(
        f"{name} {value:g} of {limits[name]:g}" for name, value in limits["in_use"].items() if name in limits
    )


def _machine(content: Answer) -> str:
    state = f"{content['host']} (over {content['carrier']}): {content['state']} for {_age(content['since_s'])}"
    detail = f": {content['detail']}" if content["detail"] else ""
    return f"{state}, instances {content['instances']}{_facts(content, ('rtt_ms',))}{detail}"


def _view(answer: Answer) -> Iterator[str]:
    if answer["url"] is None:
        yield f"there is no address of the view: {answer['why']}"
    else:
        yield f"the view, for the user: {answer['url']} (opens once, within ten minutes, in a browser on this machine)"
    yield from _list("view_open", "no instance runs; start one with `brum` in a project directory")(answer)
    if answer.get("more"):
        yield "[there are more: instances_list has all]"


def _connected(answer: Answer) -> Iterator[str]:
    yield f"connected to {instance(answer['instance'])}"
    if started := answer.get("started_instance"):
        yield (
            f"[it was started in the background for this call; its environment is that {started['environment']};"
            f" it ends after {IDLE_MIN} minutes without a script or a call]"
        )
    if not answer["remembered"]:
        yield "this client may open a session for each call, which forgets the choice: pass `instance` in each call"


def _disconnected(answer: Answer) -> Iterator[str]:
    yield f"disconnected: {answer['disconnected'] or 'no instance was chosen'}"


# Words.


def _time(content: Answer) -> str:
    """The time of day; the answer gives the date once, at its end."""
    return str(content.get("at", ""))[11:19]


def _age(seconds: float) -> str:
    return span(max(0.0, seconds))


def _facts(content: Answer, names: tuple[str, ...]) -> str:
    given = [f"{name} {_plain(value)}" for name in names if (value := content.get(name)) is not None]
    return f" ({', '.join(given)})" if given else ""


def _plain(value: object) -> str:
    return value if isinstance(value, str) else encode(value).decode()


SECTIONS: Final[dict[str, dict[str, Callable[[Answer], str]]]] = {
    "instances_list": {"instances": instance},
    "scripts_list": {"problems": _file_problem, "scripts": _script},
    "scripts_status": {"processes": process},
    "hub_status": {"problems": _problem, "links": link, "timeline": _event},
    "view_open": {"problems": _problem, "instances": instance},
}
"""The lists of the tools whose lists may take several answers, in the order in which they are given."""

_TOOLS: Final[dict[str, Callable[[Answer], Iterable[str]]]] = {
    "instances_list": _list("instances_list", "no instance runs; start one with `brum` in a project directory"),
    "instances_connect": _connected,
    "instances_disconnect": _disconnected,
    "scripts_list": _list("scripts_list", "nothing that can be run was found"),
    "scripts_run": _run,
    "scripts_stop": _run,
    "scripts_restart": _run,
    "scripts_status": _list("scripts_status", "no runs"),
    "logs_tail": _lines,
    "logs_search": _lines,
    "wait_for": _wait,
    "changes_since": _changes,
    "hub_status": _hub,
    "view_open": _view,
    "scripts_input": _typed,
    "scripts_usage": _usages,
}
