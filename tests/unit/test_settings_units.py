"""Durations and sizes, as people write them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.settings import units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("250ms", 0.25),
        ("7", 7),
        (" 10 M ", 600),
        ("2 min", 120),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, value: float) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("2MiB", 2_097_152), ("64kB", 64_000), ("64 KiB", 65_536), ("1.5gb", 1_500_000_000), ("12B", 12), (4096, 4096)],
)
def test_a_size_is_read_in_bytes(text: object, value: int) -> None:
    assert units.byte_count(text) == value


WRONG = [
    "",
    "s",
    "1 2",
    "-1s",
    "1e3",
    "1.s",
    "5 parsecs",
    "٣s",
    "9" * 99,
    -1,
    True,
    None,
    [],
    float("nan"),
    float("inf"),
]


@pytest.mark.parametrize("value", WRONG, ids=str)
@pytest.mark.parametrize("read", [units.seconds, units.byte_count])
def test_anything_else_is_refused(read: Callable[[object], float], value: object) -> None:
    with pytest.raises(ValueError, match='such as "'):
        read(value)


@given(st.integers(0, 10**15))
def test_a_size_that_is_shown_reads_as_itself(value: int) -> None:
    assert units.byte_count(units.byte_text(value)) == value


@given(st.integers(0, 10**9).map(lambda value: value / 1000))
def test_a_duration_that_is_shown_reads_as_itself_to_the_millisecond(value: float) -> None:
    assert units.seconds(units.seconds_text(value)) == pytest.approx(value, abs=0.0005)


def test_the_largest_whole_unit_is_shown() -> None:
    assert [units.byte_text(value) for value in (0, 999, 64_000, 65_536, 64 << 20, 1 << 30)] == [
        *("0B", "999B", "64kB", "64KiB", "64MiB", "1GiB")
    ]
    assert [units.seconds_text(value) for value in (0, 0.25, 1, 90, 600, 5400, 86_400)] == [
        *("0s", "250ms", "1s", "90s", "10m", "90m", "1d")
    ]
