"""The verdict on a tested limit, and the table that shows it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.cli.commands.resource_limits import LIMIT_TESTS, NOT_TESTED, LimitTest, print_findings
from brummer.core.errors import TooLarge
from brummer.limit_tests.answers import OK, of_result, of_rpc_error
from brummer.limit_tests.finding import LimitFinding, Measured, all_held, judged
from brummer.limit_tests.journal import size_bytes_of
from brummer.settings.table import BY_KEY, TABLE
from brummer.wire.mcp.jsonrpc import error_response
from brummer.wire.mcp.tools import failed, structured

HELD = Measured(tested=8, reached=8, edge=8, excess=10, wanted="busy", got={"busy": 10}, recovered=True)


def test_a_limit_held_if_it_was_reached_and_not_passed_and_all_went_on_afterwards() -> None:
    assert judged("max_parked", 8, HELD) == LimitFinding("max_parked", 8, "held", "", HELD)


@pytest.mark.parametrize(
    "change",
    [
        {"reached": 9},
        {"reached": 7},
        {"got": {"busy": 9}},
        {"got": {}},
        {"got": {"busy": 11}},
        {"got": {"busy": 10, "internal": 1}},
        {"recovered": False},
    ],
    ids=str,
)
def test_a_limit_did_not_hold_if_any_of_it_is_otherwise(change: dict[str, Any]) -> None:
    finding = judged("max_parked", 8, msgspec.structs.replace(HELD, **change))
    assert finding.verdict == "broken"
    assert finding.why
    assert not all_held([LimitFinding("max_reply", 1, "held"), finding])


def test_what_was_skipped_is_no_fault() -> None:
    assert all_held([LimitFinding("max_parked", 8, "held"), LimitFinding("open_files", 8, "skipped", "why")])


def test_a_smaller_value_than_the_one_set_is_reported() -> None:
    assert judged("max_parked", 9, HELD).was_scaled_down
    assert not judged("max_parked", 8, HELD).was_scaled_down


@pytest.mark.promise("every-limit-holds")
def test_every_limit_has_a_test_or_a_reason_why_not() -> None:
    limits = {setting.key for setting in TABLE if setting.limit}
    assert {test.key for test in LIMIT_TESTS} | NOT_TESTED.keys() == limits
    assert not {test.key for test in LIMIT_TESTS} & NOT_TESTED.keys()


@pytest.mark.parametrize("test", LIMIT_TESTS, ids=lambda test: test.key)
def test_the_largest_tested_value_is_valid_for_the_setting(test: LimitTest) -> None:
    assert BY_KEY[test.key].least <= test.most


def test_the_table_shows_each_limit_and_says_which_value_was_tested(capsys: pytest.CaptureFixture[str]) -> None:
    broken = judged("max_parked", 8, msgspec.structs.replace(HELD, got={}))
    print_findings([broken, judged("max_in_flight", 9, HELD), LimitFinding("open_files", 64, "skipped", "why")])
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines()]
    assert rows[1][:4] == ["max_parked", "8", "8", "nothing"]
    assert rows[2][:5] == ["max_in_flight", "9", "8", "10", "busy"]
    assert rows[3][:2] == ["open_files", "64"]
    assert shown.out.count("tested with 8") == 1
    assert rows[1][-3:] == ["DID", "NOT", "HOLD"]


def test_answers_are_distinguished_by_their_code() -> None:
    assert of_result(structured({"n": 1})).decoded() == {"n": 1}
    assert of_result(b'{"content":[],"isError":false}').code == OK
    assert of_result(failed(TooLarge("too much"))).code == "too_large"
    answer = msgspec.json.decode(error_response(b"1", -32600, "too much", {"code": "too_large"}), type=dict[str, Any])
    assert of_rpc_error(msgspec.json.encode(answer["error"])).code == "too_large"


def test_a_file_that_is_removed_while_the_black_box_is_measured_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"12345")
    (tmp_path / "removed").symlink_to(tmp_path / "nowhere")  # the listing has it, and it can't be read
    assert size_bytes_of(tmp_path) == 5
