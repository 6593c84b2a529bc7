"""What is written into the black box, and what of it can be read again whatever has happened to it."""

import asyncio
import errno
import logging
import os
import re
import shutil
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from brummer.core.errors import InvalidArguments, NotFound
from brummer.host.clocks import awake
from brummer.host.files import write_all
from brummer.logs.journal import files as journal_files
from brummer.logs.journal import query, record_format, retention
from brummer.logs.journal.files import FACTS_BYTES, KEPT_BYTES, LostLines, ProjectFiles, RunFiles
from brummer.logs.journal.reader import LOST, BlackBox, projects
from brummer.logs.journal.record_format import About, stem
from brummer.logs.journal.writer import Journal
from brummer.logs.output import Line
from brummer.logs.query import Wanted
from brummer.settings.limits import DEFAULTS, Limits
from tests.unit.agents_page import PAGE

GENERATION = "generation-1"
ABOUT = About("shop-0123abcd", "shop", "/home/somebody/shop")


def line(n: int, text: str = "hello", process: str = "dev") -> Line:
    return Line(n, process, "stdout", "2026-01-01T00:00:00.000Z", text)


def facts(process_id: str = "dev-1", **more: Any) -> dict[str, Any]:
    return {"process_id": process_id, "name": process_id.rpartition("-")[0], "status": "running", "pid": 7, **more}


def written(root: Path, number: int, lines: list[Line], process: dict[str, Any], generation: str = GENERATION) -> None:
    """A run that has left these."""
    files = RunFiles(ProjectFiles(lambda: root, ABOUT), stem(generation, number, process["name"]))
    change = {"n": number, "kind": "started", "process_id": process["process_id"]}
    files.write(lines, [(number, change, process)], LostLines(), is_last=True)
    assert not files.has_failed


def box(root: Path, **settings: Any) -> BlackBox:
    return BlackBox(root / ABOUT.instance_id, **settings)


def files_of(root: Path) -> list[Path]:
    return sorted(path for path in (root / ABOUT.instance_id).iterdir() if path.name != record_format.ABOUT)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(lambda: tmp_path / "state" / "black-box", ABOUT, GENERATION)
    yield journal
    await journal.close()


async def read_when(condition: Callable[[BlackBox], bool], root: Path) -> BlackBox:
    """The black box as soon as this holds of it."""
    async with asyncio.timeout(30):
        while not condition(found := await asyncio.to_thread(box, root)):
            await asyncio.sleep(0.001)
    return found


async def test_lines_and_facts_are_on_disk_while_the_run_lives_and_readable_by_us_alone(
    journal: Journal, tmp_path: Path
) -> None:
    run = journal.open("dev")
    run.note(1, {"n": 1, "kind": "started"}, facts())
    run.add([line(1, "ready at 8000")])
    found = await read_when(lambda box: bool(box.runs and box.runs[0].files.segments), tmp_path / "state" / "black-box")
    assert (await asyncio.to_thread(found.lines, "dev")).entries == [line(1, "ready at 8000")]
    assert found.processes(None, is_over=False) == [facts()]
    places = [tmp_path / "state" / "black-box", tmp_path / "state" / "black-box" / ABOUT.instance_id]
    assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in places[1].iterdir()} == {0o600}


async def test_nothing_is_made_before_the_first_run(journal: Journal, tmp_path: Path) -> None:
    await journal.close()
    assert list(tmp_path.iterdir()) == []


async def test_of_a_flood_the_newest_is_kept_and_the_gap_is_marked(journal: Journal, tmp_path: Path) -> None:
    run = journal.open("dev")
    run.note(1, {"n": 1}, facts())
    count = 3 * KEPT_BYTES // 1000
    run.add([line(n, "x" * 999) for n in range(1, count + 1)])
    run.close()
    await journal.close()
    kept = (await asyncio.to_thread(lambda: box(tmp_path / "state" / "black-box").lines("dev"))).entries
    newest = [one for one in kept if one.stream == "stdout"]
    assert newest[-1].n == count
    assert sum(len(one.text) + 1 for one in newest) >= KEPT_BYTES - 1000
    mark = next(one for one in kept if one.stream == "brum")
    assert str(count - len(newest)) in mark.text
    assert mark.n == newest[0].n - 1


async def test_an_unwritable_place_costs_one_complaint_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "black-box").write_text("in the way")
    journal = Journal(lambda: tmp_path / "black-box", ABOUT, GENERATION)
    with caplog.at_level(logging.WARNING):
        for name in ("dev", "api"):
            run = journal.open(name)
            run.add([line(1)])
            run.close()
        await journal.close()
    assert journal.problem is not None
    assert len([record for record in caplog.records if record.name.startswith("brummer")]) == 1


async def test_a_thread_that_can_not_be_started_is_tried_again_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses, start = True, threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if refuses and thread.name == "black box":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    journal = Journal(lambda: tmp_path / "state" / "black-box", ABOUT, GENERATION, retry_s=0.01)
    run = journal.open("dev")
    run.add([line(1)])
    async with asyncio.timeout(30):
        while journal.problem is None:
            await asyncio.sleep(0.001)
        assert "thread" in journal.problem
        run.add([line(2)])
        run.note(1, {"n": 1, "kind": "started"}, facts())
    refuses = False  # nothing changes from now on
    found = await read_when(lambda box: bool(box.runs and box.runs[0].files.segments), tmp_path / "state" / "black-box")
    assert (await asyncio.to_thread(found.lines, "dev")).entries == [line(1), line(2)]
    assert journal.problem is None
    await journal.close()


async def test_a_full_disk_is_tried_once_a_second_and_a_problem_until_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, writes, is_full = Journal(lambda: tmp_path, ABOUT, GENERATION, retry_s=0.3), 0, True
    real = RunFiles.write

    def write(descriptor: int, data: bytes) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_all(descriptor, data)

    def counted(files: RunFiles, *arguments: Any, **more: Any) -> None:
        nonlocal writes
        writes += 1
        real(files, *arguments, **more)

    monkeypatch.setattr(journal_files, "write_all", write)
    monkeypatch.setattr(RunFiles, "write", counted)
    run = journal.open("dev")
    for number in range(1, 31):
        run.add([line(number)])
        await asyncio.sleep(0.02)
    assert journal.problem is not None
    assert "No space left" in journal.problem
    assert writes <= 6, "more than one for each pause"
    is_full = False
    async with asyncio.timeout(30):
        while journal.problem is not None:
            await asyncio.sleep(0.001)
    run.close()
    await journal.close()


async def test_the_end_of_a_run_does_not_wait_for_a_pause_of_another(journal: Journal, tmp_path: Path) -> None:
    slow, quick = journal.open("slow"), journal.open("quick")
    slow.not_before_s = awake() + 3600
    slow.add([line(1)])
    quick.note(1, {"n": 1, "kind": "started"}, facts("quick-1"))
    quick.close()
    root = tmp_path / "state" / "black-box"
    await read_when(lambda box: [run.process["name"] for run in box.runs] == ["quick"], root)


def test_lines_that_could_not_be_written_are_counted_when_the_disk_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = RunFiles(ProjectFiles(lambda: tmp_path, ABOUT), stem(GENERATION, 1, "dev"))
    files.write([line(1)], [(1, {}, facts())], LostLines(), is_last=False)

    def full(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(journal_files, "write_all", full)
        files.write([line(2), line(3)], [(2, {}, facts(status="ready"))], LostLines(), is_last=False)
    assert files.has_failed
    files.write([line(4)], [], LostLines(), is_last=True)
    assert not files.has_failed
    found = box(tmp_path)
    assert [(one.n, one.stream) for one in found.lines("dev").entries] == [(1, "stdout"), (3, "brum"), (4, "stdout")]
    assert found.processes("dev", is_over=False)[0]["status"] == "ready"


@pytest.mark.promise("journal-is-bounded")
def test_a_torn_end_hides_only_the_frame_that_it_tore(tmp_path: Path) -> None:
    data = record_format.encode_lines([line(n, f"line {n} \u2028 ünï") for n in (1, 2, 3)])
    whole = [end for end in range(len(data) + 1) if data[:end].endswith((b"}", b"}\n"))]
    for end in range(len(data) + 1):
        found = record_format.decode_lines(data[:end])
        assert [one.n for one in found] == list(range(1, sum(place <= end for place in whole[::2]) + 1))


def test_garbage_between_frames_is_nothing() -> None:
    data = b"\x00\xff{]\n" + record_format.encode_lines([line(1)]) + b'[[[\n{"n":2}\n' + b"[" * 5000
    assert record_format.decode_lines(data) == [line(1)]
    assert record_format.decode_noted(b'{"n":1,"change":{},"process":{"name":1}}') == []


def test_the_segments_of_a_run_keep_the_promised_output_and_at_most_half_as_much_more(tmp_path: Path) -> None:
    files = RunFiles(ProjectFiles(lambda: tmp_path, ABOUT), stem(GENERATION, 1, "dev"))
    n = 0
    for _ in range(40):
        lines = [line(n + k, "x" * 999) for k in range(1, 201)]
        n += 200
        files.write(lines, [(1, {}, facts())] if n == 200 else [], LostLines(), is_last=False)
    files.write([], [], LostLines(), is_last=True)
    kept = box(tmp_path).lines("dev")
    bytes_kept = sum(len(one.text) + 1 for one in kept.entries)
    assert KEPT_BYTES <= bytes_kept <= KEPT_BYTES * 3 // 2
    assert kept.entries[-1].n == n
    assert kept.gone == [(n - len(kept.entries), kept.entries[0].n)]


def test_the_agents_page_says_how_much_is_kept() -> None:
    (said_mib,) = re.findall(r"the last (\d+) MiB of each run's\s+output", PAGE)
    assert int(said_mib) * 2**20 == KEPT_BYTES


@pytest.mark.parametrize(("limit_bytes", "facts_bytes"), [(DEFAULTS.journal_bytes, FACTS_BYTES), (800_000, 100_000)])
def test_of_the_changes_of_a_run_that_goes_on_and_on_the_newest_stay_and_the_others_are_counted(
    tmp_path: Path, limit_bytes: int, facts_bytes: int
) -> None:
    files = RunFiles(
        ProjectFiles(lambda: tmp_path, ABOUT, Limits(journal_bytes=limit_bytes)), stem(GENERATION, 1, "dev")
    )
    change = {"kind": "error", "lines": ["x" * 200] * 5}
    count = 4 * FACTS_BYTES // 1000
    for n in range(1, count + 1):
        files.write([], [(n, change, facts(urls=[f"http://localhost:{n}"]))], LostLines(), is_last=n == count)
    assert not files.has_failed
    found = box(tmp_path)
    assert found.processes("dev", is_over=False) == [facts(urls=[f"http://localhost:{count}"])]
    kept = found.changes()
    newest = [noted.n for noted in kept.entries]
    assert newest == list(range(count - len(newest) + 1, count + 1))
    assert facts_bytes // 2 < sum(path.stat().st_size for path in files_of(tmp_path)) <= facts_bytes
    assert list(kept.gone) == [(count - len(newest), newest[0])]


def test_changes_that_are_gone_in_between_are_counted_there(tmp_path: Path) -> None:
    files = RunFiles(ProjectFiles(lambda: tmp_path, ABOUT), stem(GENERATION, 1, "dev"))
    files.write([], [(n, {}, facts()) for n in (2, 3, 3, 7, 8)], LostLines(), is_last=True)
    kept = box(tmp_path).changes()
    assert [noted.n for noted in kept.entries] == [2, 3, 7, 8]
    assert [kept.read(f"{GENERATION}.1.{n}", 10, lambda _: True).dropped for n in (0, 1, 3, 7)] == [4, 3, 3, 0]


def test_a_black_box_that_somebody_has_removed_is_begun_anew(tmp_path: Path) -> None:
    files = RunFiles(ProjectFiles(lambda: tmp_path, ABOUT), stem(GENERATION, 1, "dev"))
    files.write([], [(1, {"text": "x" * FACTS_BYTES}, facts())], LostLines(), is_last=False)
    shutil.rmtree(tmp_path / ABOUT.instance_id)
    for n in (2, 3):  # the first finds that it is gone
        files.write([], [(n, {}, facts())], LostLines(), is_last=n == 3)
    assert [noted.n for noted in box(tmp_path).changes().entries] == [2, 3]


@pytest.mark.promise("journal-is-bounded")
def test_the_past_is_bounded_for_each_script_and_in_all(tmp_path: Path) -> None:
    for number in range(1, retention.RUNS_OF_A_SCRIPT + 4):
        written(tmp_path, number, [line(number)], facts(f"loop-{number}"))
    written(tmp_path, 90, [line(90)], facts("quiet-1"))
    names = [run.process["process_id"] for run in box(tmp_path).runs]
    assert len(names) == 1 + retention.RUNS_OF_A_SCRIPT
    assert names[0] == "quiet-1"
    assert "loop-1" not in names
    retention.tidy_project(tmp_path / ABOUT.instance_id, keep=(), limit_bytes=3 * 8192)
    assert [run.process["process_id"] for run in box(tmp_path).runs] == [names[0], *names[1:3]]


@pytest.mark.parametrize("limit_bytes", [64_000, 1_000_000])
@pytest.mark.parametrize("text", ["x", "x" * 200, '"' * 3_000], ids=["short", "ordinary", "escaped"])
def test_all_files_of_a_project_together_are_bounded_and_the_newest_lines_stay(
    tmp_path: Path, limit_bytes: int, text: str
) -> None:
    project = ProjectFiles(lambda: tmp_path, ABOUT, Limits(journal_bytes=limit_bytes))
    n = 0
    for number in range(1, 6):
        files = RunFiles(project, stem(GENERATION, number, f"dev-{number % 2}"))
        for _ in range(4):
            lines = [line(n + k, text) for k in range(1, 1 + limit_bytes // (2 * (len(text) + 100)))]
            n = lines[-1].n
            files.write(lines, [(n, {}, facts(f"dev-{number}"))], LostLines(), is_last=False)
            assert sum(path.stat().st_size for path in files_of(tmp_path)) <= limit_bytes
        files.write([], [], LostLines(), is_last=True)
        assert not files.has_failed
    assert box(tmp_path).lines(None).entries[-1].n == n


def test_who_lives_makes_room_for_others_that_live(tmp_path: Path) -> None:
    project = ProjectFiles(lambda: tmp_path, ABOUT, Limits(journal_bytes=1_000_000))
    runs = [RunFiles(project, stem(GENERATION, number, f"dev-{number}")) for number in (1, 2)]
    for number, run_files in enumerate(runs, start=1):
        lines = [line(10_000 * number + k, "x" * 999, f"dev-{number}") for k in range(1, 1_001)]
        run_files.write(lines, [(number, {}, facts(f"dev-{number}-1"))], LostLines(), is_last=False)
    assert sum(path.stat().st_size for path in files_of(tmp_path)) <= 1_000_000
    kept = [box(tmp_path).lines(f"dev-{number}-1").entries for number in (1, 2)]
    assert [entries[-1].n for entries in kept] == [11_000, 21_000]
    for run_files in runs:
        run_files.write([], [], LostLines(), is_last=True)


def test_projects_of_long_ago_make_room(tmp_path: Path) -> None:
    written(tmp_path, 1, [line(1)], facts())
    old = tmp_path / "old-00000000"
    old.mkdir()
    os.utime(old, (0, 0))
    (tmp_path / "a file").touch()
    retention.tidy_projects(tmp_path, keep=tmp_path / "new-00000000", now_s=2_000_000_000.0)
    assert not old.exists()
    written(tmp_path, 2, [line(1)], facts())
    assert projects(tmp_path) == [ABOUT]


def test_links_and_foreign_files_are_not_followed_and_not_removed(tmp_path: Path) -> None:
    written(tmp_path, 1, [line(1)], facts())
    secret = tmp_path / "secret"
    secret.write_bytes(record_format.encode_lines([line(9, "secret")]))
    directory = tmp_path / ABOUT.instance_id
    (directory / stem(GENERATION, 1, "dev").lines(5)).symlink_to(secret)
    (directory / stem(GENERATION, 2, "dev").facts()).symlink_to(secret)
    (directory / "notes.txt").write_text("mine")
    found = box(tmp_path)
    assert [one.text for one in found.lines(None).entries] == []
    assert len(found.runs) == 1
    retention.tidy_project(directory, keep=(), limit_bytes=0)
    assert (directory / "notes.txt").exists()
    (tmp_path / "link").symlink_to(directory)
    assert BlackBox(tmp_path / "link").runs == []


def test_a_file_that_is_in_the_way_is_never_written_to(tmp_path: Path) -> None:
    written(tmp_path, 1, [], facts())
    target = tmp_path / "target"
    (tmp_path / ABOUT.instance_id / stem(GENERATION, 2, "dev").facts()).symlink_to(target)
    files = RunFiles(ProjectFiles(lambda: tmp_path, ABOUT), stem(GENERATION, 2, "dev"))
    files.write([line(1)], [(1, {}, facts())], LostLines(), is_last=True)
    assert files.has_failed
    assert not target.exists()


def test_lines_of_several_processes_come_in_the_order_in_which_they_were_printed(tmp_path: Path) -> None:
    written(tmp_path, 1, [line(1), line(4)], facts("dev-1"))
    written(tmp_path, 2, [line(2, process="api"), line(3, process="api")], facts("api-1"))
    assert [(one.n, one.process) for one in box(tmp_path).lines(None).entries] == [
        (1, "dev"), (2, "api"), (3, "api"), (4, "dev"),
    ]  # fmt: skip


def test_a_cursor_of_the_live_instance_goes_on_in_the_black_box_and_another_is_reset(tmp_path: Path) -> None:
    written(tmp_path, 1, [line(n) for n in range(5, 11)], facts())
    kept = box(tmp_path).lines(None)
    following = kept.read(f"{GENERATION}.7.1", 2, lambda _: True)
    assert [one.n for one in following.entries] == [8, 9]
    assert (following.cursor, following.cursor_reset) == (f"{GENERATION}.9.1", False)
    rest = kept.read(following.cursor, 100, lambda _: True)
    assert ([one.n for one in rest.entries], rest.cursor) == ([10], f"{GENERATION}.10.1")
    ahead = kept.read(f"{GENERATION}.12.1", 100, lambda _: True)
    assert (ahead.entries, ahead.cursor) == ([], f"{GENERATION}.12.1")
    other = kept.read("another-one.7.1", 100, lambda _: True)
    assert (len(other.entries), other.cursor_reset) == (6, True)
    with pytest.raises(InvalidArguments):
        kept.read("nonsense", 1, lambda _: True)


def test_while_the_instance_may_live_a_cursor_passes_nothing_that_may_still_be_written(tmp_path: Path) -> None:
    old = [line(n) for n in (1, 2)]
    late = [Line(n, "dev", "stdout", f"2026-01-01T00:00:02.00{n}Z", "late") for n in (4, 5)]
    written(tmp_path, 1, [*old, *late], facts())
    kept = box(tmp_path).lines(None, is_over=False)
    newest = kept.read(None, 10, lambda _: True)
    assert ([one.n for one in newest.entries], newest.cursor) == ([1, 2, 4, 5], f"{GENERATION}.2.1")
    following = kept.read(f"{GENERATION}.1.1", 10, lambda _: True)
    assert [one.n for one in following.entries] == [2]
    assert (following.cursor, following.omitted) == (f"{GENERATION}.2.1", 2)
    over = box(tmp_path).lines(None).read(f"{GENERATION}.2.1", 10, lambda _: True)
    assert ([one.n for one in over.entries], over.cursor) == ([4, 5], f"{GENERATION}.5.1")


def test_without_a_cursor_the_newest_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    written(tmp_path, 1, [line(n, "even" if n % 2 == 0 else "odd") for n in range(1, 11)], facts())
    newest = box(tmp_path).lines("dev-1").read(None, 2, lambda one: one.text == "even")
    assert [one.n for one in newest.entries] == [8, 10]
    assert (newest.omitted, newest.dropped) == (3, 0)


def test_what_a_run_has_used_is_told_of_its_end_and_not_of_its_last_change(tmp_path: Path) -> None:
    used: dict[str, Any] = {"cpu_s": 1.5, "memory_max_mib": 61.0}
    written(tmp_path, 1, [], facts(ended_at="2026-01-01T00:00:00.000Z", **used))
    written(tmp_path, 2, [], facts("web-1", ended_at=None, **used))
    for is_over in (True, False):
        web, dev = box(tmp_path).processes(None, is_over=is_over)
        assert {name: dev.get(name) for name in used} == used
        assert not used.keys() & web.keys()


def test_a_run_that_nobody_saw_end_is_lost_once_its_instance_is_gone(tmp_path: Path) -> None:
    written(tmp_path, 1, [], facts())
    over = box(tmp_path).processes(None, is_over=True)[0]
    assert (over["status"], over["pid"]) == (LOST, None)
    assert "its end was not seen" in over["reason"]
    assert box(tmp_path).processes("dev-1", is_over=False)[0]["status"] == "running"
    with pytest.raises(NotFound) as caught:
        box(tmp_path).processes("nobody", is_over=True)
    assert caught.value.context["processes"] == ["dev-1"]


def test_runs_of_earlier_generations_are_distinguished_by_their_ids(tmp_path: Path) -> None:
    written(tmp_path, 1, [line(1, "before")], facts(exit_code=3, status="failed", ended_at="then"), "earlier-one")
    for path in files_of(tmp_path):
        os.utime(path, (1, 1))
    written(tmp_path, 1, [line(1, "after")], facts())
    found = box(tmp_path)
    assert [run["process_id"] for run in found.processes("dev", is_over=True)] == ["dev-1", "dev-1@earlier-one"]
    assert found.lines("dev").entries[0].text == "after"
    assert found.lines("dev-1@earlier-one").entries[0].text == "before"
    alive = box(tmp_path, without=GENERATION)
    assert [run["process_id"] for run in alive.processes("dev", is_over=True)] == ["dev-1@earlier-one"]
    assert [run["exit_code"] for run in alive.processes("dev-1@earlier-one", is_over=True)] == [3]


@pytest.fixture
def crashed(tmp_path: Path) -> BlackBox:
    """Two processes, some lines."""
    written(tmp_path, 1, [line(1, "GET /a 200"), line(2, "GET /b 500"), line(3, "a" * 60 + "!")], facts("dev-1"))
    written(tmp_path, 2, [], facts("api-1"))
    return box(tmp_path)


async def test_a_regular_expression_is_found_in_the_black_box_and_one_that_takes_too_long_is_refused(
    crashed: BlackBox,
) -> None:
    answer = await query.lines(crashed, Wanted(query=r"/\w 5\d\d", regex=True))
    assert [one.n for one in answer["lines"]] == [2]
    with pytest.raises(InvalidArguments):
        await query.lines(crashed, Wanted(query="(a+)+$", regex=True))


async def test_changes_are_kept_beside_the_facts(crashed: BlackBox) -> None:
    answer = await query.changes(crashed, cursor=f"{GENERATION}.0.1", limit=10)
    assert [change["process_id"] for change in answer["changes"]] == ["api-1"]
    assert answer["dropped"] == 0


@pytest.fixture
def failed(tmp_path: Path) -> BlackBox:
    """One that has printed a stack trace, and another."""
    said = [
        *("up", "Traceback (most recent call last):", '  File "/app/a.py", line 3, in <module>', "    go()"),
        *("ValueError: no table", "WARNING slow", "bye"),
    ]
    lines = [Line(n, "dev", "stderr", f"2026-01-01T00:00:0{n}.000Z", text) for n, text in enumerate(said, 1)]
    written(tmp_path, 1, lines, facts())
    written(tmp_path, 2, [line(8, "other", "web")], facts("web-1"))
    return box(tmp_path)


async def test_what_is_left_is_asked_as_a_live_instance_is(failed: BlackBox) -> None:
    async def numbers(**wanted: Any) -> list[int]:
        answer = await query.lines(failed, Wanted(**wanted))
        return [line.n for line in answer["lines"]]

    assert await numbers(level="error") == [2, 3, 4, 5]
    assert await numbers(level="warning", since="2026-01-01T00:00:05Z") == [5, 6]
    assert await numbers(query="WARN", around=1) == [5, 6, 7]
    assert await numbers(query="^bye", regex=True, around=2) == [5, 6, 7]
    answer = await query.lines(failed, Wanted(query="File", around=1, limit_bytes=250))
    assert ([line.n for line in answer["lines"]], answer["hits"], answer["without_context"]) == ([3], [3], 1)
