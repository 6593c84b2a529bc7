"""What runs inside the guest: every scenario that is named, each with a call under way on both instances.

Before, meanwhile and afterwards everything goes through one connection to one hub, as an agent's would.
"""

import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.suspend.guest.host import Host
from tests.suspend.guest.means import MEANS, Away, boottime_s
from tests.suspend.guest.programs import ANSWER_S, LOGS, Call, Hub, Project, is_ready, running, wait_for
from tests.suspend.measured import Measured, Noticed

POLL_S: Final = 0.05
PROBE_S: Final = 0.3
"""Longer than a probe and its connection last, even here."""

LATE_S: Final = 10.0
"""How late a link is still measured; much less is what it may take."""

NOTICED_S: Final = 7.0
"""A heartbeat comes every five seconds, and is the last to notice anything, rightly or not."""

SLOW_S: Final = 60
"""What a call may take; its five seconds and the time away."""

LOG_BYTES: Final = 4000


class Scenario:
    """One of them, from before to after."""

    def __init__(self, name: str, hub: Hub, projects: list[Project]) -> None:
        self._name = name
        self._hub = hub
        self._projects = projects
        self._tripped: set[str] = set()
        self._ports: dict[str, set[int]] = defaultdict(set)
        self._notes: list[str] = []

    def run(self, host: Host) -> Measured:
        wait_for(self._all_ready, "the links are ready before", LATE_S)
        ran = [project.ran() for project in self._projects]
        calls = [self._begin(project) for project in self._projects]
        connections = self._lasting_connections()
        away = MEANS[self._name](host)
        ready_ms = self._ms_until(away, self._all_ready)
        usable_ms = self._ms_until(away, self._all_answer)
        lost = connections - self._hub.connections()
        timeline = self._watch(away, calls)
        once = [self._happened_once(*each) for each in zip(self._projects, calls, ran, strict=True)]
        return Measured(
            scenario=self._name,
            away_s=round(away.back_s - away.left_s, 1),
            timeline=timeline,
            ready_ms=ready_ms,
            usable_ms=usable_ms,
            redialled=max(len(lost), sum(len(ports) - 1 for ports in self._ports.values())),
            breakers=len(self._tripped),
            calls=len(calls),
            once=sum(once),
            notes=self._notes,
        )

    def _look(self) -> dict[str, Any]:
        """The hub's status; what must stay as it is, is kept."""
        status = self._hub.status()
        for link in status["links"]:
            if link["breaker"] != "closed":
                self._tripped.add(link["instance_id"])
            if link["local_port"] is not None:
                self._ports[link["instance_id"]].add(link["local_port"])
        return status

    def _all_ready(self) -> bool:
        return is_ready(self._look(), len(self._projects))

    def _all_answer(self) -> bool:
        asked = [self._hub.call("scripts_status", instance=str(project.directory)) for project in self._projects]
        return all("processes" in call.content(LATE_S) for call in asked)

    def _begin(self, project: Project) -> Call:
        """A call that changes something, and has begun to."""
        began = project.began()
        call = self._hub.call(
            "scripts_run", instance=str(project.directory), name="slow", wait="exit", timeout_s=SLOW_S
        )
        wait_for(lambda: project.began() > began, f"{project.directory} runs its script", LATE_S)
        return call

    def _lasting_connections(self) -> set[int]:
        """Those that are there at both ends of a moment: a probe brings its own, and takes it away again."""
        connections = self._hub.connections()
        time.sleep(PROBE_S)
        return connections & self._hub.connections()

    def _ms_until(self, away: Away, condition: Callable[[], bool]) -> int | None:
        try:
            wait_for(condition, "in time", LATE_S)
        except TimeoutError:
            return None
        return round((boottime_s() - away.back_s) * 1e3)

    def _watch(self, away: Away, calls: list[Call]) -> list[Noticed] | None:
        """Until the calls are answered and nothing more is to be noticed; returns what was, if the hub tells."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            timeline = self._look().get("timeline")
            is_over = boottime_s() > away.back_s + NOTICED_S and all(call.answers for call in calls)
            if is_over or time.monotonic() > deadline:
                return timeline and [_noticed(entry, away) for entry in timeline if _is_since(entry, away)]
            time.sleep(POLL_S)

    def _happened_once(self, project: Project, call: Call, ran_before: int) -> bool:
        ran, answers = project.ran() - ran_before, call.answers
        content = answers[0].get("result", {}).get("structuredContent", {}) if answers else {}
        is_right = content.get("exit_code") == 0 and content.get("already_running") is False
        if (ran, len(answers), is_right) == (1, 1, True):
            return True
        self._notes.append(f"{project.directory}: ran {ran} times, {len(answers)} answers: {answers}")
        return False


def _is_since(entry: dict[str, Any], away: Away) -> bool:
    """The hub rounds to milliseconds."""
    return bool(entry["at_boottime_s"] >= away.left_s - 1e-3)


def _noticed(entry: dict[str, Any], away: Away) -> Noticed:
    return Noticed(entry["kind"], entry["seconds"], round((entry["at_boottime_s"] - away.back_s) * 1e3))


def late_faults(hub: Hub, projects: list[Project], scenarios: int) -> Iterator[str]:
    """What may come after a scenario has ended: a second answer, a second run, a traceback."""
    for request_id, answers in hub.answers.items():
        if request_id and len(answers) != 1:
            yield f"request {request_id} has {len(answers)} answers"
    for project in projects:
        if project.ran() != scenarios:
            yield f"{project.directory}: {scenarios} calls, and it ran {project.ran()} times"
    if "Traceback" in (said := logs()):
        yield said


def logs() -> str:
    """The last of what every program said."""
    return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-LOG_BYTES:]}" for log in LOGS.glob("*"))


def main(names: list[str]) -> None:
    host = Host()
    try:
        projects = [Project("a"), Project("b")]
        with running(projects) as hub:
            host.tell(say=f"two instances and a hub are ready, {boottime_s():.0f} s after the kernel's start")
            for name in names:
                host.tell(result=Scenario(name, hub, projects).run(host).as_json())
        host.tell(end=list(late_faults(hub, projects, len(names))))
    except Exception:  # noqa: BLE001 — whatever it is, the host is who can show it
        host.tell(failed=f"{traceback.format_exc()}\n{logs()}")


if __name__ == "__main__":
    main(sys.argv[1:])
