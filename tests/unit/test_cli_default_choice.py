"""What a user answers when `brum up` asks what to start, and how the answer is remembered in .brum.toml."""

import tomllib

import pytest

from brummer.cli.autostart import with_autostart
from brummer.cli.default_choice import picked
from brummer.cli.json_edit import NotUnderstood

NAMES = ["build", "serve", "docs: all", "2"]


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("", []),
        ("  ", []),
        ("1", ["build"]),
        ("serve", ["serve"]),
        ("1 serve", ["build", "serve"]),
        ("3, 1,3", ["docs: all", "build"]),
        ("docs: all", ["docs: all"]),
        ("2", ["2"]),
        ("5", None),
        ("0", None),
        ("1 nope", None),
    ],
)
def test_numbers_and_names_choose_scripts(answer: str, chosen: list[str] | None) -> None:
    assert picked(answer, NAMES) == chosen


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[scripts.serve]\nautostart = true\n"),
        (
            '# ours\n[scripts]\ndb = "x" # a database\n',
            '# ours\n[scripts]\ndb = "x" # a database\n\n[scripts.serve]\nautostart = true\n',
        ),
        (
            "[scripts.serve] # it\n# its port\nenv = { PORT = 1 }\n\n[other]\n",
            "[scripts.serve] # it\nautostart = true\n# its port\nenv = { PORT = 1 }\n\n[other]\n",
        ),
        ("[scripts.serve]\r\nrestart = 'no'\r\n", "[scripts.serve]\r\nautostart = true\r\nrestart = 'no'\r\n"),
        ("[scripts.serve]\nautostart = false\n", "[scripts.serve]\nautostart = true\n"),
        ("[scripts.serve]\nautostart = true", "[scripts.serve]\nautostart = true\n"),
    ],
    ids=["no file", "another script", "its table", "line ends of Windows", "switched off", "switched on"],
)
def test_a_choice_is_remembered_and_all_else_stays(before: str, after: str) -> None:
    assert with_autostart(before, "serve") == after
    assert tomllib.loads(after)["scripts"]["serve"]["autostart"] is True


def test_a_name_that_is_no_bare_key_is_quoted() -> None:
    assert tomllib.loads(with_autostart("", "docs: \u00e4ll"))["scripts"] == {"docs: \u00e4ll": {"autostart": True}}


@pytest.mark.parametrize(
    "text",
    [
        '[scripts]\nserve = "x"\n',
        "scripts = { serve = { env = {} } }\n",
        "[scripts]\nserve.env = {}\n",
        "[",
        "scripts = 7\n",
    ],
    ids=["a command", "one line", "a dotted key", "no TOML", "no table"],
)
def test_a_file_that_can_not_be_changed_is_refused(text: str) -> None:
    with pytest.raises(NotUnderstood):
        with_autostart(text, "serve")
