"""The bytes of an instance's answers about lines, changes and runs, live and from the black box.

`instance_answers.golden` has one question and its answer a line. An intended change of an answer changes that file:
`tests.unit.golden` writes it. A new question is a new line, first with an empty answer.
"""

import asyncio
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from brummer.instance.black_box import Past
from brummer.instance.manager import Manager
from brummer.instance.scripts import ScriptList
from brummer.instance.tools import instance_tools
from brummer.logs.journal.files import LostLines, ProjectFiles, RunFiles
from brummer.logs.journal.record_format import About, stem
from brummer.logs.output import Line, Output, size_of
from brummer.process.guard import Guard
from brummer.wire.mcp.tools import ToolTable
from tests.unit.agents_page import unnamed_fields
from tests.unit.golden import assert_golden

NOON: Final = 1_767_268_800.0
GOLDEN: Final = Path(__file__).with_name("instance_answers.golden")
VARIES: Final = {
    r"\d{4}-\d\d-\d\dT(?!12:00:0)[\d:.]+Z": "TIME",
    r"(?<!\d)(?!12:00:0)\d\d:\d\d:\d\d(?= |$|,)": "TIME",
    r'"waited_s":[\d.]+': '"waited_s":0',
    r"(after|in) [\d.]+ s": r"\1 0 s",
    r"/[^ ,\")]*/project": "PROJECT",
    r'"pid":\d+': '"pid":1',
    r'"cpu_s":[\d.]+(,"memory_max_mib":[\d.]+)?': '"cpu_s":0',
    r"cpu_s [\d.]+(, memory_max_mib [\d.]+)?": "cpu_s 0",
    r"pid \d+": "pid 1",
    r"UTC, (?!2026-01-01)[\d-]{10}": "UTC, TODAY",
}
"""What differs from run to run."""


class Caller:
    client = ""

    def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Nothing waits long enough."""


def _past_lines() -> list[Line]:
    texts = [
        "starting",
        "WARN slow",
        "Traceback (most recent call last):",
        '  File "a.py", line 1, in f',
        "E: x",
        "bye",
    ]
    return [
        Line(n, "dev", "stderr" if 3 <= n <= 5 else "stdout", f"2026-01-01T12:00:0{n}.000Z", text)
        for n, text in enumerate(texts, 1)
    ]


def _leave_past(root: Path) -> None:
    files = RunFiles(ProjectFiles(lambda: root, About("shop-1", "shop", "/shop")), stem("old", 1, "dev"))
    process = {"process_id": "dev-1", "name": "dev", "status": "running", "pid": 7, "urls": [], "exit_code": None}
    process |= {"signal": None, "started_at": "2026-01-01T12:00:00.000Z", "ended_at": None}
    change = {"n": 1, "at": "2026-01-01T12:00:00.000Z", "kind": "started", "process": "dev", "process_id": "dev-1"}
    files.write(_past_lines(), [(1, change, process)], LostLines(), is_last=True)


def _fill(output: Output) -> None:
    for number in range(1, 41):
        name = "api" if number % 5 == 0 else "web"
        text = f"ERROR number {number}" if number % 7 == 0 else f"line {number} {'x' * 40}"
        output.add_lines(name, "stderr" if number % 3 == 0 else "stdout", [text], NOON + number / 10)


def prepare(tmp_path: Path) -> list[tuple[str, dict[str, Any], str]]:
    """Make a project with a past; returns the rows of the golden file."""
    _leave_past(tmp_path / "past")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "Procfile").write_text(
        "web: true\napi: true\nfails: echo going; echo 'ValueError: no table'; exit 3\n"
        "quick: echo http://localhost:9; printf done\n"
    )
    return [msgspec.json.decode(row) for row in GOLDEN.read_text().splitlines()]


async def answers_of(tmp_path: Path, rows: list[tuple[str, dict[str, Any], str]]) -> list[str]:
    """The answers that are given now."""
    output = Output("gen", max_bytes=30 * size_of(Line(1, "web", "stdout", "", "x" * 48)))
    async with Manager("gen", Guard("gen"), output=output) as manager:
        scripts = ScriptList(tmp_path / "project")
        table = ToolTable(instance_tools(manager, scripts, Past(lambda: tmp_path / "past" / "shop-1", "gen")))
        _fill(output)
        answers = []
        for tool, arguments, _ in rows:
            async with asyncio.timeout(30):
                answer = await table.call(tool, msgspec.json.encode(arguments), Caller())
            text = answer.decode()
            for pattern, instead in VARIES.items():
                text = re.sub(pattern, instead, text)
            answers.append(text)
    return answers


def test_every_field_of_these_answers_is_on_the_agents_page() -> None:
    rows = [msgspec.json.decode(row) for row in GOLDEN.read_text().splitlines()]
    unnamed = [(tool, unnamed_fields(msgspec.json.decode(answer)["structuredContent"])) for tool, _, answer in rows]
    assert len({tool for tool, _ in unnamed}) > 5
    assert [(tool, fields) for tool, fields in unnamed if fields] == []


@pytest.fixture
def golden(tmp_path: Path) -> list[tuple[str, dict[str, Any], str]]:
    return prepare(tmp_path)


async def test_answers_have_the_bytes_that_they_always_had(
    tmp_path: Path, golden: list[tuple[str, dict[str, Any], str]]
) -> None:
    answers = await answers_of(tmp_path, golden)
    rows = zip(golden, answers, strict=True)
    assert_golden(GOLDEN, [msgspec.json.encode((tool, arguments, now)) for (tool, arguments, _), now in rows])
