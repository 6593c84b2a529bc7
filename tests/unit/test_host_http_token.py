"""The user's HTTP token: made once, readable by its owner only, overridden by a variable that no program inherits."""

import multiprocessing
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.host import http_token as module
from brummer.host.http_token import VARIABLE, TokenUnusable, http_token, take_override

WAIT_S = 30.0


@pytest.fixture(autouse=True)
def _no_override() -> Iterator[None]:
    yield
    module._override.clear()


def test_the_token_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "brummer" / "http-token"
    token = http_token(path)
    assert len(token) >= 40
    assert http_token(path) == token
    assert path.read_text().strip() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["http-token"]


def _made(path: Path, barrier: "multiprocessing.synchronize.Barrier", found: "multiprocessing.Queue[str]") -> None:
    barrier.wait(WAIT_S)
    found.put(http_token(path))


def test_processes_that_make_it_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, found = context.Barrier(8), context.Queue()
    processes = [
        context.Process(target=_made, args=(tmp_path / "state" / "http-token", barrier, found)) for _ in range(8)
    ]
    for process in processes:
        process.start()
    tokens = {found.get(timeout=WAIT_S) for _ in processes}
    for process in processes:
        process.join(WAIT_S)
    assert len(tokens) == 1


def test_a_token_that_another_process_made_meanwhile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "http-token"
    path.write_text("of-another-process")
    path.chmod(0o600)
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    assert http_token(path) == "of-another-process"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "http-token"
    path.write_text("known-to-others")
    path.chmod(mode)
    with pytest.raises(TokenUnusable) as caught:
        http_token(path)
    assert caught.value.context["path"] == str(path)
    assert f"{mode:04o}" in caught.value.message
    assert "known-to-others" not in caught.value.message


def test_a_link_to_any_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("a-secret")
    (tmp_path / "elsewhere").chmod(0o600)
    for target in ("elsewhere", "missing"):
        path = tmp_path / f"link-to-{target}"
        path.symlink_to(tmp_path / target)
        with pytest.raises(TokenUnusable):
            http_token(path)
    assert not (tmp_path / "missing").exists()


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "http-token"
    http_token(path)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(TokenUnusable):
        http_token(path)


@pytest.mark.parametrize("content", ["", "\n", "two words", "caf\u00e9", "a\nb", "\x00"])
def test_a_file_that_holds_no_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "http-token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(TokenUnusable):
        http_token(path)


def test_a_path_that_is_not_a_file_and_a_full_disk_are_refused(tmp_path: Path) -> None:
    (tmp_path / "http-token").mkdir()
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "http-token", tmp_path / "file" / "http-token"):
        with pytest.raises(TokenUnusable):
            http_token(path)


def test_the_variable_overrides_the_file_and_leaves_the_environment(tmp_path: Path) -> None:
    environ = {VARIABLE: "chosen", "OTHER": "1"}
    take_override(environ)
    assert environ == {"OTHER": "1"}
    assert http_token(tmp_path / "http-token") == "chosen"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_variable_overrides_nothing(tmp_path: Path) -> None:
    environ = {VARIABLE: ""}
    take_override(environ)
    assert environ == {}
    assert len(http_token(tmp_path / "http-token")) >= 40


@pytest.mark.parametrize("value", ["two words", "a\r\nb: c", "caf\u00e9"])
def test_an_override_that_no_header_can_carry_is_refused(tmp_path: Path, value: str) -> None:
    take_override({VARIABLE: value})
    with pytest.raises(TokenUnusable) as caught:
        http_token(tmp_path / "http-token")
    assert value not in caught.value.message
