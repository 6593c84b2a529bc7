from pathlib import Path

import pytest

from brummer.core.errors import InvalidArguments
from brummer.host.http_token import VARIABLE
from brummer.instance import env_files
from brummer.instance.detect import ProcfileLine, Script
from brummer.instance.environment import (
    LIMIT_BYTES,
    EnvFileUnusable,
    Environment,
    environment_of,
    packed,
    passed_on,
    unpacked,
)
from brummer.instance.script_ports import FIRST, ScriptPorts
from brummer.process.guard import MARK, RUN_MARK

PEM = "-----BEGIN KEY-----\nMIIB\n-----END KEY-----"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("  A = two words  ", {"A": "two words"}),
        ("A=", {"A": ""}),
        ("A=1 # one", {"A": "1"}),
        ("A=a#b", {"A": "a#b"}),
        ("A= # nothing", {"A": ""}),
        ("A='single $B # \\n'", {"A": "single $B # \\n"}),
        ('A="two\\nlines \\"said\\"" # so', {"A": 'two\nlines "said"'}),
        ("A=$HOME/${B:-c}", {"A": "$HOME/${B:-c}"}),
        ('A="\\d+"', {"A": "\\d+"}),
        ('A="C:\\Users\\me"', {"A": "C:\\Users\\me"}),
        (f'A="{PEM}"\nB=2', {"A": PEM, "B": "2"}),
        ("A=one\u2028two\x0bthree", {"A": "one\u2028two\x0bthree"}),
        ("# nothing", {}),
        ("   ", {}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ('A="one\r\ntwo"\r\n', {"A": "one\r\ntwo"}),
        ("A=1\nA=2", {"A": "2"}),
        ('A=it"s', {"A": 'it"s'}),
    ],
)
def test_an_env_file_is_read_as_python_dotenv_does_without_interpolation(text: str, found: dict[str, str]) -> None:
    assert env_files.env_file(text) == (found, [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1", {"A": "1"}),
        ("A = two words", {"A": "twowords"}),
        ("A='two words' # so", {"A": "two words"}),
        ('A="a \\"b\\""', {"A": 'a "b"'}),
        ("A=", {}),
        ("A=a#b", {"A": "a"}),
        ("A=http://me:pw@host/x?y=1", {"A": "http://me:pw@host/x?y=1"}),
        ("A='one\\ntwo'", {"A": "one\ntwo"}),
        ("# nothing\n\n", {}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ],
)
def test_the_env_file_beside_a_procfile_is_read_as_honcho_does(text: str, found: dict[str, str]) -> None:
    assert env_files.beside_procfile(text) == (found, [])


@pytest.mark.parametrize("line", ["A", "=1", "A='open", "A=\0"])
@pytest.mark.parametrize("parse", [env_files.env_file, env_files.beside_procfile])
def test_a_line_that_is_none_is_left_out_and_named_by_its_number(parse: env_files.Parse, line: str) -> None:
    assert parse(f"# first\n\nB=1\n{line}\nC=3\n") == ({"B": "1", "C": "3"}, [4])


@pytest.mark.parametrize("line", ["export A=1", "1A=2", "\ufeffA=1"])
def test_what_honcho_does_not_understand_is_named(line: str) -> None:
    assert env_files.beside_procfile(line) == ({}, [1])


@pytest.mark.parametrize("line", ["A=" + "x " * 20_000 + "'", 'A="' + "\\" * 20_001, "A=" + " " * 20_000 + "'"])
@pytest.mark.parametrize("parse", [env_files.env_file, env_files.beside_procfile])
def test_a_hostile_line_is_over_soon(parse: env_files.Parse, line: str) -> None:
    assert not {"B"} & parse(line).values.keys()


# Ports.


def test_each_line_of_a_procfile_has_the_next_hundred_and_keeps_its_port() -> None:
    taken: set[int] = set()
    ports = ScriptPorts(lambda port: port not in taken)
    assert [ports.port_of(name, 5000 + 100 * n) for n, name in enumerate("abc")] == [5000, 5100, 5200]
    taken |= {5000, 5100, 5200, 5300, 5301}
    assert [ports.port_of(name, 5000 + 100 * n) for n, name in enumerate("abcd")] == [5000, 5100, 5200, 5302]


def test_no_two_scripts_have_the_same_port() -> None:
    ports = ScriptPorts(lambda _: True)
    assert [ports.port_of(name, 5000) for name in "abc"] == [5000, 5001, 5002]


@pytest.mark.parametrize("wanted", [5000, 65_600, 0])
def test_where_no_port_near_is_free_it_is_the_one_that_was_wanted(wanted: int) -> None:
    assert ScriptPorts(lambda _: False).port_of("web", wanted) == wanted


# The whole.


def script(directory: Path, position: int | None = 0, **settings: object) -> Script:
    line = None if position is None else ProcfileLine(position, str(directory))
    return Script("web", "true", "Procfile", str(directory), procfile=line, **settings)  # type: ignore[arg-type]


def prepared(made: Script, **given: str) -> dict[str, str]:
    return environment_of(made, given, ScriptPorts(lambda _: True), "generation", "web-1").variables


def test_the_marks_come_last_and_the_scripts_own_variables_before_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=procfile\nB=procfile\nC=procfile\nBRUMMER_RUN=stolen\n")
    (tmp_path / "own").write_text("B=file\nC=file\n")
    made = script(tmp_path, env_file=str(tmp_path / "own"), environment={"C": "own"})
    found = prepared(made, A="given", D="given")
    assert [found[name] for name in "ABCD"] == ["procfile", "file", "own", "given"]
    assert (found[MARK], found[RUN_MARK]) == ("generation", "generation/web-1")


@pytest.mark.parametrize(
    ("lines", "given", "position", "port"),
    [
        (None, {}, 0, "5000"),
        (None, {}, 2, "5200"),
        ("A=1\n", {"PORT": "3000"}, 1, "3100"),
        ("PORT=7000\n", {"PORT": "3000"}, 1, "7100"),
        (None, {"PORT": ""}, 0, "5000"),
    ],
)
def test_the_ports_of_a_procfile_are_counted_from_that_of_its_env_file_or_of_the_environment(
    tmp_path: Path, lines: str | None, given: dict[str, str], position: int, port: str
) -> None:
    if lines is not None:
        (tmp_path / ".env").write_text(lines)
    found = prepared(script(tmp_path, position), **given)
    assert (found["PORT"], found["HONCHO_PROCESS_NAME"]) == (port, "web.1")


def test_a_port_of_the_users_own_wins(tmp_path: Path) -> None:
    assert prepared(script(tmp_path, environment={"PORT": "80"}))["PORT"] == "80"


def test_a_port_that_is_no_number_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArguments) as caught:
        prepared(script(tmp_path), PORT="web")
    assert caught.value.context["argument"] == "PORT"


def test_a_script_of_another_file_gets_no_port(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    assert prepared(script(tmp_path, None)).keys().isdisjoint({"PORT", "A", "HONCHO_PROCESS_NAME"})


@pytest.mark.parametrize("kind", ["directory", "link to nothing"])
def test_what_is_no_file_beside_a_procfile_is_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".env"
    path.mkdir() if kind == "directory" else path.symlink_to("gone")
    assert prepared(script(tmp_path))["PORT"] == str(FIRST)


def test_an_env_file_beside_a_procfile_that_is_no_text_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(EnvFileUnusable) as caught:
        prepared(script(tmp_path))
    assert caught.value.context["path"] == str(tmp_path / ".env")


@pytest.mark.parametrize(
    ("given", "settings", "wanted"),
    [
        ({}, {}, "1"),
        ({"FORCE_COLOR": "3"}, {}, "3"),
        ({"NO_COLOR": "1"}, {}, None),
        ({"NO_COLOR": ""}, {}, "1"),
        ({}, {"wants_terminal": True}, None),
        ({}, {"environment": {"FORCE_COLOR": "0"}}, "0"),
        ({}, {"environment": {"NO_COLOR": "1"}}, None),
    ],
)
def test_programs_print_colours_into_a_pipe_too_unless_that_is_not_wanted(
    tmp_path: Path, given: dict[str, str], settings: dict[str, object], wanted: str | None
) -> None:
    assert prepared(script(tmp_path, None, **settings), **given).get("FORCE_COLOR") == wanted


def test_python_prints_at_once_unless_that_is_not_wanted(tmp_path: Path) -> None:
    assert prepared(script(tmp_path))["PYTHONUNBUFFERED"] == "1"
    assert prepared(script(tmp_path), PYTHONUNBUFFERED="")["PYTHONUNBUFFERED"] == ""


# What crosses.

SECRET = {VARIABLE: "t" * 40, MARK: "outer", RUN_MARK: "outer/x-1", "MAKEFLAGS": "-j8", "MAKELEVEL": "1"}


def test_the_environment_of_a_command_arrives_as_it_is_but_for_secrets_and_marks() -> None:
    kept = {"A": "1", "EMPTY": "", "LINES": "a\nb=c\n", "RAW": "\udcff\udc80", "BASH_FUNC_x%%": "() {  :\n}", "É": "ü"}
    assert unpacked(packed({**kept, **SECRET})) == kept
    assert passed_on({**kept, **SECRET}) == kept
    assert unpacked(b"A=1\0BRUMMER_HTTP_TOKEN=secret\0") == {"A": "1"}, "from whomever it comes"
    assert unpacked(packed({})) == {}


@pytest.mark.parametrize("data", [b"A\0", b"=1\0", b"A=1\0\0B=2\0", b"\0", b"A=" + b"x" * LIMIT_BYTES])
def test_what_is_no_environment_is_refused_without_showing_it(data: bytes) -> None:
    with pytest.raises(InvalidArguments) as caught:
        unpacked(data)
    assert caught.value.context == {"argument": "environment"}
    assert len(caught.value.message) < 200


def test_an_environment_shows_nothing_of_its_values() -> None:
    assert "secret" not in repr(Environment({"A": "secret"}, "2026-11-30T12:00:00.000Z"))


def test_what_a_shell_changes_with_every_command_makes_no_difference() -> None:
    one, other = Environment({"A": "1", "_": "brum", "SHLVL": "1"}, "1"), Environment({"A": "1", "_": "x"}, "2")
    assert one.is_that_of(other)
    assert not one.is_that_of(Environment({"A": "2"}, "1"))
