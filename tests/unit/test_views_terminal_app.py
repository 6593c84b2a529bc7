"""The terminal view with a hub of answers: what it shows, and what each key does."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from brummer.core.errors import BrummerError
from brummer.views import source as source_module
from brummer.views.model import NOT_STARTED, Plan, RowKey, ViewModel
from brummer.views.remembered import USUAL, Remembered
from brummer.views.source import AskFailed, Source
from brummer.views.terminal.app import Left, TerminalView
from brummer.views.terminal.log_pane import LogPane
from brummer.views.terminal.view_options import ViewOptions
from tests.unit.screens import assert_screen, screen_text
from tests.unit.views_support import (
    FakeHub,
    FakeInstance,
    FakeOutside,
    facts,
    following,
    has_all,
    line,
    process,
    until,
)

SHOP = "shop-1"
DEV = RowKey(SHOP, "dev")
SCREENS = Path(__file__).with_name("screens")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(source_module, "PAUSE_S", 0.0)
    monkeypatch.setattr(source_module, "SETTLED_S", 0.0)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class RungView(TerminalView):
    """Counts its bells."""

    bells = 0

    def bell(self) -> None:
        self.bells += 1


class Opened:
    """A view that is open, with what stands behind it."""

    def __init__(self, hub: FakeHub, outside: FakeOutside, app: RungView, pilot: Pilot[Left]) -> None:
        self.hub = hub
        self.outside = outside
        self.app = app
        self.pilot = pilot

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await self.pilot.pause()
                await asyncio.sleep(0.01)

    async def shows(self, *texts: str) -> None:
        """Wait until all of these are on the screen."""
        try:
            await self.until(lambda: all(text in screen_text(self.app) for text in texts))
        except TimeoutError:
            pytest.fail(f"{texts} are not all on the screen:\n{screen_text(self.app)}")

    async def shows_no(self, text: str) -> None:
        await self.until(lambda: text not in screen_text(self.app))

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)


@contextlib.asynccontextmanager
async def opened(
    hub: FakeHub,
    outside: FakeOutside | None = None,
    size: tuple[int, int] = (120, 16),
    remembered: Remembered = USUAL,
    options: ViewOptions | None = None,
    at_first: Plan | None = None,
) -> AsyncIterator[Opened]:
    asyncio.get_running_loop().set_debug(False)  # the toolkit makes many tasks, and each would keep its stack
    outside = outside or FakeOutside()
    source = Source(hub, ViewModel(SHOP, options.glyphs if options else "unicode"), outside)
    source.start()
    app = RungView(source, remembered, options or ViewOptions(environ={}), at_first)
    try:
        async with app.run_test(size=size) as pilot:
            yield Opened(hub, outside, app, pilot)
    finally:
        source.close()
        await hub.supervisor.close()


def shop(*more: dict[str, Any], **how: Any) -> FakeInstance:
    """A project whose ``dev`` runs and has printed three lines."""
    found = FakeInstance(process("dev", urls=["http://127.0.0.1:45443/"]), *more, **how)
    found.say(
        line(1, "GET /products/579 200 in 9 ms"),
        line(2, "WARNING slow query: select * from cellar took 812 ms", level="warning"),
        line(3, "KeyError: 'bottle'", level="error"),
    )
    return found


def three_projects() -> FakeHub:
    """One healthy, one with errors, one that is gone."""
    api = FakeInstance(
        process("dev", urls=["http://127.0.0.1:43949/"], errors={"count": 2, "first": "KeyError"}),
        process("lint", "failed", exit_code=1),
        scripts=("dev", "migrate", "lint"),
    )
    own = shop(
        process("css", "starting"),
        process("test", "failed", exit_code=1, errors={"count": 1, "first": "AssertionError"}),
        scripts=("css", "dev", "test"),
    )
    worker = FakeInstance(process("work", "lost"))
    worker.black_box = True
    hub = FakeHub(shop=own, api=api, worker=worker)
    hub.listed[2] = facts("worker", "gone", since_s=3.0)
    gone = {"code": "link_gone", "severity": "error", "title": "the instance has ended", "doing": "waits for it"}
    hub.of_hub = [{**gone, "instance": "worker-1"}]
    return hub


# Opening and leaving.


async def test_it_opens_on_the_script_that_a_person_wants_to_see_and_follows_its_lines() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("● dev :45443", "shop › dev  ready  http://127.0.0.1:45443/  following", "GET /products/579")
        await view.shows("✓ healthy, 1 project, 1 script runs", "q leave (all runs on)")


@pytest.mark.promise("leaving-stops-nothing")
@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_to_leave_calls_nothing_and_one_line_says_what_runs_on(key: str) -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("● dev")
        await view.press(key)
    assert view.app.return_value == Left("shop: 1 script runs on; brum down ends it", USUAL)
    assert view.hub.calls() == []
    assert view.outside.done == []


async def test_without_any_project_it_says_so() -> None:
    async with opened(FakeHub()) as view:
        await view.shows("no project", "0 projects")
        await view.press("s", "r", "e", "e", "i", "o", "E", "q")
    assert view.app.return_value == Left("", USUAL)


@pytest.mark.parametrize("size", [(120, 16), (80, 16), (60, 16), (39, 9)])
async def test_the_screen_at_each_width(size: tuple[int, int]) -> None:
    async with opened(three_projects(), size=size) as view:
        await view.until(lambda: "link_gone" in screen_text(view.app))
        if size[0] >= 60:
            await view.shows("✖ work", "✖ test", "shop › test")
            await view.press("k")
            await view.shows("GET /products")
        assert_screen(view.app, SCREENS / f"tree_{size[0]}.txt")


async def test_with_one_pane_tab_changes_it() -> None:
    async with opened(three_projects(), size=(59, 12)) as view:
        await view.shows("✖ test")
        assert_screen(view.app, SCREENS / "one_pane_tree.txt")
        await view.press("k", "tab")
        await view.shows("GET /products")
        assert_screen(view.app, SCREENS / "one_pane_log.txt")
        await view.press("tab")
        await view.shows("✖ test")
        await view.press("enter")
        await view.shows("GET /products")


async def test_what_is_shown_in_ascii_is_ascii() -> None:
    async with opened(three_projects(), options=ViewOptions(glyphs="ascii", environ={})) as view:
        await view.shows("x test", "worker ? gone", "shop > test")
        assert screen_text(view.app).isascii()


async def test_marks_of_lines_are_ascii_too() -> None:
    own = shop()
    async with opened(FakeHub(shop=own), options=ViewOptions(glyphs="ascii", environ={})) as view:
        await view.shows("x 21:00:03 KeyError", "! 21:00:02 WARNING")
        own.say_up_to(40)
        await view.shows("line 40")
        assert screen_text(view.app).replace("▏", "").isascii(), "also without a scroll bar"


async def test_without_colours_the_background_stays_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(HeadlessDriver, "is_headless", property(lambda self: False))
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, text: written.append(text))
    async with opened(three_projects()) as view:
        await view.shows("shop › test")
        codes = {
            int(code)
            for style in re.findall(r"\x1b\[([0-9;]*)m", "".join(written))
            for code in style.split(";")
            if code
        }
        assert codes, "something was drawn"
        assert not {code for code in codes if 30 <= code <= 38 or 40 <= code <= 48 or code >= 90}


async def test_resizing_keeps_the_row() -> None:
    async with opened(FakeHub(shop=shop(process("css")))) as view:
        await view.shows("shop › dev")
        for size in ((60, 12), (39, 8), (50, 12), (140, 30)):
            await view.pilot.resize_terminal(*size)
        await view.shows("shop › dev", "GET /products")
        assert view.app.projects.chosen == DEV


async def test_the_log_says_asking_until_the_first_answer_is_there() -> None:
    own = shop()
    own.hangs = True
    async with opened(FakeHub(shop=own, api=FakeInstance(process("x")))) as view:
        await view.shows("● x")
        await view.press("j", "k")
        await view.shows("shop › all", "asking …")


# The tree.


@pytest.mark.promise("no-instance-freezes-the-view")
async def test_an_instance_that_hangs_freezes_nothing() -> None:
    own = shop()
    hub = FakeHub(shop=own, api=FakeInstance(process("x")))
    async with opened(hub) as view:
        await view.shows("● dev", "● x")
        own.hangs = True
        hub.now_is(facts(state="suspect"), facts("api"))
        await view.shows("shop ◌ suspect", "◌ suspect since", "GET /products")
        await view.press("s")
        await view.shows("stop dev …")
        await view.press("j", "j")
        await view.shows("api › x")
        await view.press("q")
    assert view.app.return_value is not None


async def test_an_instance_that_goes_and_comes_back_keeps_its_lines() -> None:
    own = shop()
    hub = FakeHub(shop=own)
    async with opened(hub) as view:
        await view.shows("KeyError")
        own.black_box, own.processes = True, [process("dev", "lost")]
        own.say(line(4, "last words"))
        hub.now_is(facts(state="gone"))
        await view.shows("shop ◌ gone", "◌ gone since 3 s, waiting", "GET /products", "last words")
        own.black_box, own.processes, own.generation, own.lines = False, [process("dev")], "h", [line(1, "hello")]
        own.lines_came.set()
        hub.now_is(facts())
        await view.shows("── the instance was started anew ──", "hello", "GET /products", "shop › dev  ready")


async def test_a_hundred_scripts_are_reached_with_the_keys() -> None:
    names = [f"script-{n:02}" for n in range(100)]
    async with opened(FakeHub(shop=FakeInstance(scripts=names))) as view:
        await view.shows("script-00")
        await view.press(*["j"] * 20)
        await view.shows("shop › script-20")
        assert "script-00" not in screen_text(view.app)
        await view.press(*["k"] * 21)
        await view.shows("script-00", "shop › all")


@pytest.mark.parametrize("name", ["[red]evil", "[/]", "a\x1b[31mb", "x\u202ey", "[link=http://x]"])
async def test_a_name_from_outside_is_drawn_as_text(name: str) -> None:
    own = FakeInstance(process(name))
    own.say(line(1, "[red]text[/] \x1b]52;c;aGk=\x07", script=name))
    async with opened(FakeHub(shop=own)) as view:
        await view.shows("[red]text[/]", name.split("\x1b", maxsplit=1)[0].split("\u202e", maxsplit=1)[0])
        text = screen_text(view.app)
        assert "\x1b" not in text
        assert "\u202e" not in text


async def test_a_project_is_folded() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("└ ● dev")
        await view.press("space")
        await view.shows("▶ shop +1")
        await view.press("space")
        await view.shows("└ ● dev")
        await view.press("left", "right")
        await view.shows("└ ● dev")


async def test_a_click_chooses_a_row_and_a_double_click_opens_it() -> None:
    async with opened(FakeHub(shop=shop(process("css")))) as view:
        await view.shows("● css")
        await view.pilot.click("#tree", offset=(3, 0))
        await view.shows("shop › all")
        await view.pilot.click("#tree", offset=(3, 2), times=2)
        await view.shows("shop › css")
        assert view.app.focused is view.app.pane.lines


async def test_the_wheel_does_not_move_the_cursor_of_the_tree() -> None:
    async with opened(FakeHub(shop=FakeInstance(process("a"), scripts=[f"s{n}" for n in range(50)]))) as view:
        await view.shows("shop › a")
        view.app.projects.scroll_down(animate=False)
        await view.pilot.pause()
        assert view.app.projects.chosen == RowKey(SHOP, "a")


# Keys: scripts.


async def test_s_stops_what_runs_and_starts_what_does_not() -> None:
    hub = FakeHub(shop=shop(scripts=("dev", "lint")))
    async with opened(hub) as view:
        await view.shows("● dev")
        await view.press("s")
        await view.shows("dev: ready")
        await view.press("j", "s")
        await view.until(lambda: len(hub.calls()) == 2)
        assert hub.calls() == [
            ("scripts_stop", {"name": "dev", "asked_by": "view"}),
            ("scripts_run", {"name": "lint", "asked_by": "view", "wait": "none"}),
        ]


async def test_r_restarts_a_script_and_on_a_project_all_that_runs() -> None:
    hub = FakeHub(shop=shop(process("css")))
    async with opened(hub) as view:
        await view.shows("● css")
        await view.press("r")
        await view.until(lambda: len(hub.calls()) == 1)
        await view.press("k", "r")
        await view.until(lambda: len(hub.calls()) == 3)
        assert [given["name"] for _, given in hub.calls("scripts_restart")] == ["dev", "dev", "css"]


async def test_s_on_a_project_asks_before_it_stops_more_than_one() -> None:
    hub = FakeHub(shop=shop(process("css")))
    async with opened(hub) as view:
        await view.shows("● css")
        await view.press("k", "s")
        await view.shows("stop 2 scripts of shop?  y: yes, any other key: no")
        await view.press("s")
        await view.shows_no("stop 2 scripts")
        assert hub.calls() == []
        await view.press("s", "y")
        await view.until(lambda: len(hub.calls("scripts_stop")) == 2)


async def test_a_question_is_left_by_tab_and_ctrl_c_too() -> None:
    async with opened(FakeHub(shop=shop(process("css")))) as view:
        await view.shows("● css")
        for key in ("tab", "ctrl+c", "escape"):
            await view.press("k", "s")
            await view.shows("stop 2 scripts")
            await view.press(key)
            await view.shows_no("stop 2 scripts")
        assert view.hub.calls() == []
        assert view.app.return_value is None


async def test_an_error_of_a_key_is_said_and_goes_again() -> None:
    own = shop()
    async with opened(FakeHub(shop=own)) as view:
        await view.shows("● dev")
        own.error = AskFailed("dev is still being stopped", "still_stopping")
        await view.press("r")
        await view.shows("── dev is still being stopped ──", "\ndev is still being stopped")


async def test_a_project_that_does_not_run_is_started_at_first_as_brum_up_does() -> None:
    hub = FakeHub(shop=shop(process("lint", "failed")))
    hub.listed = [facts(state=NOT_STARTED)]
    async with opened(hub, at_first=Plan("start", SHOP, ("dev",))) as view:
        await view.until(lambda: view.outside.done == [("start", "/home/ann/shop", "dev")])
        await view.until(lambda: [given["name"] for _, given in hub.calls("scripts_run")] == ["dev"])
        await view.shows("shop › dev")


async def test_where_nothing_says_what_to_start_nothing_is_started_until_s() -> None:
    hub = FakeHub(shop=FakeInstance(process("dev")))
    hub.listed = []
    async with opened(hub, FakeOutside()) as view:
        source = view.app.source
        source.model.take_instances([facts(state=NOT_STARTED)], source.now())
        source.model.take_scripts(SHOP, {"scripts": [{"name": "dev"}, {"name": "lint"}]})
        hub.now_is()
        await view.shows("shop ◌ not started", "· dev", "· lint", "shop › dev  ◌ not started (s starts it)")
        assert view.outside.done == []
        await view.press("s")
        await view.until(lambda: view.outside.done == [("start", "/home/ann/shop", "dev")])


async def test_capital_q_asks_ends_this_project_and_leaves() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("● dev")
        await view.press("Q")
        await view.shows("end shop and its 1 script, and leave?")
        await view.press("q")
        await view.shows_no("and leave?")
        assert view.outside.done == []
        view.outside.error = BrummerError("it did not end within 20 s")
        await view.press("Q", "y")
        await view.shows("it did not end within 20 s")
        view.outside.error = None
        await view.press("Q", "y")
        await view.until(lambda: view.app.return_value is not None)
    assert view.outside.done == [("end", SHOP)]
    assert view.app.return_value == Left("shop is down", USUAL)


async def test_capital_q_without_a_project_of_ones_own_says_so() -> None:
    hub = FakeHub(api=FakeInstance(process("x")))
    async with opened(hub) as view:
        await view.shows("● x")
        await view.press("Q")
        await view.shows("nothing of this project runs")


@pytest.mark.parametrize(
    ("environ", "says", "urls"),
    [
        ({"DISPLAY": ":0"}, "opened http://127.0.0.1:45443/", ["http://127.0.0.1:45443/"]),
        ({}, "copied http://127.0.0.1:45443/: there is no browser here", []),
    ],
)
async def test_o_opens_the_url_where_a_browser_has_a_window(
    environ: dict[str, str], says: str, urls: list[str]
) -> None:
    found: list[str] = []
    options = ViewOptions(environ=environ, open_url=found.append)
    async with opened(FakeHub(shop=shop(process("css"))), options=options) as view:
        await view.shows("shop › dev")
        await view.press("o")
        await view.shows(says)
        await view.until(lambda: found[:1] == urls)
        await view.press("j", "o")
        await view.shows("it has no URL; o on a project opens the page of all projects")
        await view.press("k", "k", "o")
        await view.shows("http://127.0.0.1:7/#once")
        view.outside.error = BrummerError("the page can't be served")
        await view.press("o")
        await view.shows("the page can't be served")


async def test_i_types_a_line_to_the_script() -> None:
    hub = FakeHub(shop=shop(process("done", "exited"), process("ask", unfinished_line="Password: ")))
    async with opened(hub) as view:
        await view.shows("shop › dev")
        await view.press("i")
        await view.shows("dev <")
        await view.press("r", "s", "enter")
        await view.shows("typed to dev")
        await view.press("i", "ctrl+d")
        await view.until(lambda: len(hub.calls()) == 2)
        assert [given for _, given in hub.calls("scripts_input")] == [
            {"name": "dev", "text": "rs"},
            {"name": "dev", "keys": ["ctrl-d"]},
        ]
        await view.press("i", "x", "ctrl+c")
        await view.shows_no("dev <")
        await view.press("j", "i")
        await view.shows("choose a script that runs")
        await view.press("j", "i", "s", "e", "c", "r", "e", "t")
        await view.shows("ask < ••••••")
        assert "secret" not in screen_text(view.app)
        await view.press("enter")
        await view.until(lambda: hub.calls()[-1][1] == {"name": "ask", "text": "secret"})


async def test_a_question_without_a_line_end_stands_below_the_lines() -> None:
    async with opened(FakeHub(shop=shop(process("ask", unfinished_line="Your name? ")))) as view:
        await view.shows("shop › dev")
        assert "Your name?" not in screen_text(view.app)
        await view.press("j")
        await view.shows("Your name?  (i: type)")
        await view.press("e")
        await view.shows_no("Your name?")


async def test_what_is_typed_goes_to_the_script_for_which_it_was_begun() -> None:
    hub = FakeHub(shop=shop(process("css")))
    async with opened(hub) as view:
        await view.shows("shop › dev")
        await view.press("i", "y")
        view.app.projects.choose(RowKey(SHOP, "css"))
        await view.press("enter")
        await view.until(lambda: hub.calls() == [("scripts_input", {"name": "dev", "text": "y"})])


async def test_an_empty_line_is_typed_too() -> None:
    hub = FakeHub(shop=shop())
    async with opened(hub) as view:
        await view.shows("shop › dev")
        await view.press("i", "enter")
        await view.until(lambda: hub.calls() == [("scripts_input", {"name": "dev", "text": ""})])


# Keys: lines.


def long_log(count: int) -> FakeHub:
    found = FakeInstance(process("dev"))
    found.say_up_to(count)
    return FakeHub(shop=found)


async def test_lines_are_held_while_one_looks_up_and_f_follows_again() -> None:
    hub = long_log(100)
    async with opened(hub) as view:
        await view.shows("line 100", "following")
        await view.press("pageup")
        await view.shows("held (f follows)", "line 80")
        hub.instances_by_name["shop"].say_up_to(107)
        await view.shows("held, 7 new below (f)")
        await view.press("f")
        await view.shows("line 107", "following")
        for up, down in (("g", "G"), ("home", "end")):
            await view.press(up)
            await view.shows("line 1\n", "held")
            await view.press(down)
            await view.shows("line 107", "following")
        await view.press("pageup", "pagedown")
        await view.shows("line 107", "following")


async def test_earlier_lines_are_asked_for_at_the_top() -> None:
    async with opened(long_log(1_500)) as view:
        await view.shows("line 1500")
        await view.press("g")
        await view.shows("line 501")
        await view.press("g")
        await view.until(lambda: view.app.pane.lines.lines[0].n == 1)
        await view.press("g")
        await view.shows("line 1\n")


async def test_earlier_lines_that_were_not_answered_are_asked_for_again() -> None:
    own = FakeInstance(process("dev"))
    own.say_up_to(1_500)
    async with opened(FakeHub(shop=own)) as view:
        await view.shows("line 1500")
        own.error = AskFailed("it is away", "link_gone")
        await view.press("g", "g")
        await view.shows("line 501")
        own.error = None
        await view.press("g")
        await view.until(lambda: view.app.pane.lines.lines[0].n == 1)


async def test_a_search_goes_to_hits_back_and_on_also_in_earlier_lines() -> None:
    found = FakeInstance(process("dev"))
    found.say(line(1, "needle early"))
    found.say_up_to(1_200)
    found.say(line(1_201, "Needle late"), line(1_202, "end"))
    async with opened(FakeHub(shop=found)) as view:
        await view.shows("end")
        await view.press("n")
        await view.shows("nothing is looked for")
        await view.press("slash", *"needle", "enter")
        await view.shows("Needle late", "/needle")
        await view.press("N")
        await view.shows("needle early")
        await view.press("n")
        await view.shows("Needle late")
        await view.press("n")
        await view.shows("needle: no later place")
        await view.press("N", "N")
        await view.shows("needle: no earlier place")
        await view.press("slash", *["backspace"] * 6, "enter")
        await view.shows_no("/needle")


async def test_a_search_that_is_given_up_changes_nothing() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError")
        for leave in ("escape", "tab", "ctrl+c"):
            await view.press("slash", "x")
            await view.shows("/x")
            await view.press(leave)
            await view.shows_no("/x")
        assert "shop › dev" in screen_text(view.app)


async def test_ampersand_shows_only_lines_with_the_text() -> None:
    hub = FakeHub(shop=shop())
    async with opened(hub) as view:
        await view.shows("KeyError")
        await view.press("ampersand", *"GET", "enter")
        await view.shows("only /GET", "GET /products")
        await view.shows_no("KeyError")
        await view.press("ampersand")
        await view.shows("KeyError", "/GET")
        await view.press("ampersand")
        await view.shows_no("KeyError")
        hub.instances_by_name["shop"].say(line(4, "GET /new"), line(5, "other"))
        await view.shows("GET /new")
        assert "other" not in screen_text(view.app)
        await view.press("slash", *["backspace"] * 3, "enter")
        await view.shows("KeyError", "other")


async def test_l_shows_only_serious_lines() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("GET /products")
        await view.press("l")
        await view.shows("warnings and errors")
        await view.shows_no("GET /products")
        await view.press("l")
        await view.shows("errors only", "KeyError")
        await view.shows_no("slow query")
        await view.press("l")
        await view.shows("GET /products")


async def test_w_wraps_and_is_remembered() -> None:
    found = FakeInstance(process("dev"))
    found.say(line(1, "word " * 40 + "tail"))
    async with opened(FakeHub(shop=found)) as view:
        await view.shows("word word")
        assert "tail" not in screen_text(view.app)
        await view.press("w")
        await view.shows("tail")
        await view.press("q")
    assert view.app.return_value is not None
    assert view.app.return_value.remembered.wraps


async def test_long_lines_are_moved_sideways() -> None:
    found = FakeInstance(process("dev"))
    found.say(line(1, "word " * 40 + "tail"))
    async with opened(FakeHub(shop=found)) as view:
        await view.shows("word word")
        await view.press("enter", *["right"] * 20)
        await view.shows("tail")


async def test_capital_t_hides_the_times_and_is_remembered() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("21:00:01 GET")
        await view.press("T")
        await view.shows_no("21:00:01")
        await view.press("q")
    assert view.app.return_value is not None
    assert not view.app.return_value.remembered.shows_times


async def test_x_hides_all_lines_so_far_and_shows_them_again() -> None:
    hub = FakeHub(shop=shop())
    async with opened(hub) as view:
        await view.shows("KeyError")
        await view.press("x")
        await view.shows("── the view was cleared at")
        await view.shows_no("KeyError")
        await view.press("x")
        await view.shows("KeyError")


async def test_y_copies_what_is_seen() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError")
        await view.press("y")
        await view.shows("copied 3 lines")
        assert view.app.clipboard.splitlines()[2] == "KeyError: 'bottle'"


async def test_capital_e_opens_all_that_is_kept_in_the_pager() -> None:
    read: list[tuple[str, int]] = []

    async def run(command: Sequence[str]) -> None:
        text = await asyncio.to_thread(Path(command[-1]).read_text)
        read.append((" ".join(command[:-1]), text.count("\n")))

    options = ViewOptions(environ={"PAGER": "most -w"}, run_program=run)
    async with opened(long_log(2_300), options=options) as view:
        await view.shows("line 2300")
        await view.press("E")
        await view.until(lambda: read == [("most -w", 2_300)])


async def test_a_program_that_is_not_there_is_said() -> None:
    async def run(_: Sequence[str]) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    own = shop()
    async with opened(FakeHub(shop=own), options=ViewOptions(environ={}, run_program=run)) as view:
        await view.shows("KeyError")
        await view.press("E")
        await view.shows("less can't be started: No such file or directory")
        own.error = AskFailed("the instance does not answer", "deadline_exceeded")
        await view.press("E")
        await view.shows("the instance does not answer")


# Keys: errors.


def with_errors(count: int = 3_000, first_n: int = 40) -> FakeHub:
    found = FakeInstance(process("dev"))
    found.say_up_to(first_n - 1)
    found.say(line(first_n, "KeyError: 'bottle'", level="error"))
    found.say_up_to(count)
    change = {"kind": "error", "process": "dev", "process_id": "dev-1", "at": "2026-11-30T21:28:28Z"}
    found.changes = [
        {**change, "title": "KeyError: 'bottle'", "where": "serve.py:10", "count": 74, "first_n": first_n},
        {**change, "title": "no place", "count": 1, "first_n": count, "at": "2026-11-30T21:28:29Z"},
    ]
    return FakeHub(shop=found)


async def test_e_lists_the_errors_and_enter_goes_to_the_line() -> None:
    async with opened(with_errors()) as view:
        await view.shows("line 3000")
        await view.press("e")
        await view.shows("×74", "KeyError: 'bottle'", "serve.py:10", "no place", " ago")
        await view.press("j", "enter")
        await view.shows("KeyError: 'bottle'", "line 41", "earlier lines (f: new ones)")
        await view.press("f")
        await view.shows("line 3000", "following")
        await view.press("e", "e")
        await view.shows("line 3000")


async def test_enter_goes_to_a_line_that_is_there_without_asking() -> None:
    async with opened(with_errors(200, 150)) as view:
        await view.shows("line 200")
        await view.press("e", "j", "enter")
        await view.shows("KeyError: 'bottle'", "line 151", "held")


async def test_without_errors_the_list_says_so() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError")
        await view.press("e")
        await view.shows("no errors")
        await view.press("enter", "v", "e")
        await view.shows("KeyError")


async def test_v_opens_the_file_of_an_error_in_the_editor() -> None:
    ran: list[Sequence[str]] = []

    async def run(command: Sequence[str]) -> None:
        ran.append(command)

    options = ViewOptions(environ={"EDITOR": "vim"}, run_program=run)
    async with opened(with_errors(200, 150), options=options) as view:
        await view.shows("line 200")
        await view.press("e", "v")
        await view.shows("no file is known of this error")
        await view.press("j", "v")
        await view.until(lambda: ran == [["vim", "+10", "/home/ann/shop/serve.py"]])


async def test_a_file_of_another_machine_is_not_looked_for_on_this_one() -> None:
    ran: list[Sequence[str]] = []

    async def run(command: Sequence[str]) -> None:
        ran.append(command)

    hub = with_errors(200, 150)
    hub.listed = [each._replace(host="box") for each in hub.listed]
    async with opened(hub, options=ViewOptions(environ={"EDITOR": "vim"}, run_program=run)) as view:
        await view.shows("line 200")
        await view.press("e", "j", "v")
        await view.shows("the file is on box: serve.py:10")
    assert ran == []


async def test_errors_of_an_earlier_run_of_the_instance_are_shown_and_have_no_line() -> None:
    hub = with_errors(200, 150)
    own = hub.instances_by_name["shop"]
    async with opened(hub) as view:
        await view.shows("line 200")
        own.generation, own.changes, own.lines = "h", [], [line(1, "hello")]
        own.news.set()
        own.lines_came.set()
        hub.now_is(facts(state="connecting"))
        hub.now_is(facts())
        await view.shows("hello")
        await view.press("e")
        await view.shows("KeyError")
        await view.press("j", "enter")
        await view.shows("its lines are of an earlier run of the instance")


# Keys: the view.


async def test_question_mark_lists_the_keys() -> None:
    async with opened(FakeHub(shop=shop()), size=(120, 50)) as view:
        await view.shows("KeyError")
        await view.press("question_mark")
        await view.shows("leave; everything runs on", "end this project (it asks), and leave", "fold a project")
        assert_screen(view.app, SCREENS / "keys.txt")
        await view.press("question_mark")
        await view.shows("KeyError")


async def test_t_hides_scripts_that_never_ran_and_is_remembered() -> None:
    async with opened(FakeHub(shop=shop(scripts=("dev", "lint")))) as view:
        await view.shows("· lint")
        await view.press("t")
        await view.shows("▼ shop +1")
        await view.shows_no("lint")
        await view.press("q")
    assert view.app.return_value is not None
    assert view.app.return_value.remembered.hides_idle


async def test_the_width_of_the_tree_is_changed_and_remembered() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("● dev")
        assert view.app.projects.size.width == 30
        await view.press("greater_than_sign", "greater_than_sign")
        await view.until(lambda: view.app.projects.size.width == 34)
        await view.press(*["less_than_sign"] * 20)
        await view.until(lambda: view.app.projects.size.width == 12)
        await view.press("q")
    assert view.app.return_value is not None
    assert view.app.return_value.remembered.tree_columns == 12


async def test_what_is_remembered_is_so_from_the_beginning() -> None:
    remembered = Remembered(tree_columns=40, wraps=True, shows_times=False, hides_idle=True)
    async with opened(FakeHub(shop=shop(scripts=("dev", "lint"))), remembered=remembered) as view:
        await view.shows("KeyError")
        assert "lint" not in screen_text(view.app)
        assert "21:00:01" not in screen_text(view.app)
        assert view.app.projects.size.width == 40
        assert view.app.pane.lines.wraps


async def test_tab_goes_to_the_other_pane() -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError")
        focused = [view.app.focused]
        for key in ("tab", "shift+tab"):
            await view.press(key)
            focused.append(view.app.focused)
        assert focused == [view.app.projects, view.app.pane.lines, view.app.projects]


# Notices.


@pytest.mark.parametrize(("is_seen", "notifies", "bells"), [(False, True, 1), (True, True, 0), (False, False, 0)])
async def test_the_bell_rings_when_a_ready_script_fails_and_nobody_looks(
    *, is_seen: bool, notifies: bool, bells: int
) -> None:
    own = FakeInstance(process("dev", ready_at="2026-11-30T21:00:00Z"))
    async with opened(FakeHub(shop=own), options=ViewOptions(notifies=notifies, environ={})) as view:
        await view.shows("● dev")
        view.app.app_focus = is_seen
        own.processes = [process("dev", "failed")]
        own.change({"kind": "failed", "process": "dev", "process_id": "dev-1"})
        await view.shows("✖ dev")
        await view.until(lambda: view.app.bells == bells)


async def test_coming_back_to_the_terminal_asks_for_scripts_again() -> None:
    own = shop(scripts=("dev",))
    async with opened(FakeHub(shop=own)) as view:
        await view.shows("● dev")
        own.scripts.append("new")
        view.app.on_app_focus()
        await view.shows("· new")


async def test_all_styles_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the theme, also at the start, makes them anew, which takes longer than a picture."""
    made: list[bool] = []
    monkeypatch.setattr(RungView, "refresh_css", lambda self, animate=True: made.append(animate))
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError: 'bottle'")
        assert view.app.theme == "ansi-dark"
        assert made == []


async def test_the_first_picture_has_only_the_widgets_that_it_shows() -> None:
    """Each one more is styled twice before anything is drawn; see the tests of the keys for what each is mounted by."""
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError: 'bottle'")
        assert [*view.app.query("LineInput, QuestionLine, ErrorList, #help")] == []


async def test_lines_are_asked_for_before_the_widgets_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they are there for the first picture, where the instance answers soon; another picture takes as long again."""
    hub, chosen = FakeHub(shop=shop()), list[RowKey | None]()
    monkeypatch.setattr(LogPane, "on_mount", lambda pane: chosen.append(pane.chosen), raising=False)
    async with following(hub) as source:
        await until(lambda: has_all(source))
        async with TerminalView(source, options=ViewOptions(environ={})).run_test() as pilot:
            await pilot.pause()
    assert chosen == [DEV]
