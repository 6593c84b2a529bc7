"""What the system says of this process, of its children, and of one that has ended."""

import os
import subprocess
import sys
import time

import pytest

from brummer.host.memory import peak_bytes
from brummer.host.pids import identify
from brummer.host.process_groups import peek_exit, reap
from brummer.host.process_usage import TICKS_A_SECOND, ProcessUsage, process_tokens, total_of, usage_of

BURNS = "import time\nwhile time.process_time() < {s}: pass\n"
MIB = 1 << 20


def own_usage() -> ProcessUsage:
    usage = usage_of(os.getpid())
    assert usage is not None
    return usage


def test_this_process_is_read_with_its_relatives_and_its_identity() -> None:
    usage, identity = own_usage(), identify(os.getpid())
    assert (usage.parent, usage.group, usage.session) == (os.getppid(), os.getpgid(0), os.getsid(0))
    assert identity is not None
    assert (usage.started, usage.is_zombie) == (identity.start_token, False)
    assert usage.resident_bytes is not None
    assert MIB < usage.resident_bytes <= peak_bytes() + 64 * MIB  # the kernel's own count is rounded by some pages
    assert os.getpid() in process_tokens()


def test_own_cpu_time_grows_with_work() -> None:
    before = own_usage().own_ticks
    began_s = time.process_time()
    while time.process_time() - began_s < 0.1:
        pass
    after = own_usage().own_ticks
    assert before is not None
    assert after is not None
    assert after - before >= 0.1 * TICKS_A_SECOND - 2


@pytest.mark.skipif(sys.platform != "linux", reason="platform: macOS does not tell it of a living process")
def test_a_child_is_a_zombie_with_its_cpu_time_until_it_is_waited_for_and_then_a_part_of_its_parent() -> None:
    before = own_usage().waited_ticks
    child = subprocess.Popen([sys.executable, "-c", BURNS.format(s=0.2)])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    zombie = usage_of(child.pid)
    assert zombie is not None
    assert zombie.own_ticks is not None
    assert (zombie.is_zombie, zombie.resident_bytes, zombie.parent) == (True, 0, os.getpid())
    assert zombie.own_ticks >= 0.2 * TICKS_A_SECOND - 2
    assert child.wait() == 0
    assert usage_of(child.pid) is None
    assert own_usage().waited_ticks - before >= 0.2 * TICKS_A_SECOND - 2


def test_a_reaped_child_says_how_it_ended_and_what_it_and_its_children_used() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURNS.format(s=0.2)!r}]); sys.exit(3)"
    child = subprocess.Popen([sys.executable, "-c", code])
    child.returncode, cpu_s, peak = reap(child.pid)
    assert child.returncode == 3
    assert cpu_s >= 0.2
    assert peak > MIB
    with pytest.raises(ChildProcessError):
        reap(child.pid)


def test_a_reaped_child_that_was_killed_has_the_status_that_was_peeked_at() -> None:
    child = subprocess.Popen(["sleep", "600"])
    child.kill()
    while (peeked := peek_exit(child.pid)) is None:
        pass
    child.returncode, cpu_s, _ = reap(child.pid)
    assert (child.returncode, peeked) == (-9, -9)
    assert 0 <= cpu_s < 10


@pytest.mark.skipif(sys.platform != "linux", reason="platform: measured on Linux")
def test_the_kernel_counts_our_own_peak_as_that_of_a_small_child() -> None:
    child = subprocess.Popen(["true"])
    child.returncode, _, peak = reap(child.pid)
    assert MIB < peak <= peak_bytes()


def usage(own_ticks: int | None, resident_bytes: int | None, waited_ticks: int = 0) -> ProcessUsage:
    return ProcessUsage(1, 2, 2, 3, False, own_ticks, waited_ticks, resident_bytes)


def test_totals_leave_out_what_is_hidden_and_are_unknown_if_everything_is() -> None:
    shown = usage(2 * TICKS_A_SECOND, 5, waited_ticks=TICKS_A_SECOND)
    hidden = usage(None, None)
    assert total_of([shown, shown]) == (6.0, 10)
    assert total_of([shown, hidden]) == (3.0, 5)
    assert total_of([hidden]) == (None, None)
    assert total_of([]) == (None, None)
