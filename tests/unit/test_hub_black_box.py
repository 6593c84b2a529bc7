"""What the hub reads of instances that are down."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.core.errors import InvalidArguments, NotFound
from brummer.discovery.directory import black_box_directory, log_directory
from brummer.discovery.record import instance_id_for
from brummer.hub.black_box import BlackBoxes
from brummer.process.journal_files import Lost, ProjectFiles, RunFiles
from brummer.process.journal_format import About, stem
from brummer.process.output import Line

DOWN = {"instance_id": "shop-0123abcd", "state": "gone", "since_s": 3.5, "reason": "died", "url": "http://…"}

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
        files.write([line], [(1, {"n": 1, "kind": "started"}, process)], Lost(), is_last=True)
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
    assert tail["instance"] == {key: DOWN[key] for key in ("instance_id", "state", "since_s", "reason")}
    assert tail["written_at"].endswith("Z")
    found = await asked(boxes, shop, "logs_search", query="route$", regex=True)
    assert len(found["lines"]) == 1
    assert (await asked(boxes, shop, "changes_since"))["changes"] == [{"n": 1, "kind": "started"}]


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
    if os.name == "posix":
        assert black_box_directory(state) == tmp_path / "brummer" / "black-box"
        assert log_directory(state) == tmp_path / "brummer" / "instances"
