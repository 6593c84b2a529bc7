"""What the log says, how often, and what it never says."""

import json
import logging
from collections.abc import Iterator

import pytest

from brummer.core import log
from brummer.core.events import Hook
from brummer.core.log import INTERVAL_S, KINDS, REPEATS, Repeats, fields, without_secrets

TOKEN = "Zk3-secret_of.43~characters+and/then==some"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield root
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level, logging.raiseExceptions = before


def record(template: str, *values: object, at_s: float = 1000.0, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("test", logging.INFO, "", 0, template, values, None)
    made.created = at_s
    made.__dict__.update(fields(**more))
    return made


def summaries(repeats: Repeats, now_s: float | None = None) -> list[str]:
    return [each.getMessage() for each in repeats.over(now_s)]


def test_a_kind_of_line_passes_a_few_times_and_is_then_counted() -> None:
    repeats = Repeats()
    admitted = [repeats.admits(record("%s failed", number)) for number in range(REPEATS + 37)]
    assert admitted == [True] * REPEATS + [False] * 37
    assert summaries(repeats, 1000.0 + INTERVAL_S / 2) == []
    assert summaries(repeats, 1000.0 + INTERVAL_S) == ["… and 37 more: 0 failed"]
    assert repeats.admits(record("%s failed", 99, at_s=1000.0 + INTERVAL_S))


def test_links_and_events_are_counted_apart() -> None:
    repeats = Repeats()
    for _ in range(REPEATS):
        assert repeats.admits(record("moved", link="a", event="link_failed"))
    assert not repeats.admits(record("moved", link="a", event="link_failed"))
    assert repeats.admits(record("moved", link="b", event="link_failed"))
    assert repeats.admits(record("moved", link="a", event="link_proven"))


def test_what_was_cut_short_is_reported_at_the_end_and_when_the_clock_is_set_back() -> None:
    for now_s in (None, 5.0):
        repeats = Repeats()
        for _ in range(REPEATS + 1):
            repeats.admits(record("again"))
        assert summaries(repeats, now_s) == ["… and 1 more: again"]


def test_the_memory_of_kinds_is_bounded() -> None:
    repeats = Repeats()
    for number in range(2 * KINDS):
        list(repeats.over(1000.0))
        repeats.admits(record(f"kind {number}"))
    assert len(repeats._said) <= KINDS + 1


def test_json_lines_carry_fields(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", as_json=True)
    logging.getLogger("x").info("%s moved", "shop", extra=fields(link="shop-1", call="ab-1", took_ms=1.5, level="no"))
    root.handlers[0].flush()
    line = json.loads(capsys.readouterr().err)
    assert line["message"] == "shop moved"
    assert (line["link"], line["call"], line["took_ms"], line["level"]) == ("shop-1", "ab-1", 1.5, "info")


def test_repeats_are_counted_on_stderr(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info")
    for _ in range(REPEATS + 3):
        logging.getLogger("x").info("the same")
    root.handlers[0].close()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["brum: INFO: the same"] * REPEATS + ["brum: INFO: … and 3 more: the same"]


@pytest.mark.promise("no-secret-leaks")
@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_leaves_through_the_log(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    log.configure("debug", as_json=as_json)
    shapes = [
        f"Authorization: Bearer {TOKEN}",
        f"authorization: {TOKEN}",
        f'{{"token":"{TOKEN}","pid":1}}',
        f"Record(name='shop', token='{TOKEN}', pid=1)",
        f"{{'authorization': b'Bearer {TOKEN}'}}",
        f"[(b'authorization', b'Bearer {TOKEN}')]",
        f"?access_token={TOKEN}&x=1",
        f"API_KEY={TOKEN}",
        f"https://me:{TOKEN.replace('/', '')}@example.test/",
        f"x-secret: {TOKEN}",
        json.dumps(json.dumps({"password": TOKEN})),
    ]
    for shape in shapes:
        logging.getLogger("x").info("seen: %s", shape, extra=fields(event=shape, seen=shape))
        error = ValueError(shape)
        logging.getLogger("x").error("defect", exc_info=error, extra=fields(event=f"defect {shape}"))
    root.handlers[0].flush()
    written = capsys.readouterr().err
    assert written.count("***") >= 2 * len(shapes)
    for part in (TOKEN, TOKEN[:10], TOKEN[-12:], TOKEN.replace("/", "")):
        assert part not in written


def test_what_is_no_secret_stays() -> None:
    text = "shop-1: ready -> suspect: HTTP 503 at http://127.0.0.1:7777/mcp?x=token (3 tokens)"
    assert without_secrets(text) == text


def test_a_subscriber_that_fails_affects_no_other(caplog: pytest.LogCaptureFixture) -> None:
    hook: Hook[int] = Hook()
    seen: list[int] = []

    def fails(_: int) -> None:
        raise RuntimeError("no")

    hook.subscribe(fails)
    hook.subscribe(seen.append)
    hook.publish(1)
    assert seen == [1]
    assert "a subscriber failed" in caplog.text


def test_a_line_of_json_about_a_name_that_is_not_utf_8_is_written(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure("info", as_json=True)
    root.warning("%s is odd", "dir\udcff")
    root.handlers[0].flush()
    assert json.loads(capsys.readouterr().err)["message"] == "dir? is odd"


def test_a_hook_without_subscribers_is_not_replaced_by_its_default() -> None:
    hook: Hook[str] = Hook()
    assert (hook or Hook()) is hook  # type: ignore[truthy-bool]
    assert hook.subscribers == 0
