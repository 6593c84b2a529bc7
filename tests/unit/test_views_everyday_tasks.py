"""The everyday tasks of docs/view.md: their keys do what the page says, and none needs more than five."""

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from brummer.views.terminal.view_options import ViewOptions
from tests.unit.test_views_terminal_app import Opened, opened, shop, utc, with_errors
from tests.unit.views_support import FakeHub, line, process

__all__ = ["utc"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "view.md"
MOST_KEYS = 5
TYPED = {"answer": "y", "text": "GET"}
"""What the test types in place of these words: one key each."""
NAMES = {"/": "slash"}


def tasks() -> dict[str, list[str]]:
    """By task, its keys as the test presses them."""
    rows = re.findall(r"^\| ([a-z][^|]*) \| ([^|]*) \| [^|]* \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        task: [key or word for key, word in re.findall(r"`([^`]+)`|\b(answer|text)\b", keys)]
        for task, keys in rows
        if task != "task"
    }


async def press(view: Opened, keys: Sequence[str]) -> None:
    for key in keys:
        await view.press(*(TYPED[key] if key in TYPED else [NAMES.get(key, key)]))
        await view.pilot.pause()


def one_error() -> FakeHub:
    hub = with_errors(200, 150)
    own = hub.instances_by_name["shop"]
    own.changes = own.changes[:1]
    return hub


Check = Callable[[list[str]], Awaitable[None]]


async def leave(keys: list[str]) -> None:
    hub = FakeHub(shop=shop())
    async with opened(hub) as view:
        await view.shows("KeyError")
        await press(view, keys)
        await view.until(lambda: not view.app.is_running)
        assert not hub.calls()
        assert view.app.return_value is not None
        assert "1 script runs on" in str(view.app.return_value)


async def failed(keys: list[str]) -> None:
    async with opened(with_errors(200, 150)) as view:
        await view.shows("line 200")
        await press(view, keys)
        await view.shows("×74", "serve.py:10")


async def first_error(keys: list[str]) -> None:
    async with opened(with_errors()) as view:
        await view.shows("line 3000")
        await press(view, keys)
        await view.shows("KeyError: 'bottle'", "line 41", "earlier lines")


async def editor(keys: list[str]) -> None:
    ran: list[Sequence[str]] = []

    async def run(command: Sequence[str]) -> None:
        ran.append(command)

    async with opened(one_error(), options=ViewOptions(environ={"EDITOR": "vim"}, run_program=run)) as view:
        await view.shows("line 200")
        await press(view, keys)
        await view.until(lambda: ran == [["vim", "+10", "/home/ann/shop/serve.py"]])


async def trace(keys: list[str]) -> None:
    async with opened(one_error()) as view:
        await view.shows("line 200")
        await press(view, keys)
        await view.until(lambda: "KeyError: 'bottle'" in view.app.clipboard)


async def restart_all(keys: list[str]) -> None:
    hub = FakeHub(shop=shop(process("css", "running")))
    async with opened(hub) as view:
        await view.shows("KeyError")
        await view.press("k")
        await view.shows("shop › all")
        await press(view, keys)
        await view.until(lambda: {given["name"] for _, given in hub.calls("scripts_restart")} == {"dev", "css"})


async def stop(keys: list[str]) -> None:
    hub = FakeHub(shop=shop())
    async with opened(hub) as view:
        await view.shows("KeyError")
        await press(view, keys)
        await view.until(lambda: [given["name"] for _, given in hub.calls("scripts_stop")] == ["dev"])


async def who(keys: list[str]) -> None:
    own = shop()
    stopped = {"kind": "stopped", "process": "dev", "process_id": "dev-1", "by": "claude-code 2.1.3"}
    own.changes = [{**stopped, "stop_asked_by": "restart"}, {**stopped, "kind": "started"}]
    async with opened(FakeHub(shop=own)) as view:
        await press(view, keys)
        await view.shows("restarted by claude-code 2.1.3")


async def answer(keys: list[str]) -> None:
    hub = FakeHub(shop=shop())
    async with opened(hub) as view:
        await view.shows("KeyError")
        await press(view, keys)
        await view.until(lambda: [given["text"] for _, given in hub.calls("scripts_input")] == ["y"])


async def only_errors(keys: list[str]) -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("slow query", "KeyError")
        await press(view, keys)
        await view.shows_no("slow query")
        await view.shows("errors only", "KeyError")


async def find(keys: list[str]) -> None:
    own = shop()
    own.say(*(line(n) for n in range(4, 100)))
    async with opened(FakeHub(shop=own)) as view:
        await view.shows("line 99")
        await press(view, keys)
        await view.shows("GET /products/579", "/GET")


async def clear(keys: list[str]) -> None:
    async with opened(FakeHub(shop=shop())) as view:
        await view.shows("KeyError")
        await press(view, keys[:1])
        await view.shows_no("KeyError")
        await press(view, keys[1:])
        await view.shows("KeyError")


CHECKS: dict[str, Check] = {
    "leave, and stop nothing": leave,
    "see why a script has failed": failed,
    "go to the first error of an earlier run": first_error,
    "open the place of an error in your editor": editor,
    "copy a trace": trace,
    "restart all scripts of a project": restart_all,
    "stop one script": stop,
    "see who started, stopped or restarted a script": who,
    "answer a question": answer,
    "see only errors": only_errors,
    "find a text": find,
    "clear the log, and get it back": clear,
}


def test_the_page_has_these_tasks() -> None:
    assert list(tasks()) == list(CHECKS)


@pytest.mark.parametrize("task", CHECKS)
async def test_its_keys_do_it_and_are_few(task: str) -> None:
    keys = tasks()[task]
    assert len(keys) <= MOST_KEYS
    await CHECKS[task](keys)
