"""`brum` alone on a person's terminal, with real instances: what it shows through a day, and how it leaves."""

import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.programs import PROCFILE, SERVER_PY, WAIT_S, Brum, tasks, within
from tests.integration.terminal import PROMPT, Terminal

Open = Callable[..., Terminal]

FLOOD = f"""{sys.executable} -c "while True: print('x' * 90, flush=False)" """
ASK = """\
import getpass
print("got", input("Your name? "), flush=True)
print("length", len(getpass.getpass("Password: ")), flush=True)
"""
HOSTILE = r"""\
import sys
sys.stdout.write("\x1b]52;c;ZXZpbA==\x07\x1b]0;evil\x07\x1b[?1049h\x1b[31mred\x1b[0m\x1b[2Jend of it\n")
sys.stdout.write("\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\ \x9b5m \u202egnihtemos\u202c [red]markup[/]\x00\n")
sys.stdout.write("long " + "x" * 16_000 + "\n")
sys.stdout.flush()
import time; time.sleep(300)
"""


@pytest.fixture
def terminal(brum: Brum) -> Iterator[Open]:
    """Opens a terminal in a directory; everything that was started there ends with the test."""
    opened: list[Terminal] = []
    with tempfile.TemporaryDirectory(prefix="t") as short:

        def start(place: Path, size: tuple[int, int] = (120, 24), **more: str) -> Terminal:
            found = Terminal(Path(short), {**brum.environment, **more}, size).__enter__()
            opened.append(found)
            found.type(f"cd {shlex.quote(str(place))}; stty -a > {short}/before; clear")
            assert found.lacks("stty")
            return found

        yield start
        for each in opened:
            each.__exit__()
    brum.kill_all()


def status(brum: Brum, project: Path) -> dict[str, str]:
    """The state of each script that has run."""
    done = brum.run("ps", "--json", "-d", project)
    return {each["name"]: each["status"] for each in json.loads(done.stdout)["processes"]}


def record_of(brum: Brum, name: str) -> dict[str, Any]:
    found = (json.loads(path.read_text()) for path in brum.instances.glob("*.json"))
    return next(record for record in found if record["name"] == name)


def modes(shown: Terminal, short: Path) -> bool:
    """Whether the shell has its terminal back as it was."""
    shown.type(f"stty -a > {short}/after; clear")
    before, after = short / "before", short / "after"
    return within(WAIT_S, after.exists) and within(WAIT_S, lambda: after.read_text() == before.read_text())


def is_sane(shown: Terminal) -> bool:
    return shown.is_left and modes(shown, shown.directory)


@pytest.mark.promise("leaving-stops-nothing")
def test_a_day_with_one_project(brum: Brum, terminal: Open) -> None:
    shop = brum.project("shop", {"Procfile": f"dev: {sys.executable} server.py\n", "server.py": SERVER_PY})
    shown = terminal(shop)
    shown.type("clear; brum")
    assert shown.shows("▼ shop", "● dev", "shop › dev", "ready on http://127.0.0.1", "q leave (all runs on)")
    assert status(brum, shop) == {"dev": "ready"}
    first = shown.program
    shown.press("q")
    assert shown.shows("shop: 1 script runs on; brum down ends it", PROMPT.strip())
    assert within(WAIT_S, lambda: not first.is_running())
    assert is_sane(shown)
    assert status(brum, shop) == {"dev": "ready"}

    # It runs already, and what a person has stopped stays so.
    brum.run("down", "dev", "-d", shop)
    shown.type("clear; brum")
    assert shown.shows("○ dev", "stopped")
    shown.press("s")
    assert shown.shows("● dev")
    changes = json.loads(brum.run("call", "shop", "changes_since", "{}").stdout)["changes"]
    assert [each["by"] for each in changes if each["kind"] == "started"] == ["view", "view"]

    # A restart that has just begun is not ended by leaving.
    shown.press("r", "q")
    assert shown.shows("shop: ", PROMPT.strip())
    assert is_sane(shown)
    assert within(WAIT_S, lambda: status(brum, shop) == {"dev": "ready"})
    assert json.loads(brum.run("ps", "--json", "-d", shop).stdout)["processes"][0]["process_id"] == "dev-3"

    # Ctrl-Z suspends the view only, and Q ends the project.
    shown.type("clear; brum")
    assert shown.shows("● dev")
    shown.press("C-z")
    assert shown.shows(PROMPT.strip())
    assert shown.is_left
    shown.type("clear; fg")
    assert shown.shows("● dev", "q leave")
    shown.press("Q")
    assert shown.shows("end shop and its 1 script, and leave?")
    shown.press("y")
    assert shown.shows("shop is down", PROMPT.strip())
    assert is_sane(shown)
    assert brum.run("ps", "-d", shop).status == 3


def test_where_nothing_says_what_to_start_the_list_is_shown_until_s(brum: Brum, terminal: Open) -> None:
    many = brum.project("many", tasks({"one": "echo first", "two": "sleep 300"}))
    shown = terminal(many)
    shown.type("clear; brum")
    assert shown.shows("▼ many ◌ not started", "· one", "· two", "many › one  ◌ not started (s starts it)")
    assert list(brum.instances.glob("*.json")) == []
    shown.press("j", "s")
    assert shown.shows("● two", "many › two")
    assert shown.lacks("not started")
    assert status(brum, many).keys() == {"two"}
    shown.press("k", "s")
    assert shown.shows("✓ one", "first")
    shown.press("q")
    assert shown.shows("many: 1 script runs on")

    # Outside of any project the view shows all others.
    shown.type(f"cd {brum.home} && clear && brum")
    assert shown.shows("▼ many", "● two")
    shown.press("q")
    assert shown.lacks("▼ many")
    assert is_sane(shown)


@pytest.mark.promise("leaving-stops-nothing")
@pytest.mark.parametrize("end", ["SIGTERM", "SIGHUP", "SIGINT", "crash"])
def test_however_it_ends_the_terminal_is_as_it_was(brum: Brum, terminal: Open, end: str) -> None:
    shop = brum.project("shop", {"Procfile": "dev: sleep 300\n"})
    shown = terminal(shop)
    (brum.home / "crashing.py").write_text(
        "import sys\n"
        "from brummer.views.terminal.app import TerminalView\n"
        "def fails(self): raise RuntimeError('a defect')\n"
        "TerminalView.action_keys = fails\n"
        "from brummer.__main__ import main\n"
        "sys.exit(main())\n"
    )
    shown.type(f"{sys.executable} {brum.home / 'crashing.py'}" if end == "crash" else "brum")
    assert shown.shows("● dev")
    if end == "crash":
        shown.press("?")
        assert shown.shows("a defect", PROMPT.strip())
    else:
        shown.program.send_signal(signal.Signals[end])
        assert shown.shows("shop: 1 script runs on", PROMPT.strip())
    assert is_sane(shown)
    assert status(brum, shop) == {"dev": "running"}


@pytest.mark.promise("no-instance-freezes-the-view")
def test_an_instance_is_killed_comes_back_and_is_stopped_while_another_goes_on(brum: Brum, terminal: Open) -> None:
    ticks = f"{sys.executable} -uc 'import time\nfor n in range(9999): print(\"tick\", n); time.sleep(0.2)'"
    shop = brum.project("shop", tasks({"dev": ticks}))
    api = brum.project("api", tasks({"dev": ticks}))
    brum.run("up", "dev", "-d", api)
    brum.run("up", "dev", "-d", shop)
    shown = terminal(shop)
    shown.type("clear; brum")
    assert shown.shows("▼ shop", "▼ api", "shop › dev", "tick 1")
    os.kill(record_of(brum, "shop")["pid"], signal.SIGKILL)
    assert shown.shows("▼ shop ◌ gone", "◌ gone since", "waiting", "✖ dev", "tick 1", "✖ link_gone: shop")
    shown.press("j", "j")
    assert shown.shows("api › dev", "following", "tick")
    shown.press("k", "k")
    brum.run("up", "dev", "-d", shop)
    assert shown.shows("── the instance was started anew ──", "● dev", "✓ healthy")
    assert shown.lacks("◌")

    pid = record_of(brum, "shop")["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert shown.shows("▼ shop ◌ suspect", "link_stopped")
        shown.press("s")
        assert shown.shows("stop dev …")
        shown.press("j", "j")
        assert shown.shows("api › dev", "following")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert shown.lacks("suspect")
    assert shown.shows("✓ healthy", "○ dev")
    shown.press("q")
    assert shown.shows(PROMPT.strip())
    assert is_sane(shown)


def test_a_flood_and_other_sizes_leave_the_view_quick(brum: Brum, terminal: Open) -> None:
    noisy = brum.project("noisy", tasks({"flood": FLOOD, "calm": "echo calm; sleep 300"}))
    brum.run("up", "calm", "flood", "--no-wait", "-d", noisy)
    shown = terminal(noisy)
    shown.type("clear; brum")
    assert shown.shows("● flood", "● calm")
    shown.press("k", "k", "j")
    assert shown.shows("noisy › ")
    for size in ((60, 16), (140, 40), (50, 12), (39, 9), (120, 24)):
        shown.resize(*size)
    assert shown.shows("● flood", "xxxxxxxx", "q leave (all runs on)")
    shown.press("j")
    assert shown.shows("noisy › calm")
    assert shown.lacks("xxxxxxxx")
    shown.press("k")
    assert shown.shows("noisy › flood", "xxxxxxxx")
    shown.press("PageUp")
    assert shown.shows("held")
    shown.press("f")
    assert shown.shows("following")
    shown.press("q")
    assert shown.shows("noisy: 2 scripts run on")
    assert is_sane(shown)


@pytest.mark.promise("lines-are-only-text")
def test_no_escape_of_a_script_gets_out(brum: Brum, terminal: Open) -> None:
    evil = brum.project("evil", {**tasks({"[red]evil": f"{sys.executable} h.py"}), "h.py": HOSTILE})
    brum.run("up", "[red]evil", "-d", evil)
    shown = terminal(evil)
    title = shown.value("pane_title")
    shown.type("clear; brum")
    assert shown.shows("● [red]evil", "evil › [red]evil", "end of it", "[red]markup[/]", "long xxxx")
    assert "\u202e" not in shown.screen()
    assert shown.value("pane_title") == title
    assert shown.buffer == ""
    shown.press("w")
    assert shown.shows("xxxx\n")
    shown.press("w", "Tab", "g", "y")
    assert shown.shows("copied")
    assert within(WAIT_S, lambda: "red" in shown.buffer)
    assert "\x1b" not in shown.buffer
    shown.press("q")
    assert shown.shows("evil: 1 script runs on")
    assert is_sane(shown)


def test_a_script_is_typed_to_and_a_pager_opened(brum: Brum, terminal: Open) -> None:
    asks = brum.project(
        "asks",
        {
            ".brum.toml": f'[scripts.ask]\ncommand = "{sys.executable} ask.py"\nterminal = true\nautostart = true\n',
            "ask.py": ASK,
        },
    )
    temporary = brum.home / "temporary"
    temporary.mkdir()
    shown = terminal(asks, PAGER="tail -n 3", TMPDIR=str(temporary))
    shown.type("clear; brum")
    assert shown.shows("● ask", "Your name?")
    shown.press("i")
    assert shown.shows("ask <")
    shown.type("Ann")
    assert shown.shows("got Ann", "Password:")
    shown.press("i")
    assert shown.shows("ask <")
    shown.type("secret")
    assert shown.shows("length 6", "✓ ask")
    assert "secret" not in shown.screen()
    shown.press("E")
    assert shown.shows("q leave (all runs on)", "length 6")
    shown.press("q")
    assert shown.shows("asks runs on")
    assert is_sane(shown)
    assert list(temporary.iterdir()) == []


@pytest.mark.promise("a-view-is-never-forced")
@pytest.mark.parametrize(
    "command",
    ["brum | cat", "brum 2>&1 >/dev/null", "brum --no-tui", "CI=true brum", "TERM=dumb brum", "BRUMMER_TUI=false brum"],
)
def test_people_who_do_not_want_it_get_lines_as_before(brum: Brum, terminal: Open, command: str) -> None:
    shop = brum.project("shop", {"Procfile": PROCFILE, "server.py": SERVER_PY})
    shown = terminal(shop)
    shown.type(f"clear; {command}")
    assert shown.shows(") is running", "Ctrl-C stops everything")
    assert shown.value("alternate_on") == ["0"]
    shown.press("C-c")
    assert shown.shows("stopping")
    assert brum.gone() or not [each for each in brum.alive() if is_instance(each)]


def is_instance(process: psutil.Process) -> bool:
    return "brummer" in " ".join(process.cmdline()) or process.name() == "brum"
