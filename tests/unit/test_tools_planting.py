"""The bugs that are planted for the simulation still fit the source."""

from pathlib import Path

import pytest

import brummer
import planting

SOURCES = Path(brummer.__file__).parent
BUGS = planting.bugs()


@pytest.mark.parametrize("name", BUGS)
def test_the_source_has_the_text_of_each_planted_bug_once(name: str) -> None:
    for edit in BUGS[name]["edits"]:
        text = (SOURCES / edit["file"]).read_text("utf-8")
        assert text.count(edit["old"]) == 1, "the step that moved the code moves the bug: tests/planted/bugs.toml"
        compile(text.replace(edit["old"], edit["new"]), edit["file"], "exec")
