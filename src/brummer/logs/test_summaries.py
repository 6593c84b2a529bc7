"""The line with the result of a test run or a build: "1 failed, 2 passed", "✓ built in 1.2s". Pure."""

import re
from functools import cache

_WORDS = (
    "pass",
    "fail",
    "built",
    "compiled",
    "finished",
    "ran ",
    "found ",
    "problem",
    "build suc",
    "\nok",
    "done in",
    " warning",
    " error",
)
"""A text without all of them has no summary."""
MAX_LENGTH = 120
SUMMARY_WITHIN = 300
"""Characters of a line that are matched; no summary is longer."""

_TESTS = {
    "pytest": r"=*\s*\d+ (?:passed|failed|errors?|skipped|xfailed|xpassed|warnings?)\b[^\n]* in [\d.]+s\b.*",
    "jest": r"Tests:\s+\d+ .*\d+ total",
    "vitest": r"\s+Tests\s+\d+ .*\(\d+\)",
    "cargo": r"test result: .*",
    "go": r"(?:ok  |FAIL)\t\S+\t(?:[\d.]+s|\(cached\)).*",
    "mocha": r"  \d+ (?:passing|failing|pending)\b.*",
    "node": r"(?:#|\u2139) (?:pass|fail|skipped) \d+",
    "unittest": r"Ran \d+ tests? in [\d.]+s",
    "unittest_result": r"(?:OK|FAILED)(?: \([\w ]+=\d+.*\))?",
}
_BUILD = (
    r"\s*[✓✔√] built in .*|x Build failed in .*|.*\bcompiled (?:successfully|with).*|[ ✓✔]*Compiled .*"
    r"|\s+Finished .* in [\d.]+m?s|Found \d+ errors?\b.*|✖ \d+ problems? \(.*|(?:\[INFO\] )?BUILD (?:SUCC|FAIL)\w+.*"
    r"|\s*Done in [\d.]+ ?m?s.*|\d+ (?:errors?|warnings?)"
)
_COUNT = re.compile(r"(\d+) (failed|failing|passed|passing|skipped|pending|ignored|errors?)\b")
_KINDS = {
    "failed": ("failed", "failing", "fail", "failures"),
    "passed": ("passed", "passing", "pass"),
    "skipped": ("skipped", "pending", "ignored"),
    "errors": ("error", "errors"),
}
_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words}
_ADDS_UP = {"cargo", "go"}
"""They print a summary for each package, and these are added up; a build in between resets the sum."""
_IN_PIECES = {"mocha", "node"}
"""One line for each kind, the passed ones first."""


def may_be_in(lower: str) -> bool:
    """These lines, in lower case, may have a summary."""
    return any(map(f"\n{lower}".__contains__, _WORDS))


class SummaryOfTests:
    """The newest summary of a run. ``text`` is None before the first."""

    def __init__(self) -> None:
        self.text: str | None = None
        self._runner = ""
        self._counts: dict[str, int] = {}

    def read(self, text: str) -> None:
        """Lines of output, without escape sequences."""
        for line in text.split("\n"):
            if may_be_in(line.lower()) and (match := _pattern().match(head := line[:SUMMARY_WITHIN])):
                self._take(match.lastgroup or "", head)

    def _take(self, runner: str, line: str) -> None:
        if runner == "build":
            self._runner, self._counts, self.text = runner, {}, line.strip()[:MAX_LENGTH]
            return
        counts = _counts(runner, line)
        if runner == "unittest_result":
            if self._runner != "unittest":
                return
            total = self._counts["passed"]
            counts["passed"] = total - sum(counts.values())
        elif runner == self._runner and runner in _ADDS_UP:
            counts = {kind: counts.get(kind, 0) + self._counts.get(kind, 0) for kind in {**counts, **self._counts}}
        elif runner == self._runner and runner in _IN_PIECES and "passed" not in counts:
            counts = {**self._counts, **counts}
        self._runner, self._counts = runner, counts
        self.text = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if counts.get(kind)) or "0 passed"


def _counts(runner: str, line: str) -> dict[str, int]:
    if runner == "go":
        return {"passed" if line.startswith("ok") else "failed": 1}
    if runner == "unittest":
        return {"passed": int(line.split()[1])}
    if runner == "node":
        return {_KIND_OF[line.split()[1]]: int(line.split()[2])}
    if runner == "unittest_result":
        return {_KIND_OF[word]: int(number) for word, number in re.findall(r"(failures|errors|skipped)=(\d+)", line)}
    return {_KIND_OF[word]: int(number) for number, word in _COUNT.findall(line)}


@cache
def _pattern() -> re.Pattern[str]:
    """3 ms, once."""
    kinds = {**_TESTS, "build": _BUILD}
    return re.compile("|".join(f"(?P<{name}>(?:{pattern})$)" for name, pattern in kinds.items()))
