"""Scripts that behave badly, through a real instance and a real hub: each has a clear outcome, and nothing lives on."""

import signal
import sys

import pytest

from brummer.host.pids import identify
from tests.integration.programs import DIES_S, WAIT_S, Brum, within

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who lives")

DOUBLE_FORK_PY = """\
# Leaves its group and its session, and its parent dies; the pipes are closed, so that nobody waits for them.
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in range(3):
        os.close(number)
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)
    os._exit(0)
os.wait()
time.sleep(300)
"""
TREES = {
    "plain": "sh -c 'sleep 300 & echo $$ > {pid}; wait'; true",
    "setsid": "setsid sh -c 'echo $$ > {pid}; exec sleep 300' & wait",
    "forked": f"exec {sys.executable} -I -S fork.py {{pid}}",
    "bare": "env -i PATH=$PATH setsid sh -c 'echo $$ > {pid}; exec sleep 300' & wait",
    "deaf": "trap '' TERM INT HUP; echo $$ > {pid}; while :; do sleep 300; done",
}


def test_kill_9_of_an_instance_with_twenty_trees_leaves_nothing(brum: Brum) -> None:
    pids = brum.home / "pids"
    pids.mkdir()
    names = [f"{kind}{number}" for kind in TREES for number in range(4)]
    procfile = [f"{name}: {TREES[name[:-1]].format(pid=pids / name)}" for name in names]
    project = brum.project("forest", {"Procfile": "\n".join(procfile) + "\n", "fork.py": DOUBLE_FORK_PY})
    instance = brum.instance(project, *names)
    assert within(WAIT_S, lambda: len(written := list(pids.iterdir())) == 20 and all(p.read_text() for p in written))
    hidden = [int(path.read_text()) for path in pids.iterdir()]
    assert all(identify(pid) for pid in hidden)
    assert len(brum.alive()) > 40
    instance.signal(signal.SIGKILL)
    instance.wait()
    assert within(DIES_S, lambda: not any(map(identify, hidden)) and not brum.alive()), brum.alive()
