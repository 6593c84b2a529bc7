"""What the terminal view remembers from one time to the next."""

from pathlib import Path

import pytest

from brummer.views.remembered import USUAL, Remembered, recall, remember


def test_what_was_remembered_is_recalled(tmp_path: Path) -> None:
    file = tmp_path / "state" / "view.json"
    what = Remembered(tree_columns=40, wraps=True, shows_times=False, hides_idle=True)
    remember(file, what)
    assert recall(file) == what
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"[]", b'{"tree_columns": 5000}', b"{" * 5_000, b"\xff"])
def test_a_file_that_is_not_understood_is_as_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "view.json"
    assert recall(file) == USUAL
    file.write_bytes(content)
    assert recall(file) == USUAL


def test_a_file_is_written_only_for_something_else(tmp_path: Path) -> None:
    file = tmp_path / "view.json"
    remember(file, USUAL)
    assert not file.exists()


def test_what_can_not_be_written_is_not_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    remember(tmp_path / "file" / "view.json", Remembered(wraps=True))
    assert recall(tmp_path / "file" / "view.json") == USUAL
