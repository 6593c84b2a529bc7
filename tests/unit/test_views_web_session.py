"""What is kept of a page's server: its port and its secret, for this user alone and for a working day."""

import stat
from pathlib import Path

import pytest

from brummer.views.web.session import FILE_NAME, SESSION_LASTS_S, WebSession, keep_session, kept_session, new_session

NOW_S = 1_800_000_000.0


def test_a_session_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    session = new_session(4321, NOW_S)
    keep_session(tmp_path, session)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert kept_session(tmp_path, NOW_S + SESSION_LASTS_S - 1) == session


def test_two_sessions_have_two_secrets_which_cannot_be_guessed() -> None:
    first, second = new_session(1, NOW_S), new_session(1, NOW_S)
    assert first.secret != second.secret
    assert len(first.secret) >= 40


@pytest.mark.parametrize("after_s", [SESSION_LASTS_S, SESSION_LASTS_S + 1, -1.0])
def test_a_session_ends_after_a_working_day_or_if_the_clock_was_set_back(tmp_path: Path, after_s: float) -> None:
    keep_session(tmp_path, new_session(4321, NOW_S))
    assert kept_session(tmp_path, NOW_S + after_s) is None


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"port": 0, "secret": "x", "made_at": 1800000000}', "\xff"])
def test_a_file_that_is_damaged_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text, "latin-1")
    (tmp_path / FILE_NAME).chmod(0o600)
    assert kept_session(tmp_path, NOW_S) is None


def test_a_file_that_others_may_read_or_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    session = WebSession(4321, "s" * 43, NOW_S)
    keep_session(tmp_path, session)
    (tmp_path / FILE_NAME).chmod(0o640)
    assert kept_session(tmp_path, NOW_S) is None
    (tmp_path / FILE_NAME).chmod(0o600)
    assert kept_session(tmp_path, NOW_S) == session
    (tmp_path / FILE_NAME).rename(tmp_path / "elsewhere")
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    assert kept_session(tmp_path, NOW_S) is None


def test_nothing_is_kept_where_there_is_no_file(tmp_path: Path) -> None:
    assert kept_session(tmp_path, NOW_S) is None
