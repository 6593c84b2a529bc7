"""What the hub reads of instances that are down."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.contract import tools as arguments
from brummer.core.errors import InvalidArguments, NotFound
from brummer.discovery.directory import black_box_directory, log_directory
from brummer.discovery.record import instance_id_for
from brummer.hub.black_box import ANSWERED, BlackBoxes, Down
from brummer.logs.journal.files import LostLines, ProjectFiles, RunFiles
from brummer.logs.journal.record_format import About, stem
from brummer.logs.output import Line

DOWN = Down("shop-0123abcd", "gone", 3.5, "died")

Leave = Callable[..., About]


@pytest.fixture
def leave(tmp_path: Path) -> Leave:
    """Have the instance of a directory leave one run of ``dev`` behind."""

    def left(name: str, directory: str = "shop", generation: str = "generation-1") -> About:
        place = tmp_path / directory
        about = About(instance_id_for(place), name, str(place))
        files = RunFiles(ProjectFiles(lambda: tmp_path / "boxes", about), stem(generation, 1, "dev"))
        process = {"process_id": "dev-1", "name": "dev", "status": "running", "pid": 7, "ended_at": None}
        line = Line(1, "dev", "stderr", "2026-01-01T00:00:00.000Z", "no route")
        files.write([line], [(1, {"n": 1, "kind": "started"}, process)], LostLines(), is_last=True)
        return about

    return left


@pytest.fixture
def shop(leave: Leave) -> About:
    return leave("shop")


@pytest.fixture
def boxes(tmp_path: Path) -> BlackBoxes:
    return BlackBoxes(lambda: tmp_path / "boxes")


async def asked(boxes: BlackBoxes, about: About, tool: str, running: str | None = None, **arguments: Any) -> Any:
    answer = await boxes.answer(about.instance_id, tool, msgspec.json.encode(arguments), running, DOWN)
    return None if answer is None else msgspec.json.decode(answer)["structuredContent"]


async def test_an_answer_tells_where_it_is_from_and_why(boxes: BlackBoxes, shop: About) -> None:
    tail = await asked(boxes, shop, "logs_tail", process="dev")
    assert [line["text"] for line in tail["lines"]] == ["no route"]
    assert tail["from"] == "black box"
    assert tail["instance"] == msgspec.to_builtins(DOWN)
    assert tail["written_at"].endswith("Z")
    found = await asked(boxes, shop, "logs_search", query="route$", regex=True)
    assert len(found["lines"]) == 1
    assert (await asked(boxes, shop, "changes_since"))["changes"] == [{"n": 1, "kind": "started"}]


async def test_it_gives_earlier_lines_and_waits_for_none(boxes: BlackBoxes, shop: About, tmp_path: Path) -> None:
    def leave_more() -> None:
        files = RunFiles(ProjectFiles(lambda: tmp_path / "boxes", shop), stem("generation-2", 1, "dev"))
        process = {"process_id": "dev-1", "name": "dev", "status": "running", "pid": 7, "ended_at": None}
        lines = [Line(n, "dev", "stdout", "2026-01-01T00:00:00.000Z", f"line {n}") for n in range(1, 11)]
        files.write(lines, [(1, {"n": 1, "kind": "started"}, process)], LostLines(), is_last=True)

    await asyncio.to_thread(leave_more)
    tail = await asked(boxes, shop, "logs_tail", limit=3, wait_s=20)
    page = await asked(boxes, shop, "logs_tail", limit=3, before=8, cursor=tail["cursor"])
    assert (page["lines"][0]["text"], page["before"], page["more"]) == ("line 5\nline 6\nline 7", 5, True)
    found = await asked(boxes, shop, "logs_search", query="[12]$", regex=True, before=10)
    assert ([line["text"] for line in found["lines"]], "more" in found) == (["line 1\nline 2"], False)
    nothing = await asked(boxes, shop, "changes_since", cursor="generation-2.0.1", wait_s=20)
    assert (nothing["changes"], nothing["from"]) == ([], "black box")


@pytest.fixture
def twice(shop: About, tmp_path: Path) -> About:
    """Of three generations: the first has run dev and test, the second dev alone, the third nothing."""
    for generation, name, at in (("generation-1", "test", 1), ("generation-2", "dev", 2)):
        files = RunFiles(ProjectFiles(lambda: tmp_path / "boxes", shop), stem(generation, at, name))
        started = f"2026-01-0{at}T00:00:00.000Z"
        process = {"process_id": f"{name}-1", "name": name, "status": "exited", "pid": None, "started_at": started}
        lines = [Line(n, name, "stdout", started, f"{name} {n}") for n in (2, 3)]
        files.write(lines, [(n, {"n": n, "kind": "started"}, process) for n in (1, 2)], LostLines(), is_last=True)
    return shop


@pytest.mark.parametrize(
    ("cursor", "process", "lines", "reset"),
    [
        ("generation-2.2.1", "dev", ["dev 3"], None),
        ("generation-2.0.1", "test", [], None),
        ("generation-3.0.0", "dev", [], None),
        ("generation-3.0.0", None, [], None),
        ("generation-1.2.1", "test", ["test 3"], None),
        ("generation-1.2.1", "dev", ["dev 2", "dev 3"], "2026-01-02T00:00:00.000Z"),
        ("forgotten.9.9", "dev", ["dev 2", "dev 3"], "2026-01-02T00:00:00.000Z"),
    ],
)
async def test_lines_of_an_earlier_run_do_not_come_after_a_cursor_and_lines_of_a_later_one_say_of_which_they_are(
    boxes: BlackBoxes, twice: About, cursor: str, process: str | None, lines: list[str], reset: str | None
) -> None:
    encoded = msgspec.json.encode({"cursor": cursor, "process": process, "wait_s": 20})
    answer = await boxes.answer(twice.instance_id, "logs_tail", encoded, None, DOWN, "generation-3")
    assert answer is not None
    found = msgspec.json.decode(answer)
    content = found["structuredContent"]
    assert [text for line in content["lines"] for text in line["text"].split("\n")] == lines
    assert (content.get("cursor_reset"), content.get("run_since")) == ((True, reset) if reset else (None, None))
    assert lines or content["cursor"] == cursor
    if reset:
        assert f"another run of the instance than this one, that of {reset}" in found["content"][0]["text"]


@pytest.mark.parametrize(("cursor", "is_reset"), [("generation-3.0.0", False), ("generation-1.0.1", True)])
async def test_changes_of_an_earlier_run_do_not_come_after_a_cursor(
    boxes: BlackBoxes, twice: About, cursor: str, *, is_reset: bool
) -> None:
    encoded = msgspec.json.encode({"cursor": cursor})
    answer = await boxes.answer(twice.instance_id, "changes_since", encoded, None, DOWN, "generation-3")
    assert answer is not None
    content = msgspec.json.decode(answer)["structuredContent"]
    assert (len(content["changes"]), content.get("cursor_reset", False)) == (2 if is_reset else 0, is_reset)
    assert is_reset or content["cursor"] == cursor


async def test_earlier_lines_are_those_of_the_run_of_the_cursor(boxes: BlackBoxes, twice: About) -> None:
    page = await asked(boxes, twice, "logs_tail", process="test", before=3, cursor="generation-1.3.1")
    assert [line["text"] for line in page["lines"]] == ["test 2"]
    other = await asked(boxes, twice, "logs_tail", process="dev", before=3, cursor="generation-1.3.1")
    assert (other["lines"], other["cursor_reset"]) == ([], True)


async def test_its_text_begins_with_where_it_is_from_and_has_the_cursor(boxes: BlackBoxes, shop: About) -> None:
    encoded = await boxes.answer(shop.instance_id, "logs_tail", b"{}", None, DOWN)
    assert encoded is not None
    text = msgspec.json.decode(encoded)["content"][0]["text"].splitlines()
    assert text[0].startswith("[from the black box of shop-0123abcd, which is gone (died), written at ")
    assert text[1] == "00:00:00 dev | no route"
    assert "cursor: generation-1.1.1" in text[-1]


@pytest.mark.parametrize("tool", ["logs_tail", "logs_search", "changes_since", "scripts_status"])
async def test_its_answers_fit_into_the_limit(boxes: BlackBoxes, shop: About, tmp_path: Path, tool: str) -> None:
    def leave_much() -> None:
        for script in range(150):
            name = f"script-{script}"
            files = RunFiles(ProjectFiles(lambda: tmp_path / "boxes", shop), stem("generation-2", 1, name))
            process = {
                "process_id": f"{name}-1",
                "name": name,
                "status": "running",
                "pid": 7,
                "urls": ["http://x/" * 20],
            }
            stamp = "2026-01-01T00:00:00.000Z"
            numbers = range(script * 10 + 1, script * 10 + 11)
            lines = [Line(n, name, "stderr", stamp, f'no "route" {n} ' * 20) for n in numbers]
            noted: list[tuple[int, object, object]] = [
                (script + 1, {"n": script + 1, "kind": "started", "at": stamp, "lines": ["x" * 200] * 3}, process)
            ]
            files.write(lines, noted, LostLines(), is_last=True)

    await asyncio.to_thread(leave_much)
    arguments = {"query": "route", "around": 2} if tool == "logs_search" else {}
    limit = {} if tool == "scripts_status" else {"limit": 5_000}
    encoded = await boxes.answer(shop.instance_id, tool, msgspec.json.encode({**arguments, **limit}), None, DOWN)
    assert encoded is not None
    assert len(encoded) <= 32 * 1024
    content = msgspec.json.decode(encoded)["structuredContent"]
    assert "cut" not in content
    assert "cursor" in content


async def test_an_edited_file_is_shown_unchanged(boxes: BlackBoxes, shop: About, tmp_path: Path) -> None:
    process = {"process_id": "odd-1", "name": "odd", "status": "failed", "urls": 5, "errors": "many", "ended_at": 3}
    change = {"n": 1, "urls": 7, "at": None}

    def edit() -> None:
        files = RunFiles(ProjectFiles(lambda: tmp_path / "boxes", shop), stem("generation-2", 1, "odd"))
        files.write([], [(1, change, process)], LostLines(), is_last=True)

    await asyncio.to_thread(edit)
    assert (await asked(boxes, shop, "scripts_status", name="odd"))["processes"] == [process]
    assert (await asked(boxes, shop, "changes_since"))["changes"] == [change]


async def test_only_a_generation_that_may_live_keeps_its_last_state(boxes: BlackBoxes, shop: About) -> None:
    over = await asked(boxes, shop, "scripts_status", running="generation-2")
    assert [process["status"] for process in over["processes"]] == ["lost"]
    alive = await asked(boxes, shop, "scripts_status", running="generation-1")
    assert [process["status"] for process in alive["processes"]] == ["running"]


async def test_what_it_does_not_understand_is_refused(boxes: BlackBoxes, shop: About) -> None:
    with pytest.raises(InvalidArguments):
        await asked(boxes, shop, "logs_tail", limit="many")
    with pytest.raises(NotFound) as caught:
        await asked(boxes, shop, "logs_tail", process="nobody")
    assert caught.value.context["processes"] == ["dev-1"]


@pytest.mark.parametrize("tool", sorted(ANSWERED))
async def test_an_argument_that_only_instances_understand_is_not_silently_dropped(
    boxes: BlackBoxes, shop: About, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    for kind in (arguments.ScriptsStatus, arguments.TailLogs, arguments.SearchLogs, arguments.ChangesSince):
        newer = msgspec.defstruct(kind.__name__, [("newer", int, 0)], bases=(kind,), kw_only=True)
        monkeypatch.setattr(arguments, kind.__name__, newer)
    asked = b'{"query":"x","newer":1}' if tool == "logs_search" else b'{"newer":1}'
    with pytest.raises((TypeError, msgspec.ValidationError), match="newer"):
        await boxes.answer(shop.instance_id, tool, asked, None, DOWN)


async def test_without_a_black_box_there_is_no_answer(boxes: BlackBoxes, shop: About) -> None:
    nobody = About("nobody-00000000", "nobody", "/nowhere")
    assert await asked(boxes, nobody, "scripts_status") is None
    missing = BlackBoxes(lambda: Path("/nowhere"))
    assert await asked(missing, shop, "scripts_status") is None
    assert await missing.named("shop") is None


async def test_an_instance_is_found_by_id_name_and_directory(
    boxes: BlackBoxes, shop: About, leave: Leave, tmp_path: Path
) -> None:
    for name in (shop.instance_id, "shop", str(tmp_path / "shop")):
        assert await boxes.named(name) == shop.instance_id
    assert await boxes.named("nobody") is None
    await asyncio.to_thread(leave, "shop", "another")
    with pytest.raises(NotFound) as caught:
        await boxes.named("shop")
    instances: Any = caught.value.context["instances"]
    assert {item["directory"] for item in instances} == {str(tmp_path / "shop"), str(tmp_path / "another")}


def test_black_boxes_and_logs_outlive_the_session_unless_a_place_for_all_was_chosen(tmp_path: Path) -> None:
    chosen = {"BRUMMER_INSTANCES_DIR": str(tmp_path)}
    assert black_box_directory(chosen) == tmp_path / "black-box"
    assert log_directory(chosen) == tmp_path / "log"
    state = {"XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/nowhere"}
    assert black_box_directory(state) == tmp_path / "brummer" / "black-box"
    assert log_directory(state) == tmp_path / "brummer" / "instances"


async def test_without_a_thread_no_black_box_is_found(
    leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = await asyncio.to_thread(leave, "shop")

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    boxes = BlackBoxes(lambda: tmp_path / "boxes")
    assert await boxes.answer(about.instance_id, "scripts_status", b"{}", None, DOWN) is None
