"""`tools/compare_detectors.py`: what counts as found, missed and invented, and what a script asks its tool for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import compare_detectors
from brummer.instance.detect.listing import DETECTORS
from compare_detectors import Verdict, judge, report, score
from listings import KINDS, Kind, Listing
from tests.unit.project_support import Project
from tests.unit.test_detectors import KINDS as CASES

TOOLS = {kind.name: kind for kind in KINDS}
LISTING = Listing(frozenset({"build", "test"}), frozenset({"made"}), frozenset({"hook"}))


def judged(*found: str, has_problem: bool = False) -> Verdict:
    return judge("Makefile", "shop/Makefile", found, LISTING, has_problem=has_problem)


def test_what_the_tool_declares_and_brummer_lacks_is_a_miss() -> None:
    verdict = judged("build", has_problem=True)
    assert (verdict.missed, verdict.ghosts, verdict.unsaid) == (("test",), (), ())
    assert (score("Makefile", [verdict]).recall, score("Makefile", [verdict]).precision) == (0.5, 1.0)


def test_what_the_tool_lacks_is_a_ghost_unless_the_tool_ignores_such_names() -> None:
    verdict = judged("build", "test", "hook", "invented")
    assert verdict.ghosts == ("invented",)
    assert score("Makefile", [verdict]).precision == pytest.approx(2 / 3)


def test_names_that_a_file_generates_count_only_where_no_problem_says_so() -> None:
    assert judged("build", "test").unsaid == ("made",)
    assert judged("build", "test", has_problem=True).unsaid == ()
    assert judged("build", "test", "made").unsaid == ()


def test_a_score_is_over_all_files_of_its_kind_and_below_its_goal_if_one_decides() -> None:
    verdicts = [
        Verdict("Makefile", "a/Makefile", declared=99, right=99),
        Verdict("Makefile", "b/Makefile", declared=1, missed=("x",)),
        Verdict("Makefile", "c/Makefile", refused="missing separator"),
        Verdict("justfile", "c/justfile", declared=1, missed=("x",)),
    ]
    both = score("Makefile", verdicts)
    assert (both.files, both.refused, both.recall, both.is_reached) == (2, 1, 0.99, True)
    assert not score("justfile", verdicts).is_reached


def test_the_report_names_every_miss_and_every_kind_that_is_not_compared() -> None:
    kind = TOOLS["Makefile"]
    verdicts = [judged("build", "invented"), Verdict("Makefile", "b/Makefile", refused="missing separator")]
    text = report(verdicts, [kind], {"Makefile": "GNU Make 4.3"}, [TOOLS["deno.json"]])
    assert "| Makefile | 1 | 2 | 0.5000 | 0.5000 | 1 | 1 | GNU Make 4.3 |" in text
    for line in (
        "- Makefile, shop/Makefile: not found: `test`",
        "- Makefile, shop/Makefile: not there: `invented`",
        "- Makefile, shop/Makefile: generated, and no problem says so: `made`",
        "- deno.json: `deno` is not on PATH",
        "- Makefile, b/Makefile: missing separator",
    ):
        assert line in text.splitlines()


def test_a_kind_is_that_of_a_detector() -> None:
    assert {kind.detector for kind in KINDS} <= DETECTORS.keys()


def named(kind: Kind, project: Project) -> Iterator[str]:
    for script in project.scripts.read().scripts.values():
        if (name := kind.name_of(script)) is not None:
            yield name


@pytest.mark.parametrize(
    ("kind", "case", "names"),
    [
        ("justfile", "just", {"default", "build", "test"}),
        ("Taskfile", "task", {"default", "build", "docs:serve", "docs:build"}),
        ("package.json, yarn", "hooks that yarn does not run", {"prebuild", "build"}),
        ("package.json, npm", "hooks that yarn does not run", set()),
        ("composer.json", "composer", {"test", "serve"}),
        ("pyproject.toml, hatch", "hatch", {"cov", "docs:serve"}),
        ("Cargo.toml, binaries", "cargo, several binaries", {"server", "big", "tool"}),
        ("go.mod, programs", "go", {".", "cmd/api"}),
        ("compose file", "compose", {"db", "web"}),
    ],
)
def test_a_script_asks_for_the_name_that_its_tool_knows(tmp_path: Path, kind: str, case: str, names: set[str]) -> None:
    project = Project(tmp_path)
    for name, content in CASES[case][0].items():
        project.write(name, content)
    assert set(named(TOOLS[kind], project)) >= names
    assert names or not set(named(TOOLS[kind], project))


def test_without_a_namespace_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Makefile would be run as the user otherwise."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["compare_detectors.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="namespace"):
        compare_detectors.main()
