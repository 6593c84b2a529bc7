"""All problems as one literal table, and the rule by which causes hide their consequences. Pure.

A problem with a present cause is not shown, but counted in its cause: one cause is one line. So people and agents first
read what has to be mended, and after that there is mostly nothing left.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec
from msgspec import UNSET, UnsetType

from brummer.discovery.registry import RESCAN_WITHOUT_HINTS_S
from brummer.host.directories import DirectoryRefusal

Severity = Literal["error", "warning", "info"]

RESTART_S: Final = 2.0
"""A restart takes no longer. Until then the end of an instance may be one, and is not shown."""
REPUBLISH_S: Final = 6.0
"""An owner publishes a record that is missing within five seconds."""


class Kind(msgspec.Struct, frozen=True):
    """``doing``: what is being done about it; ``advice``: what a person, or an agent, can do.

    ``depends_on``: codes that hide this problem while they concern the same instances, or all.
    ``time_to_visible_s``: the age from which it is shown.
    """

    title: str
    severity: Severity
    doing: str
    advice: str
    depends_on: tuple[str, ...] = ()
    time_to_visible_s: float = 0.0


DIRECTORY: Final = tuple(f"directory_{reason}" for reason in get_args(DirectoryRefusal))
_ALL_CUT: Final = ("settling", "loopback_down", "open_files_full", "offline", "machine_unreachable", "cut_off")
_LINK: Final = (
    "link_gone", "remote_gone", "link_stopped", "link_frozen", "other_network_namespace", "link_impostor",
    "link_incompatible", "server_down", "server_refuses", "server_busy", "remote_unreachable", "link_cut",
    "link_suspect", "link_retrying",
)  # fmt: skip

_WATCHED: Final = "the file is ignored, and read again when it changes"
_FILE_ADVICE: Final = "remove the file if it is not needed"
_GOES_ON: Final = "everything else works"

# A table, so rows are not broken up: title, severity, doing, advice, depends_on, time_to_visible_s.
# fmt: off
KINDS: Final[dict[str, Kind]] = {
    # Of a hub that gives no answer, as `brum status` finds it.
    "hub_stopped": Kind("the hub is stopped", "error", "nothing: it can't do anything",
        "kill -CONT its pid, or restart the agent"),
    "hub_frozen": Kind("the hub is frozen by its control group", "error", "nothing: it can't do anything",
        "thaw it: docker unpause, systemctl thaw, or 0 into cgroup.freeze"),
    "hub_silent": Kind("the hub does not answer", "error", "its state is not known",
        "ask again; if it still does not answer, restart the agent"),
    "not_understood": Kind("the hub's answer is not understood", "error", "nothing",
        "use one version: restart the agent that started it"),
    # Of this machine.
    "settling": Kind("the machine woke, or the hub was not run", "warning",
        "the directory is scanned and every link is probed", "wait: it takes seconds"),
    "loopback_down": Kind("the loopback interface is down", "error", "links are probed when it is up",
        "ip link set lo up"),
    "offline": Kind("this machine is offline", "warning", "remote servers are probed when it is online again",
        "connect this machine to its network"),
    "cut_off": Kind("no instance answers any more", "error", "all are dialled repeatedly",
        "look for the cause here: a firewall or VPN client that blocks the loopback",
        ("settling", "loopback_down", "open_files_full")),
    **{code: Kind("the instances directory can't be used", "error",
        "it is scanned repeatedly; known instances stay connected", "see the detail, and brum doctor",
        ("open_files_full",)) for code in DIRECTORY},
    "open_files_full": Kind("the hub has as many files and sockets open as it is allowed", "error",
        "calls wait until some are closed",
        "raise open_files and the system's limit (ulimit -n), or lower max_connections"),
    "task_failed": Kind("a long task of the hub, or of the instance, has failed", "warning",
        "it is started again, after a pause that grows with each failure",
        "see the detail and the log; if the problem stays, restart the agent, or the instance",
        ("open_files_full", *DIRECTORY)),
    "memory_full": Kind("the hub uses as much memory as memory_hard allows", "error",
        "new calls are refused (busy) until memory is free",
        "make fewer or smaller calls at once, or raise memory_hard"),
    "memory_high": Kind("the hub uses more memory than memory_soft", "warning", "caches are dropped",
        "make fewer or smaller calls at once, or raise memory_soft"),
    # Of another machine.
    "machine_unreachable": Kind("another machine can't be reached", "error",
        "connects again and again; calls to its instances wait for it",
        "look at that machine and the way to it (ssh HOST); local instances are not affected",
        ("settling", "offline"), RESTART_S),
    "machine_failed": Kind("another machine could not be reached so far", "error", "connects again and again",
        "see the detail; `ssh HOST brum --version` must work without a question", ("settling", "offline")),
    # Of one link.
    "link_gone": Kind("the instance has ended", "error", "waits for it to start again; its black box answers",
        "start it: brum up in its directory", time_to_visible_s=RESTART_S),
    "remote_gone": Kind("the instance has ended on its machine", "error", "waits for it to start again",
        "start it there: brum up in its directory", time_to_visible_s=RESTART_S),
    "link_stopped": Kind("the instance's process is stopped", "error", "probed until it answers; calls wait for it",
        "continue its process (kill -CONT), or brum down --kill and brum up"),
    "link_frozen": Kind("the instance's process is frozen by its control group", "error",
        "probed until it answers; calls wait for it",
        "thaw it: docker unpause, systemctl thaw, or 0 into cgroup.freeze"),
    "other_network_namespace": Kind("the instance runs in another network namespace, whose loopback is not the hub's",
        "error", "dialled now and then; calls wait for it",
        "run the agent in that namespace, too (ip netns exec, docker exec), or the instance in the agent's"),
    "link_impostor": Kind("another process answers on the instance's port", "error",
        "its identity is probed repeatedly; it gets no call and no token",
        "end the stranger, or brum down and brum up", ("machine_unreachable",)),
    "link_incompatible": Kind("the instance speaks another protocol", "error", "waits for another run of it",
        "restart it with this brum"),
    "server_down": Kind("the server can't be reached", "error", "dialled again and again",
        "start it, or correct its URL in [servers]", _ALL_CUT, RESTART_S),
    "server_refuses": Kind("the server refuses to serve this hub", "error",
        "dialled again when a call needs it, and every few minutes",
        "see the detail; correct url or headers in [servers]"),
    "server_busy": Kind("the server does not serve now", "warning",
        "dialled again at the time that it has set, or after a pause", "send it fewer calls, or wait",
        time_to_visible_s=RESTART_S),
    "remote_unreachable": Kind("the instance on another machine can't be reached", "error",
        "dialled again and again; calls wait for it",
        "see whether its machine can be reached; nothing says that the instance has ended", _ALL_CUT, RESTART_S),
    "link_cut": Kind("the instance lives, and no connection to it can be made", "error", "dialled again and again",
        "look for a firewall rule on its port", _ALL_CUT),
    "link_suspect": Kind("the instance does not answer", "error", "probed until it answers; calls wait for it",
        "see its terminal; brum down --kill and brum up", _ALL_CUT),
    "link_retrying": Kind("the instance can't be reached", "error", "dialled again and again; calls wait for it",
        "brum ls; brum down --kill and brum up", _ALL_CUT, RESTART_S),
    # What calls meet.
    "busy": Kind("calls to the instance queue up", "warning", "one more is refused (busy)",
        "end calls that do not end by themselves", ("cut_off", *_LINK)),
    "parked_full": Kind("too many calls wait for instances that are not ready", "warning", "one more is refused (busy)",
        "start these instances", ("cut_off", *_LINK)),
    "connections_full": Kind("more calls are under way than connections allow", "warning",
        "they wait in turn; one more is refused (busy)",
        "raise max_connections, or end calls that do not end by themselves", ("open_files_full",)),
    "breaker_open": Kind("calls to the instance failed in a row", "warning",
        "calls are refused at once, and one is tried now and then", "see the last error of its link",
        ("cut_off", *_LINK)),
    # Of files in the directory.
    "guard_missing": Kind("the instance has no guard", "warning",
        "another is started, after a pause that grows with each failure",
        "see the detail; until there is one, the scripts keep running if the instance is killed", _LINK),
    "journal_failed": Kind("the instance's black box can't be written", "warning",
        "tried again every second; what is printed meanwhile is lost if the instance dies",
        "see the detail: free space on the disk, or make the directory writable", _LINK),
    "record_missing": Kind("the instance's record is not there", "warning", "it publishes it again within five seconds",
        "find the program that removes files in the directory", (*DIRECTORY, *_LINK), REPUBLISH_S),
    "newer_version": Kind("a record of a later brummer", "warning", _WATCHED,
        "use one version: restart the agent with the newer one"),
    "malformed": Kind("a file that is not a record", "warning", _WATCHED, _FILE_ADVICE),
    "too_large": Kind("a file too large for a record", "warning", _WATCHED, _FILE_ADVICE),
    "unreadable": Kind("a record that can't be read", "warning", _WATCHED, "make it readable, or remove it"),
    "symlink": Kind("a link where a record should be", "warning", _WATCHED, _FILE_ADVICE),
    "not_regular": Kind("a directory, pipe or device where a record should be", "warning", _WATCHED, _FILE_ADVICE),
    "foreign_owner": Kind("a file of another user", "warning", _WATCHED, "remove it"),
    "other_machine": Kind("a record of another machine", "warning", "not connected to: its loopback is not ours",
        "give each machine a BRUMMER_INSTANCES_DIR of its own"),
    "stale": Kind("a record that its dead owner left", "warning", "the hub tries repeatedly to remove it",
        "make the directory writable", DIRECTORY),
    # Of how it was started.
    "settings_invalid": Kind("a setting can't be understood", "warning", "ignored; the rest is used",
        "brum --settings names the line"),
    "setting_ignored": Kind("a project's settings file has a setting that only you may set", "warning",
        "ignored; the rest is used", "put it into .brum.toml in your home directory, or set its variable"),
    "working_directory_gone": Kind("the hub's working directory was removed", "warning",
        "calls without `instance` go to the only instance there is",
        "pass `instance`, or restart the agent in its project"),
    "metrics_not_served": Kind("metrics can't be served", "warning", _GOES_ON, "choose another port with --metrics"),
    "traces_unavailable": Kind("calls are not traced", "warning", _GOES_ON, "pip install 'brummer[otel]'"),
    "logind_unavailable": Kind("a sleep is not announced", "warning", "it is noticed afterwards",
        "logind = false, or see the detail"),
    "status_socket_failed": Kind("brum status can't see this hub", "warning",
        "the hub tries repeatedly to open its socket", "see the detail, and brum doctor",
        ("open_files_full", *DIRECTORY)),
    "other_time_namespace": Kind("the instance runs in another time namespace", "info",
        "its process can't be looked up; its record stays until its lock is free",
        "run hub and instance in one time namespace, so that the hub notices ends at once"),
    "no_hints": Kind("the system does not report changes of clocks or network", "info",
        "they are checked every 5 s, and the hints are tried again",
        "none is needed in a sandbox; else see the detail"),
    "polling": Kind("the file system reports no changes of the directory", "info",
        f"it is scanned every {RESCAN_WITHOUT_HINTS_S:g} s",
        "set BRUMMER_INSTANCES_DIR to a local directory"),
}
# fmt: on
"""In this order problems of one severity are shown: from the machine to the particular."""

_UNKNOWN: Final = Kind("", "error", "", "")
_SEVERITIES: Final = get_args(Severity)
_RANKS: Final = {
    code: rank
    for rank, code in enumerate(sorted(KINDS, key=lambda code: _SEVERITIES.index(KINDS[code].severity)))  # is stable
}


class Observed(msgspec.Struct, frozen=True):
    """``since_s``: how long ago it began, if that is known. ``instances``: those that it concerns; none means all.

    ``task``, ``count`` and ``path``: further facts of some problems.
    """

    code: str
    detail: str
    since_s: float | None = None
    instances: tuple[str, ...] = ()
    task: str | UnsetType = UNSET
    count: int | UnsetType = UNSET
    path: str | UnsetType = UNSET

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.code, _UNKNOWN)

    @property
    def is_visible(self) -> bool:
        return self.since_s is None or self.since_s >= self.kind.time_to_visible_s


class Problem(msgspec.Struct, frozen=True):
    """A root cause as agents and people get it. ``hides``: the number of its consequences."""

    code: str
    severity: Severity
    title: str
    instance: str | UnsetType
    instances: tuple[str, ...] | UnsetType
    task: str | UnsetType
    count: int | UnsetType
    path: str | UnsetType
    detail: str
    since_s: float | None
    doing: str
    advice: str
    hides: int

    @classmethod
    def of(cls, observed: Observed, *, hides: int = 0) -> "Problem":
        kind, names = observed.kind, observed.instances
        return cls(
            observed.code,
            kind.severity,
            kind.title or observed.code.replace("_", " "),
            names[0] if len(names) == 1 else UNSET,
            names if len(names) > 1 else UNSET,
            observed.task,
            observed.count,
            observed.path,
            observed.detail,
            None if observed.since_s is None else round(observed.since_s, 3),
            kind.doing,
            kind.advice,
            hides,
        )

    @property
    def key(self) -> str:
        """Identifies it while it lasts, and sorts the worst problems first."""
        facts = (self.instance, self.instances and list(self.instances), self.task)
        return " ".join([f"{rank_of(self.code):03}", self.code, *(str(each) for each in facts if each)])


def rank_of(code: str) -> int:
    """The worst first."""
    return _RANKS.get(code, -1)


def explain(observed: Iterable[Observed]) -> list[Problem]:
    """Root causes, the worst first, each with the number of consequences that it ``hides``."""
    present = list(observed)
    about = {(each.code, name): each for each in present for name in each.instances or ("",)}
    hidden: Counter[int] = Counter()
    roots = []
    for each in present:
        root = _root(each, about)
        if root is each:
            roots.append(each)
        else:
            hidden[id(root)] += 1
    roots.sort(key=lambda each: (rank_of(each.code), each.instances))
    return [Problem.of(each, hides=hidden[id(each)]) for each in roots if each.is_visible]


def _root(problem: Observed, about: dict[tuple[str, str], Observed]) -> Observed:
    while (cause := _cause(problem, about)) is not None:
        problem = cause
    return problem


def _cause(problem: Observed, about: dict[tuple[str, str], Observed]) -> Observed | None:
    """A cause concerns all instances, or each instance that the problem concerns."""
    for code in problem.kind.depends_on:
        if (cause := about.get((code, ""))) is not None:
            return cause
        causes = [about.get((code, name)) for name in problem.instances]
        if causes and None not in causes:
            return causes[0]
    return None
