import contextlib

import pytest

from brummer.instance.dotenv import BadLine, parsed


@pytest.mark.parametrize(
    ("line", "found"),
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
        ("A=postgres://me:pw@localhost/db?x=1", {"A": "postgres://me:pw@localhost/db?x=1"}),
        ("# nothing", {}),
        ("   ", {}),
        ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ('A=it"s', {"A": 'it"s'}),
    ],
)
def test_lines_are_read_as_people_write_them(line: str, found: dict[str, str]) -> None:
    assert parsed(line) == found


@pytest.mark.parametrize("line", ["A", "1A=2", "A='open", 'A="open', "=1", "A='x' y", "A=\0"])
def test_a_line_that_is_none_is_named_by_its_number_and_not_repeated(line: str) -> None:
    with pytest.raises(BadLine) as caught:
        parsed(f"# first\nSECRET=1\n{line}\n")
    assert caught.value.number == 3
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("line", ["A=" + "x " * 20_000 + "'", 'A="' + "\\" * 20_001, "A=" + " " * 20_000 + "'"])
def test_a_hostile_line_is_over_soon(line: str) -> None:
    with contextlib.suppress(BadLine):
        parsed(line)
