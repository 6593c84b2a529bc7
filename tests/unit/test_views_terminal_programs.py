"""How other programs are called."""

from pathlib import Path

import pytest

from brummer.views.terminal.programs import editor, has_browser, pager, place_of

FILE = Path("/p/serve.py")


@pytest.mark.parametrize(
    ("environ", "command"),
    [
        ({}, ["vi", "+10", "/p/serve.py"]),
        ({"EDITOR": "nano -w"}, ["nano", "-w", "+10", "/p/serve.py"]),
        ({"EDITOR": "nano", "VISUAL": "/usr/bin/emacsclient -t"}, ["/usr/bin/emacsclient", "-t", "+10", "/p/serve.py"]),
        ({"EDITOR": "code --wait"}, ["code", "--wait", "--goto", "/p/serve.py:10"]),
        ({"EDITOR": "hx"}, ["hx", "/p/serve.py:10"]),
        ({"EDITOR": "a 'b"}, ["vi", "+10", "/p/serve.py"]),
        ({"VISUAL": " ", "EDITOR": "vim"}, ["vim", "+10", "/p/serve.py"]),
    ],
)
def test_an_editor_opens_the_file_at_the_line(environ: dict[str, str], command: list[str]) -> None:
    assert editor(environ, FILE, 10) == command


def test_without_a_line_it_opens_the_file() -> None:
    assert editor({"EDITOR": "code"}, FILE, None) == ["code", "/p/serve.py"]


def test_a_pager_shows_the_file() -> None:
    assert pager({}, FILE) == ["less", "+G", "/p/serve.py"]
    assert pager({"PAGER": "most -w"}, FILE) == ["most", "-w", "/p/serve.py"]


@pytest.mark.parametrize(
    ("environ", "platform", "has"),
    [
        ({}, "linux", False),
        ({}, "darwin", True),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"WSL_DISTRO_NAME": "Debian"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
    ],
)
def test_a_browser_needs_a_window(environ: dict[str, str], platform: str, *, has: bool) -> None:
    assert has_browser(environ, platform) is has


@pytest.mark.parametrize(
    ("where", "place"),
    [("a.py:10", ("a.py", 10)), ("a.py", ("a.py", None)), ("c:x", ("c:x", None)), ("a:1:2", ("a:1", 2))],
)
def test_a_place_has_a_file_and_perhaps_a_line(where: str, place: tuple[str, int | None]) -> None:
    assert place_of(where) == place
