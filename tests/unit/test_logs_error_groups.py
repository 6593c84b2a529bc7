import pytest

from brummer.logs.error_groups import (
    EXCERPT_LINES,
    MAX_GROUPS,
    MAX_LINES,
    MAX_NEWS,
    UNSEEN_S,
    ErrorGroup,
    PrintedErrors,
)
from brummer.logs.output import Line, Output
from tests.unit import tool_outputs as printed


class Reader:
    """A run whose output is read; `news` is what would be told."""

    def __init__(self) -> None:
        self.printed = PrintedErrors()
        self.news: list[ErrorGroup] = []
        self.now = 1000.0
        self.lines: list[Line] = []
        self._output = Output("gen")
        self._output.follow(lambda batch: self.news.extend(self.printed.read(batch, self.now)))
        self._output.follow(lambda batch: self.lines.extend(batch.lines))
        self._sink = self._output.open("web")

    def read(self, text: str, *, chunk: int = 1_000_000, stream: str = "stdout") -> "Reader":
        data = text.encode()
        for at in range(0, len(data), chunk):
            self._sink.feed("stderr" if stream == "stderr" else "stdout", data[at : at + chunk], 0)
        return self

    def settled(self) -> list[tuple[str, str | None]]:
        """Title and place of every error that is news."""
        self.news += self.printed.settle(self.now)
        return [(group.title, group.where) for group in self.news]


EXPECTED = {
    "PYTHON": [("RuntimeError: no config", "/app/chain.py:8")],
    "PYTHON_SYNTAX": [("SyntaxError: invalid syntax", "/app/syn.py:1")],
    "PYTHON_GROUP": [("ExceptionGroup: two (2 sub-exceptions)", "/app/grp.py:1")],
    "PYTHON_LOGGING": [("KeyError: 'k'", "/app/logx.py:4"), ("ERROR root: plain error", None)],
    "NODE": [("TypeError: bad thing", "/app/e.js:1")],
    "NODE_SYNTAX": [("SyntaxError: Unexpected token ';'", "/app/s.js:1")],
    "NODE_MODULE": [("Error: Cannot find module './nothere'", "/app/nomod.js:1")],
    "NODE_TEST": [("adds: 1 == 2", "/app/t.test.js:2")],
    "JAVAC": [
        ("incompatible types: String cannot be converted to int", "B.java:1"),
        ("cannot find symbol", "B.java:2"),
    ],
    "JAVA": [("java.lang.IllegalStateException: wrapped", "A.java:1")],
    "PYTEST": [
        ("test_sum: AssertionError: sums", "test_p.py:4"),
        ("test_err: KeyError: 'k'", "test_p.py:6"),
        ("T.test_u: AssertionError: 1 != 2", "test_p.py:9"),
    ],
    "UNITTEST": [("test_u: AssertionError: 1 != 2", "/app/test_p.py:9")],
    "RUSTC": [("mismatched types", "crate_a/src/bad.rs:1")],
    "CARGO_RUN": [("index out of bounds: the len is 2 but the index is 5", "src/main.rs:1")],
    "CARGO_TEST": [("assertion `left == right` failed", "src/main.rs:3")],
    "TSC": [
        ("TS2322: Type 'string' is not assignable to type 'number'.", "src/a.ts:1"),
        ("TS2339: Property 'foo' does not exist on type 'string'.", "src/a.ts:2"),
    ],
    "TSC_PRETTY": [
        ("TS2322: Type 'string' is not assignable to type 'number'.", "src/a.ts:1"),
        ("TS2339: Property 'foo' does not exist on type 'string'.", "src/a.ts:2"),
    ],
    "VITEST": [("v/a.test.mjs > adds: AssertionError: expected 2 to be 3 // Object.is equality", "v/a.test.mjs:2")],
    "JEST": [("sum › adds: expect(received).toBe(expected) // Object.is equality", "j/b.test.js:1")],
    "MOCHA": [("sum: AssertionError [ERR_ASSERTION]: 2 == 3", "m/c.js:2")],
    "ESLINT": [("'foo' is not defined", "/app/src/l.js:1")],
    "VITE_BUILD": [("src/w.js (1:28): Expression expected", "/app/src/w.js:1")],
    "VITE_DEV": [
        ('Failed to resolve import "./nope.js" from "src/w.js". Does the file exist?', "/app/src/w.js:1"),
    ],
    "WEBPACK": [
        (
            "Module parse failed: 'import' and 'export' may appear only with 'sourceType: module' (1:0)",
            "./src/wp.js:1",
        )
    ],
    "GO_PANIC": [("runtime error: index out of range [5] with length 2", "/app/main.go:6")],
    "GO_BUILD": [
        ("undefined: missing", "./main.go:6"),
        ('cannot use "a" (untyped string constant) as int value in assignment', "./main.go:9"),
    ],
    "GO_TEST": [("TestHalf", None), ("TestDouble: wrong", "double_test.go:9")],
    "KOTLIN": [("Unresolved reference: missing", "/app/src/Main.kt:3")],
    "MAVEN": [("cannot find symbol", "/app/src/main/java/App.java:12")],
    "GCC": [("expected ';' before 'return'", "main.c:4")],
    "SHELL": [("sh: 1: nothere: not found", None)],
}


@pytest.mark.promise("errors-are-recognised")
@pytest.mark.parametrize("name", EXPECTED)
def test_the_errors_of_a_tool_are_reported_with_title_and_place(name: str) -> None:
    assert Reader().read(getattr(printed, name)).settled() == EXPECTED[name]


def test_every_output_that_was_kept_is_tried() -> None:
    assert {name for name in vars(printed) if name.isupper()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_output_that_comes_in_small_pieces_is_understood_alike(name: str) -> None:
    assert Reader().read(getattr(printed, name), chunk=7).settled() == EXPECTED[name]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("PYTHON", "Traceback (most", "RuntimeError: no config"),
        ("NODE", "/app/e.js:1", "Node.js v"),
        ("JAVA", "Exception in thread", "\t... 2 more"),
        ("CARGO_RUN", "thread 'main'", "note: Some details"),
        ("GO_PANIC", "panic: ", "\t/app/main.go:10"),
        ("PYTHON_LOGGING", "2026-", "KeyError"),
        ("ESLINT", "/app/src/l.js", "  1:14  error"),
    ],
)
def test_a_stack_trace_is_kept_whole(name: str, first: str, last: str) -> None:
    reader = Reader().read("server started\n").read(getattr(printed, name)).read("\nGET / 200\n")
    reader.settled()
    group = reader.news[0]
    by_number = {line.n: line.text for line in reader.lines}
    assert by_number[group.first_n].startswith(first)
    assert by_number[group.last_n].startswith(last)
    assert reader.printed.owns(group.first_n)
    assert not reader.printed.owns(1)
    assert not reader.printed.owns(reader.lines[-1].n)


def test_a_long_trace_is_reported_in_few_lines_that_say_what_is_left_out() -> None:
    reader = Reader().read(printed.PYTHON)
    reader.settled()
    [group] = reader.news
    assert len(group.excerpt) == EXCERPT_LINES
    assert (group.excerpt[0], group.excerpt[-1]) == ("Traceback (most recent call last):", "RuntimeError: no config")
    assert group.excerpt[1].startswith("[… ")


def test_an_error_is_complete_only_when_nothing_can_follow() -> None:
    reader = Reader().read('Traceback (most recent call last):\n  File "/app/a.py", line 1, in <module>\n')
    assert (reader.printed.is_open, reader.news) == (True, [])
    reader.read("ValueError: bad\nserver restarting\n")
    assert (reader.printed.is_open, [group.title for group in reader.news]) == (False, ["ValueError: bad"])


def test_the_streams_do_not_disturb_each_other() -> None:
    reader = Reader()
    for line in printed.PYTHON.splitlines(keepends=True):
        reader.read(line, stream="stderr").read("GET / 200\n")
    assert reader.settled() == EXPECTED["PYTHON"]


def test_repeats_are_counted_whatever_numbers_they_mention_and_told_once() -> None:
    reader = Reader()
    for number in range(100):
        reader.read(f"ERROR user {number} not found\n")
    assert reader.settled() == [("ERROR user 0 not found", None)]
    assert (reader.news[0].count, reader.printed.count) == (100, 100)


def test_what_comes_back_after_a_while_is_news_again() -> None:
    reader = Reader().read(printed.NODE)
    reader.settled()
    reader.now += UNSEEN_S
    assert len(reader.read(printed.NODE).settled()) == 2
    assert reader.news[0] is reader.news[1]
    assert reader.news[0].count == 2


def test_the_first_error_is_the_cause_and_not_what_follows_from_it() -> None:
    reader = Reader().read("make: *** [Makefile:3: all] Error 1\n").read(printed.GCC).read(printed.TSC)
    reader.settled()
    assert reader.printed.first is not None
    assert reader.printed.first.where == "main.c:4"


def test_a_line_about_another_error_is_reported_only_if_it_is_alone() -> None:
    assert Reader().read("npm ERR! code 1\nnpm ERR! path /app\n").settled() == [("npm ERR! code 1", None)]
    after = Reader().read(printed.TSC).read("npm ERR! code 1\n")
    assert after.settled() == EXPECTED["TSC"]


@pytest.mark.parametrize(
    "text",
    [
        "0 errors\n",
        "no errors found\n",
        "compiled without errors\n",
        "GET /errors/panic?fatal=1 200\n",
        "info: retrying after failure\n",
        "error_log=/var/log/x\n",
        "test result: ok. 3 passed; 0 failed\n",
        "12 passed in 0.3s\n",
    ],
)
def test_what_merely_speaks_of_errors_is_none(text: str) -> None:
    assert Reader().read(text).settled() == []


@pytest.mark.parametrize("address", ["http://localhost:3000", "localhost:3000", "127.0.0.1:8000"])
def test_the_address_of_a_server_is_not_the_place_of_the_error_behind_it(address: str) -> None:
    assert Reader().read(f"{address}\nError: no table\n").settled() == [("Error: no table", None)]


def test_a_process_that_fails_in_ever_new_ways_is_bounded() -> None:
    reader = Reader()
    words = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(1000)]
    reader.read("".join(f"ERROR {word}\n" for word in words))
    assert len(reader.settled()) == MAX_NEWS
    assert (len(reader.printed.groups), reader.printed.count) == (MAX_GROUPS, 1000)
    assert reader.printed.first is not None
    assert reader.printed.first.title == "ERROR a"


def test_an_endless_trace_is_bounded() -> None:
    reader = Reader().read("panic: deep\n" + "\t/app/main.go:1\n" * 10 * MAX_LINES)
    reader.settled()
    [group] = reader.news
    assert group.last_n - group.first_n + 1 == 1 + 10 * MAX_LINES


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("PYTEST", "3 failed, 1 passed"),
        ("UNITTEST", "1 failed"),
        ("NODE_TEST", "1 failed, 1 passed"),
        ("JEST", "1 failed, 1 passed"),
        ("VITEST", "1 failed, 1 passed"),
        ("MOCHA", "1 failed, 1 passed"),
        ("CARGO_TEST", "1 failed, 1 passed"),
        ("GO_TEST", "1 failed, 1 passed"),
        ("TSC_PRETTY", "Found 2 errors in the same file, starting at: src/a.ts:1"),
        ("ESLINT", "✖ 2 problems (1 error, 1 warning)"),
        ("JAVAC", "2 errors"),
        ("VITE_BUILD", "x Build failed in"),
        ("NODE", None),
    ],
)
def test_how_a_test_run_or_a_build_went_is_reported(name: str, summary: str | None) -> None:
    found = Reader().read(getattr(printed, name)).printed.summary
    assert found == summary or (found and summary and found.startswith(summary))


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        (
            "Ran 5 tests in 0.1s\n\nFAILED (failures=1, errors=1, skipped=1)\n",
            "1 failed, 2 passed, 1 skipped, 1 errors",
        ),
        ("Ran 5 tests in 0.1s\n\nOK\n", "5 passed"),
        ("✓ built in 1.23s\n", "✓ built in 1.23s"),
        ("BUILD SUCCESSFUL in 3s\n", "BUILD SUCCESSFUL in 3s"),
        ("1 failed, 2 passed in 1s\n3 passed in 1s\n", "3 passed"),
        (
            "test result: ok. 2 passed; 0 failed; 1 ignored\ntest result: ok. 1 passed; 0 failed\n",
            "3 passed, 1 skipped",
        ),
        ("1 passed in 0.1s " + " " * 300 + "9" * 5_000 + " failed\n", "1 passed"),
        ("webpack 5.1 compiled successfully in 90 ms\n", "webpack 5.1 compiled successfully in 90 ms"),
    ],
)
def test_summaries_say_all_that_was_counted(text: str, summary: str) -> None:
    assert Reader().read(text).printed.summary == summary


@pytest.mark.parametrize("token", ["a.", "A.", "a.b.c.Error.", "x/y.", "(a", "1 ", "Aa", "./", "\t", "= 1 failed "])
def test_lines_that_are_made_to_be_slow_are_read_in_no_time(token: str) -> None:
    """Each would take minutes if an expression went back and forth in all of it."""
    line = token * (16_000 // len(token))
    reader = Reader()
    for opening in ("ERROR x", "error during build:", "panic: x", "  ● x", "___ x ___"):
        reader.read(f"{opening}\n" + f"{line} err fail\n" * 20)
    reader.settled()
    assert reader.printed.count >= 1


def test_a_long_error_that_repeats_is_counted_and_not_remembered_word_for_word() -> None:
    reader = Reader()
    for _ in range(3):
        reader.read(
            "panic: deep\n" + "\t/app/main.go:1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" * MAX_LINES + "done\n"
        )
    assert (len(reader.news), reader.news[0].count, reader.printed._same) == (1, 3, {})


def test_all_lines_of_a_long_trace_belong_to_its_error_and_its_title_is_the_last_line() -> None:
    frames = "".join(f'  File "/app/deep.py", line {n}, in f\n    f()\n' for n in range(MAX_LINES))
    reader = Reader().read(f"going\nTraceback (most recent call last):\n{frames}RecursionError: too deep\nover\n")
    assert reader.settled() == [("RecursionError: too deep", "/app/deep.py:98")]
    assert [line.text for line in reader.lines if not reader.printed.owns(line.n)] == ["going", "over"]


@pytest.mark.parametrize(
    "start",
    [
        "INFO:     Started server process [12]",
        "INFO:     Application startup complete.",
        "[nodemon] restarting due to changes...",
        "Restarting 'server.js'",
        " * Restarting with stat",
        "ready on http://127.0.0.1:8000/",
        "  > Local:   http://localhost:5173/",
    ],
)
def test_errors_are_counted_from_the_last_start_of_the_server(start: str) -> None:
    printed = Reader().read(f"ERROR one\nERROR two\n{start}\nERROR three\n").printed
    printed.settle(1.0)
    assert (printed.count, printed.since_start) == (3, 1)
    assert (printed.first and printed.first.title, printed.last and printed.last.title) == ("ERROR one", "ERROR three")


@pytest.mark.parametrize(
    "line", ["we start now", "GET http://localhost:8000/cake failed", "the http://other.example:80"]
)
def test_an_ordinary_line_is_no_start(line: str) -> None:
    printed = Reader().read(f"ERROR one\n{line}\nERROR two\n").printed
    printed.settle(1.0)
    assert printed.since_start == printed.count
