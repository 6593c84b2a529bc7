"""A judge that cannot fail proves nothing: each of its rules rejects one small world, and accepts its neighbour."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from brummer.health.catalog import Observed, Problem
from brummer.settings.limits import DEFAULTS
from brummer.testing.process_table import pipe
from brummer.testing.simulated_loop import START_S, SimulatedLoop
from brummer.testing.simulation.clients import Asked, SimulatedClient
from brummer.testing.simulation.judge import FOREIGN, LATE_BEGIN_S, LATE_S, NOT_COUNTED, judge, judge_end
from brummer.testing.simulation.parts import HubRun, Ran, Stranger
from brummer.testing.simulation.schedule import Schedule
from brummer.testing.simulation.status import KINDS, look
from brummer.testing.simulation.world import World

SENT_S = START_S + 100
ANSWERED_S = SENT_S + 5
DEADLINE_S = 30.0
LATE_ANSWER_S = SENT_S + DEADLINE_S + LATE_S + 1
NUMBER = 7


def no_calls() -> dict[str, Any]:
    return {"in_flight": 0, "parked": 0}


@dataclass
class Status:
    """What the judge reads of `hub_status`."""

    problems: list[Problem] = field(default_factory=list)
    limits: dict[str, Any] = field(default_factory=lambda: {"in_use": no_calls()})
    links: list[Any] = field(default_factory=lambda: [{"instance_id": "project0", **no_calls()}])


class Case:
    """A world in which nothing runs. A client has made one call through its hub; it changed something and ended well.

    The call is number `NUMBER`, for the first instance; it is answered and counted.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        self.world = World(loop, 1)
        self.schedule = Schedule(self.world)
        self.client = self.world.clients[0]
        self.instance = self.world.instances[0]
        self.status = Status()
        self.hub = self.add_hub(self.client)
        self.asked = self.ask(NUMBER)
        self.count(self.asked)

    def add_hub(self, client: SimulatedClient) -> HubRun:
        """The next hub of this client."""
        process = self.world.machine.spawn(f"hub of {client.name}")
        run = HubRun(f"hub-{client.name}", process, DEFAULTS, self.world.surroundings, self.world.trace)
        hub: Any = SimpleNamespace(status=lambda: self.status)
        run.hub = hub
        client.hub = run
        client.runs.append(run)
        return run

    def ask(self, number: int, target: str = "") -> Asked:
        """Add a call, which ran once and has its answer."""
        target = target or self.instance.id
        asked = Asked(
            number=number,
            client=self.client.name,
            tool="scripts_run",
            inner_tool="scripts_run",
            target=target,
            mutating=True,
            deadline_s=DEADLINE_S,
            sent_s=SENT_S,
            hub=self.hub,
            generation="run1",
            progress=False,
            answered_s=ANSWERED_S,
            answer={"structuredContent": {"by": target, "number": number}},
            is_over=True,
        )
        self.client.asked.append(asked)
        self.world.work.runs[number] = [Ran(number, target, "run1", SENT_S + 1)]
        return asked

    def count(self, asked: Asked) -> None:
        """The hub counts the call."""
        self.hub.counted[asked.inner_tool, asked.target] += 1

    @property
    def runs(self) -> list[Ran]:
        """The executions of the call."""
        return self.world.work.runs[NUMBER]

    def fails(self, code: str, outcome: str, *, retryable: bool = False) -> None:
        """The call is answered with this error."""
        error = {"code": code, "outcome": outcome, "retryable": retryable, "message": "…"}
        self.asked.answer = {"structuredContent": {"error": error}}

    def accepts(self) -> bool:
        return judge(self.schedule) == []

    def rejects(self, what: str) -> bool:
        """There is one fault, and its sentence has these words."""
        found = judge(self.schedule)
        assert len(found) == 1, found
        return what in found[0]


@pytest.fixture
def case() -> Iterator[Case]:
    loop = SimulatedLoop()
    yield Case(loop)
    loop.close()


def test_a_call_that_ran_once_and_was_answered_is_right(case: Case) -> None:
    assert case.accepts()


# What the schedule and the loop report.


@pytest.mark.parametrize("report", ["not_ready", "wrong_status", "held"])
def test_what_the_schedule_found_is_a_fault(case: Case, report: str) -> None:
    getattr(case.schedule, report).append("hub-ann: link to project0")
    assert case.rejects("hub-ann: link to project0")


def test_an_exception_in_the_loop_is_a_fault_unless_it_was_injected(case: Case) -> None:
    case.world.loop.failures.append("Exception in callback tick(): Defect('network')")
    assert case.accepts()
    case.world.loop.failures.append("Exception in callback tick(): KeyError('x')")
    assert case.rejects("KeyError")


def test_a_stranger_gets_no_call(case: Case) -> None:
    stranger = Stranger("stranger on project0", case.world.trace, "talks")
    case.world.strangers.append(stranger)
    assert case.accepts()
    stranger.calls.append(b'{"method": "tools/call"}')
    assert case.rejects("stranger on project0 got a call")


# Where, and how often, a call ran.


def test_a_call_runs_in_no_other_instance(case: Case) -> None:
    case.runs[0].where = case.world.instances[1].id
    assert case.rejects(f"ran in ['{case.world.instances[1].id}']")


def test_a_call_that_changes_something_runs_once(case: Case) -> None:
    case.runs.append(Ran(NUMBER, case.instance.id, "run1", SENT_S + 2))
    assert case.rejects("ran 2 times")
    case.asked.mutating = False
    case.asked.tool = "scripts_status"
    assert case.accepts()


def test_a_call_is_answered(case: Case) -> None:
    case.asked.is_over = False
    assert case.rejects("was never answered")


@pytest.mark.parametrize("ending", ["lost", "cancelled"])
def test_a_call_whose_answer_nobody_gets_may_end_at_any_time(case: Case, ending: str) -> None:
    setattr(case.asked, ending, True)
    case.asked.answer, case.asked.answered_s = None, LATE_ANSWER_S
    assert case.accepts()


@pytest.mark.parametrize(("tool", "mutating"), [("scripts_run", True), ("scripts_stop", False)])
def test_nothing_is_changed_after_the_answer(case: Case, tool: str, mutating: bool) -> None:  # noqa: FBT001
    case.asked.tool, case.asked.mutating = tool, mutating
    case.runs[0].started_s = ANSWERED_S + LATE_BEGIN_S
    assert case.accepts()
    case.runs[0].started_s += 0.1
    assert case.rejects("began 1.1 s after it was answered")


def test_a_read_may_begin_after_its_answer(case: Case) -> None:
    case.asked.tool, case.asked.mutating = "logs_tail", False
    case.runs[0].started_s = ANSWERED_S + 10
    assert case.accepts()


# When it was answered.


def test_a_call_is_answered_within_its_deadline(case: Case) -> None:
    case.asked.answered_s = LATE_ANSWER_S - 1
    assert case.accepts()
    case.asked.answered_s = LATE_ANSWER_S
    assert case.rejects("took 35.0 s, and its deadline is 30 s")


def test_progress_extends_the_deadline_of_a_call_that_asked_for_it(case: Case) -> None:
    case.asked.answered_s = LATE_ANSWER_S
    case.runs[0].progress_s = SENT_S + 10
    assert case.rejects("took 35.0 s")
    case.asked.progress = True
    assert case.accepts()


@pytest.mark.parametrize(("who", "counts"), [("all", True), ("hub-ann", True), ("hub-bob", False)])
def test_time_in_which_its_hub_is_not_run_extends_the_deadline(case: Case, who: str, counts: bool) -> None:  # noqa: FBT001
    case.asked.answered_s = LATE_ANSWER_S
    case.world.not_run.append((who, SENT_S + 1, SENT_S + 3))
    assert case.accepts() == counts


def test_time_in_which_the_client_does_not_read_extends_the_deadline(case: Case) -> None:
    case.asked.answered_s = LATE_ANSWER_S
    case.client.not_reading.append((SENT_S - 10, SENT_S))
    assert case.rejects("took 35.0 s")
    case.client.not_reading.append((SENT_S, SENT_S + 1))
    assert case.accepts()


@pytest.mark.parametrize(("opener", "counts"), [("ann", True), ("bob", False), ("hub of ann", False)])
def test_a_stall_on_the_clients_own_way_to_its_hub_extends_the_deadline(case: Case, opener: str, counts: bool) -> None:  # noqa: FBT001
    case.asked.answered_s = LATE_ANSWER_S
    case.world.stalled.append((opener, SENT_S, SENT_S + 8))
    assert case.accepts() == counts


def test_time_in_which_the_hub_gets_errors_of_the_system_extends_the_deadline(case: Case) -> None:
    case.asked.answered_s = LATE_ANSWER_S
    fault = case.world.begin("EMFILE for sockets", case.client.name)
    fault.began_s = SENT_S + 1
    assert case.rejects("took 35.0 s")
    fault.target = case.hub.process.name
    assert case.accepts()


# What the answer says.


@pytest.mark.parametrize("content", [{"by": "project1-00000000", "number": NUMBER}, {"by": "", "number": NUMBER + 1}])
def test_a_call_gets_no_answer_of_another(case: Case, content: dict[str, Any]) -> None:
    content["by"] = content["by"] or case.instance.id
    case.asked.answer = {"structuredContent": content}
    assert case.rejects("got the answer of another")


def test_an_answered_call_ran(case: Case) -> None:
    case.runs.clear()
    assert case.rejects("was answered and never ran")


def test_a_call_does_not_end_without_an_answer(case: Case) -> None:
    case.asked.answer = None
    case.hub.counted.clear()
    assert case.rejects("ended without an answer")


def test_an_answer_has_a_known_shape(case: Case) -> None:
    case.asked.answer = {"content": []}
    assert case.rejects("an answer of no known shape")


@pytest.mark.parametrize("refusal", [{"status": 503}, {"protocol_error": {"code": -32600}}])
def test_a_refused_call_did_not_run(case: Case, refusal: dict[str, Any]) -> None:
    case.asked.answer = refusal
    assert case.rejects("was refused though it ran")
    case.runs.clear()
    assert case.accepts()


def test_a_call_that_was_not_executed_did_not_run(case: Case) -> None:
    case.fails("busy", "not_executed")
    assert case.rejects("busy says that it never ran, and it ran 1 times")
    case.runs.clear()
    assert case.accepts()


def test_no_call_ends_by_a_defect(case: Case) -> None:
    case.runs.clear()
    case.fails("internal", "not_executed")
    assert case.rejects("internal: …")


def test_an_error_has_a_known_outcome(case: Case) -> None:
    case.instance.ended.append(("run1", SENT_S + 2))  # so that nothing else is wrong
    case.fails("link_closed", "perhaps")
    assert case.rejects("an outcome of no known kind: perhaps")


def test_a_call_of_unknown_outcome_is_not_to_be_made_again(case: Case) -> None:
    case.instance.ended.append(("run1", SENT_S + 2))
    case.fails("outcome_unknown", "unknown", retryable=True)
    assert case.rejects("outcome_unknown says unknown and retryable")


# When an outcome may be unknown.

KNOWABLE = "says unknown, and its run lives, can be asked and has forgotten nothing"


def test_the_outcome_at_a_living_instance_is_known(case: Case) -> None:
    case.fails("outcome_unknown", "unknown")
    assert case.rejects(KNOWABLE)


def test_the_outcome_of_a_read_may_be_unknown(case: Case) -> None:
    case.asked.mutating, case.asked.tool = False, "scripts_status"
    case.fails("outcome_unknown", "unknown")
    assert case.accepts()


def test_the_outcome_at_a_foreign_server_may_be_unknown(case: Case) -> None:
    case.asked.target = case.runs[0].where = FOREIGN
    case.hub.counted.clear()
    case.fails("outcome_unknown", "unknown")
    assert case.accepts()


@pytest.mark.parametrize(
    ("ended_s", "accepted"), [(SENT_S + 2, True), (SENT_S - 0.5, True), (SENT_S - 2, False), (ANSWERED_S + 2, False)]
)
def test_the_outcome_is_unknown_when_the_run_ended_meanwhile(case: Case, ended_s: float, accepted: bool) -> None:  # noqa: FBT001
    case.instance.ended.append(("run1", ended_s))
    case.fails("outcome_unknown", "unknown")
    assert case.accepts() == accepted


def test_the_end_of_another_instance_explains_nothing(case: Case) -> None:
    case.world.instances[1].ended.append(("run1", SENT_S + 2))
    case.fails("outcome_unknown", "unknown")
    assert case.rejects(KNOWABLE)


@pytest.mark.parametrize(
    ("who", "began_s", "ended_s", "accepted"),
    [
        ("hub-ann", SENT_S - 12, SENT_S + 1, True),
        ("all", SENT_S - 12, SENT_S + 1, True),
        ("hub-bob", SENT_S - 12, SENT_S + 1, False),
        ("hub-ann", SENT_S - 12, SENT_S - 1, False),
        ("hub-ann", SENT_S - 8, SENT_S + 1, False),
    ],
    ids=["its hub", "everything", "another hub", "until before the call", "only since after the end"],
)
def test_a_hub_that_is_not_run_when_a_call_comes_knows_of_no_end_since(
    case: Case,
    who: str,
    began_s: float,
    ended_s: float,
    accepted: bool,  # noqa: FBT001
) -> None:
    case.world.not_run.append((who, began_s, ended_s))
    case.instance.ended.append(("run1", SENT_S - 10))
    case.fails("outcome_unknown", "unknown")
    assert case.accepts() == accepted


def test_a_call_is_forgotten_only_by_a_ledger_that_forgot_something(case: Case) -> None:
    case.fails("call_forgotten", "unknown")
    assert case.rejects(KNOWABLE)
    case.instance.forgot["run1"] += 1
    assert case.accepts()


def test_a_full_ledger_explains_no_other_unknown_outcome(case: Case) -> None:
    case.instance.forgot["run1"] += 1
    case.fails("outcome_unknown", "unknown")
    assert case.rejects(KNOWABLE)


def test_the_outcome_is_unknown_at_the_deadline(case: Case) -> None:
    case.fails("timed_out", "unknown")
    case.asked.answered_s = SENT_S + DEADLINE_S - 2
    assert case.rejects(KNOWABLE)
    case.asked.answered_s = SENT_S + DEADLINE_S - 1
    assert case.accepts()


def test_a_hub_that_was_not_run_had_less_time_to_ask(case: Case) -> None:
    case.fails("timed_out", "unknown")
    case.asked.answered_s = SENT_S + DEADLINE_S - 5
    case.world.not_run.append(("hub-ann", SENT_S + 1, SENT_S + 4))
    assert case.rejects(KNOWABLE)
    case.world.not_run.append(("hub-ann", SENT_S + 5, SENT_S + 6))
    assert case.accepts()


# What a hub knows and counts.


def test_a_hub_takes_no_living_run_for_gone(case: Case) -> None:
    case.hub.gone.append((case.instance.id, "run1", SENT_S))
    case.instance.left_s["run1"] = SENT_S
    assert case.accepts()
    case.instance.left_s["run1"] = SENT_S + 0.001
    assert case.rejects("hub-ann took run1 for gone 100.000 s after the start, and it lived")
    del case.instance.left_s["run1"]
    assert case.rejects("and it lived")


def test_no_hub_ends_by_an_exception(case: Case) -> None:
    case.hub.result = "KeyError: 1"
    assert case.rejects("hub-ann ended by KeyError: 1")


def test_a_hub_counts_each_call_once(case: Case) -> None:
    case.hub.keys["k1"] = 1
    assert case.accepts()
    case.hub.keys["k1"] = 2
    assert case.rejects("hub-ann counted 1 calls more than once")


@pytest.mark.parametrize("counted", [0, 2])
def test_a_hub_counts_as_many_calls_as_there_were(case: Case, counted: int) -> None:
    case.hub.counted["scripts_run", case.instance.id] = counted
    assert case.rejects(f"hub-ann counted {counted} of ('scripts_run', '{case.instance.id}'), and there were 1 to 1")


async def test_what_a_killed_hub_counted_is_not_judged(case: Case) -> None:
    case.hub.counted.clear()
    case.hub.process.is_dead = True
    assert case.accepts()


@pytest.mark.parametrize("ending", ["lost", "cancelled"])
def test_a_call_without_an_answer_may_be_counted(case: Case, ending: str) -> None:
    setattr(case.asked, ending, True)
    assert case.accepts()
    case.hub.counted.clear()
    assert case.accepts()


@pytest.mark.parametrize("code", sorted(NOT_COUNTED - {"internal"}))
def test_a_refusal_of_the_hub_itself_may_be_uncounted(case: Case, code: str) -> None:
    case.runs.clear()
    case.hub.counted.clear()
    case.fails(code, "not_executed")
    assert case.accepts()
    case.fails("link_closed", "not_executed")
    assert case.rejects("counted 0 of")


def test_a_call_of_the_hub_before_may_reach_the_next_one(case: Case) -> None:
    before = case.hub
    case.hub = case.add_hub(case.client)
    case.hub.started_s = ANSWERED_S - 1
    before.process.is_dead = True
    case.count(case.asked)
    assert case.accepts()
    case.hub.started_s = ANSWERED_S + 1
    assert case.rejects("counted 1 of")


# What is left over.


@pytest.mark.parametrize("what", ["in_flight", "parked"])
def test_the_status_shows_no_call_when_there_is_none(case: Case, what: str) -> None:
    case.status.limits["in_use"][what] = 1
    assert case.rejects(f"hub-ann: 1 {what} with no call")


@pytest.mark.parametrize("what", ["in_flight", "parked"])
def test_the_status_of_a_link_shows_no_call_when_there_is_none(case: Case, what: str) -> None:
    case.status.links[0][what] = 1
    assert case.rejects(f"hub-ann: link to project0 has 1 {what} with no call")


def test_a_hub_has_no_problem_in_peace(case: Case) -> None:
    case.status.problems.append(Problem.of(Observed("breaker_open", "", None)))
    assert case.rejects("hub-ann tells of ['breaker_open'] in peace")


def test_a_hub_polls_where_the_directory_has_no_events(case: Case) -> None:
    case.status.problems.append(Problem.of(Observed("polling", "", None)))
    case.world.machine.disk.has_events = True
    assert case.rejects("hub-ann tells of ['polling'] in peace")
    case.world.machine.disk.has_events = False
    assert case.accepts()


async def test_all_programs_end_and_leave_nothing(case: Case) -> None:
    case.hub.is_over = True
    assert await judge_end(case.world) == []


async def test_a_hub_ends(case: Case) -> None:
    assert await judge_end(case.world) == ["hub-ann has not ended"]


async def test_an_ended_hub_holds_no_descriptor(case: Case) -> None:
    case.hub.is_over = True
    pipe(case.hub.process, case.client.process)
    [found] = await judge_end(case.world)
    assert found.startswith("hub-ann left descriptor")


async def test_an_instance_ends_and_leaves_nothing(case: Case) -> None:
    case.hub.is_over = True
    case.instance.left.append("run1 left task keep published")
    case.instance.process = case.world.machine.spawn(case.instance.id)
    assert await judge_end(case.world) == ["run1 left task keep published", f"{case.instance.id} has not ended"]


# The problems that a hub reports while the schedule is played.


@pytest.mark.parametrize(("target", "counts"), [("hub-ann", True), ("hub-bob", False), ("", False)])
def test_a_hub_that_met_a_defect_sees_the_end_of_a_fault_later(case: Case, target: str, counts: bool) -> None:  # noqa: FBT001
    world, lasts_s = case.world, KINDS["offline"][1]
    case.status.problems = [Problem.of(Observed("offline", "…"))]
    offline = world.begin("offline", "")
    offline.ended_s = world.loop.time() - lasts_s - 1
    assert look(world, case.hub) is not None
    defect = world.begin("a defect", target)
    defect.began_s, defect.ended_s = offline.ended_s, world.loop.time() - 1
    assert (look(world, case.hub) is None) == counts
