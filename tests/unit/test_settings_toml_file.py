"""TOML files that know where things stand."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.settings.toml_file import PARTS_LIMIT, SettingsInvalid, load, nearest

PATH = Path("/home/u/p/.brum.toml")
TEXT = '''\
# [not.this] = "one"
first = 1
dotted.key = """[nor]
this = 1"""
brackets = [ # [
  1, "]", {inside = 3},
]
[scripts]
dev = {restart = "always"}
[ scripts . "web app" ]
run = 'a # b'
[[several]]
a = 1
[[several]]
a = 2
b = "\\" # ["
last = 1
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("first", 2),
        ("dotted", 3),
        ("dotted.key", 3),
        ("brackets", 5),
        ("scripts", 8),
        ("scripts.dev", 9),
        ("scripts.web app", 10),
        ("scripts.web app.run", 11),
        ("several.a", 13),
        ("several.b", 16),
        ("several.last", 17),
    ],
)
def test_a_key_and_a_header_know_their_line(key: str, line: int) -> None:
    assert load(PATH, TEXT).line_of(tuple(key.split("."))) == line


def test_what_has_no_line_of_its_own_stands_where_that_stands_which_holds_it() -> None:
    file = load(PATH, TEXT)
    assert file.line_of(("scripts", "dev", "restart")) == 9
    assert file.line_of(("scripts", "web app", "missing")) == 10
    assert file.line_of(("this",)) is file.line_of(("not", "this")) is file.line_of(()) is None


@pytest.mark.parametrize("line", ["{} = 1", "[{}]", "x = {{ {} = 1 }}"])
def test_a_key_of_very_many_parts_is_refused(line: str) -> None:
    """Each line would take half a second and a quarter of a gigabyte."""
    text = "".join(line.format(f"a{number}{'.a' * 8_000}") + "\n" for number in range(60))
    with pytest.raises(SettingsInvalid, match="parts") as caught:
        load(PATH, f"b = 1\n{text}")
    assert caught.value.line == 2


def test_a_key_of_as_many_parts_as_may_be_is_read() -> None:
    key = ["a"] * PARTS_LIMIT
    numbers = ", ".join(["1.5"] * 100)
    assert load(PATH, f"x = [{numbers}]\n{'.'.join(key)} = '{'a' * 15_000}{'.' * 70}'").line_of(tuple(key)) == 2


def test_line_breaks_of_windows_count_as_one() -> None:
    file = load(PATH, TEXT.replace("\n", "\r\n"))
    assert (file.line_of(("brackets",)), file.line_of(("several", "last"))) == (5, 17)


@given(st.lists(st.sampled_from(["1", "'#['", '"\\"]"', "[\n1, # ]\n]", "'''\nx = 1\n'''", '"""a""""', "{b = [1]}"])))
def test_no_value_hides_the_lines_after_it(values: list[str]) -> None:
    statements = [f"key{number} = {value}\n" for number, value in enumerate(values)]
    file = load(PATH, "".join(statements))
    for number in range(len(values)):
        assert file.line_of((f"key{number}",)) == "".join(statements[:number]).count("\n") + 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = = b", 1),
        ("a = 1\n[b", 2),
        ("a = '''\n\n", 3),
        ("a = 1\na = 2", 2),
        ("a = " + "9" * 5_000, None),
        ("a = " + "[" * 10_000, None),
    ],
)
def test_a_text_that_is_no_toml_is_an_error_with_its_file_and_line(text: str, line: int | None) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(PATH, text)
    assert caught.value.context == {"path": str(PATH), "line": line}


def test_an_error_about_a_key_says_where_it_stands() -> None:
    error = load(PATH, TEXT).invalid("no", ("scripts", "dev"), nearest="x")
    assert error.context == {"path": str(PATH), "line": 9, "key": "scripts.dev", "nearest": "x"}
    assert str(error).startswith(f"{PATH}:9: ")


def test_the_nearest_name_is_the_one_that_was_probably_meant() -> None:
    assert nearest("restrat", ["run", "restart", "ready"]) == "restart"
    assert nearest("colour", ["run", "restart"]) is None
