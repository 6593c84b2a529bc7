"""Constants whose meaning depends on another constant, in another place: to change one of them alone fails here.

A constant that can be computed from the other one is computed where it stands, and needs no row.
"""

from typing import Final

import msgspec
import pytest

from brummer.calls import caller, refusals
from brummer.cli import log_lines, options, patience
from brummer.cli.commands import instance as instance_command
from brummer.cli.commands import logs as logs_command
from brummer.cli.commands import wait as wait_command
from brummer.contract import texts, tools
from brummer.core import log, lost_calls, memory, supervisor
from brummer.discovery import registrar, registry, roster
from brummer.fleet import bridge, ssh_box, ssh_command
from brummer.foreign.peer import ForeignTarget
from brummer.health import catalog
from brummer.host import http_token, parent
from brummer.hub import fan_out, recovery, status_socket
from brummer.instance import idle, live_run, manager, restart_policy, usage, usage_history
from brummer.instance.detect import Script
from brummer.limit_tests import calls as limit_calls
from brummer.limit_tests import memory as limit_memory
from brummer.link import errors, failures, prober
from brummer.link.call import Call
from brummer.logs import entries
from brummer.logs.journal import files
from brummer.network import monitor, wake
from brummer.process import guard, guard_main, throttle, usage_sampler
from brummer.settings.limits import DEFAULTS
from brummer.settings.servers import Server
from brummer.testing import memory_sockets
from brummer.testing.simulation import judge, schedule, status
from brummer.wire.http import server, tcp_options
from brummer.wire.mcp import stdio, streamable_http, tool_results

HUB_ENDS_S: Final = 2.0
"""docs/promises.toml: a hub ends so soon after its client."""

PUBLISHED_AGAIN_S: Final = 5.0
"""docs/promises.toml, `brummer.discovery.registrar`: a record that was removed is back so soon."""

LOGS: Final = msgspec.json.schema(tools.TailLogs)["$defs"]["TailLogs"]["properties"]
HUB_WAITS_S: Final = stdio.FINISH_S + stdio.CLEAN_UP_S + stdio.FINISH_S / 2
"""At its end a hub waits for answers, for what it cancelled, and for its reader."""

SERVER: Final = Server("docs", "https://docs.example/mcp")
CALL: Final = Call("tools/call", {}, repeatable=False, deadline_s=1.0)
SCRIPT: Final = Script("web", "true", "Procfile", "/projects/shop")

EQUAL: Final = {
    # Lost calls.
    "the work of a lost call goes on for four pauses": (lost_calls.LOST_CALL_GRACE_S, 4 * lost_calls.RECONNECT_CAP_S),
    "the usual longest pause": (failures.cap_s(is_refused=False, is_near=False), lost_calls.RECONNECT_CAP_S),
    "a server that sets a time is waited for like an absent instance": (errors.COME_BACK_S, refusals.PARK_S),
    "a command waits for a restart as long as a hub": (wait_command.INSTANCE_RETURN_S, refusals.PARK_S),
    "parked calls have half of all slots": (DEFAULTS.parked, DEFAULTS.in_flight / 2),
    "a foreign call may last as long as any": (SERVER.max_timeout_s, CALL.max_deadline_s),
    "the handshake": (SERVER.connect_timeout_s, ForeignTarget(SERVER.name, SERVER.url, {}).patience_s),
    # Instances and their directory.
    "a record may be missing for three times what its owner needs": (roster.RECORD_RETURN_S, 3 * PUBLISHED_AGAIN_S),
    "a hub's socket is checked as often as the records": (status_socket.CHECK_EVERY_S, registry.RESCAN_S),
    "an idle instance is looked at once a minute": (idle.LOOKS, texts.IDLE_MIN),
    "a stop takes ten seconds in all": (live_run.SHUTDOWN_MARGIN_S + SCRIPT.stop_timeout_s, 10.0),
    # Time.
    "two heartbeats may pass until a suspend is seen": (wake.ECHO_S, 2 * monitor.BEAT_S),
    "pauses begin anew after twice the longest": (supervisor.STABLE_S, 2 * supervisor.TASK_CAP_S),
    "the window after a long sleep": (recovery.SETTLE_S + 250 * recovery.SETTLE_PER_S, recovery.SETTLE_MAX_S),
    # Output.
    "the output of a flood is held until it displaces all": (throttle.FLOOD_BYTES, DEFAULTS.output_bytes),
    "a reader may lag by what an instance keeps": (instance_command.WAITING_LIMIT, DEFAULTS.output_bytes),
    "a journal's full files hold what is kept": ((files.SEGMENTS - 1) * files.SEGMENT_BYTES, files.KEPT_BYTES),
    "an answer with lines": (tools.TailLogs().limit_bytes, tool_results.BUDGET_BYTES),
    "the most lines of one answer": (logs_command.LINES_MAX, LOGS["limit"]["maximum"]),
    "the largest answer": (log_lines.PAGE_BYTES, LOGS["limit_bytes"]["maximum"]),
    "a page of the journal": (entries.PAGE_BYTES, LOGS["limit_bytes"]["maximum"]),
    "a command waits as long as a tool": (options.DURATION_MAX_S, tools.LONGEST_WAIT_S),
    "scripts become ready in the same time": (patience.READY_S, tools.DEFAULT_WAIT_S),
    # Usage.
    "the samples of half an hour are kept": (usage_history.ROWS * usage.EVERY_S, 1_800.0),
    "the lease of a viewer is five samples": (usage.LEASE_S, 5 * usage.EVERY_S),
    "three samples without one before have no CPU": (usage_sampler.LONGEST_S, 3 * usage.EVERY_S),
    # HTTP.
    "a token takes an eighth of the headers": (http_token.TOKEN_FILE_BYTES, server.REQUEST_HEADERS_BYTES / 8),
    # The simulation, and the tests of limits.
    "a simulated kernel gives up": (memory_sockets.GIVES_UP_S, tcp_options.USER_TIMEOUT_MS / 1000),
    "a hub's memory is sampled": (limit_memory.SAMPLE_S, memory.SAMPLE_EVERY_S),
}

LESS: Final = {
    # Other machines.
    "a bridge is asked several times before it ends": (10 * ssh_box.ASK_EVERY_S, bridge.UNASKED_S),
    "ssh gives up a path before its bridge is given up": (
        ssh_command.ALIVE_INTERVAL_S * (ssh_command.ALIVE_COUNT + 1),
        ssh_box.UNANSWERED_S,
    ),
    "a parked call sees several attempts to reach a box": (
        2 * (ssh_command.CONNECT_TIMEOUT_S + ssh_box.WANTED_PAUSE_S),
        refusals.PARK_S,
    ),
    # Lost calls.
    "a parked call sees an attempt to connect": (lost_calls.RECONNECT_CAP_S, refusals.PARK_S),
    "a near instance is dialled more often than a far one": (failures.LOCAL_CAP_S, lost_calls.RECONNECT_CAP_S),
    "and a server that refuses less often": (lost_calls.RECONNECT_CAP_S, failures.REFUSED_CAP_S),
    "counting of failures stops over every cap": (
        failures.REFUSED_CAP_S,
        failures.RECONNECT_BASE_S * failures.MULTIPLIER**16,
    ),
    "results are kept for longer than a hub asks for them": (
        lost_calls.LOST_CALL_GRACE_S + tools.CALL_ANSWER_S + tools.DEFAULT_WAIT_S,
        DEFAULTS.ledger_age_s,
    ),
    "the black box is read before the call has to end": (tools.UNTIL_BLACK_BOX_S, tools.CALL_ANSWER_S),
    "a stop fits into the time of its call": (SCRIPT.stop_timeout_s, tools.CALL_ANSWER_S),
    "a suspect link is probed before a silent call's next look": (prober.SUSPECT_S, prober.SILENT_CALL_S),
    # Instances and their directory.
    "an owner publishes again within five seconds": (max(registrar.CHECK_S), PUBLISHED_AGAIN_S),
    "a record that is missing is a problem only after that": (PUBLISHED_AGAIN_S, catalog.REPUBLISH_S),
    "a record comes back before its instance counts as gone": (catalog.REPUBLISH_S, roster.RECORD_RETURN_S),
    "the run before may take as long as its stop": (
        live_run.SHUTDOWN_MARGIN_S + SCRIPT.stop_timeout_s,
        registrar.ENDING_S,
    ),
    "the guard has given up": (guard_main.GIVE_UP_AFTER_S, guard.CLOSE_TIMEOUT_S),
    "the guard kills before it gives up": (guard_main.KILL_AFTER_S, guard_main.GIVE_UP_AFTER_S),
    # Time.
    "a calm task has had a heartbeat": (monitor.BEAT_S, supervisor.CALM_S),
    "a hub ends in time after its input": (HUB_WAITS_S, HUB_ENDS_S),
    "a hub ends in time though its log is not read": (2 * log.END_S, HUB_ENDS_S),
    "a hub ends in time after its parent": (parent.PARENT_POLL_S, HUB_ENDS_S),
    "a slow answer begins before clients give up": (streamable_http.PATIENCE_S, 5.0),
    "a silent stream has several comments": (2 * streamable_http.KEEP_ALIVE_S, 60.0),
    # Scripts.
    "a crash loop is over before a run counts as long": (
        sum(restart_policy.RESTART_BASE_S * 2**n for n in range(restart_policy.LOOP_ENDS - 1)),
        restart_policy.SHORT_S,
    ),
    "a burst of errors delays an answer by a second": (abs(manager.BURST_SETTLES * live_run.SETTLE_S - 1.0), 0.1),
    # Usage.
    "the second sample of a viewer is no repetition of the first": (usage.FRESH_S, usage.FIRST_S),
    "the samples of half an hour fit into an answer": (34 * usage_history.ROWS, tool_results.BUDGET_BYTES),
    # Limits.
    "several large answers fit under the soft limit": (4 * DEFAULTS.reply_bytes, DEFAULTS.memory_soft_bytes),
    "names of instances leave room in an answer": (fan_out.NAMES_BYTES, tool_results.BUDGET_BYTES),
    "the calls of a test of limits fit": (limit_calls.PER_INSTANCE, server.ServerLimits().proven),
    # The simulation.
    "the simulation is quiet for longer than a lost call lives": (lost_calls.LOST_CALL_GRACE_S, schedule.QUIET_S),
    "a far link is ready after the longest pause": (lost_calls.RECONNECT_CAP_S, schedule.READY_REMOTE_S),
    "a near link is ready after the longest pause": (failures.LOCAL_CAP_S, schedule.READY_S),
    "an answer may come in the grace of its deadline": (caller.GRACE_S, judge.LATE_S),
    "a fault shows until its connection is closed": (memory_sockets.GIVES_UP_S, status.LASTS_S),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=EQUAL)
def test_constants_that_mean_the_same_are_equal(one: float, other: float) -> None:
    assert one == other


@pytest.mark.parametrize(("smaller", "larger"), LESS.values(), ids=LESS)
def test_a_constant_that_must_be_smaller_than_another_is(smaller: float, larger: float) -> None:
    assert smaller < larger


def test_a_server_that_refuses_is_dialled_some_600_times_a_day() -> None:
    """With full jitter the average pause is half of the longest."""
    assert 540 < 86_400 / (failures.REFUSED_CAP_S / 2) < 660
