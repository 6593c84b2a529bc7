"""What errors look like, one row for each tool or language: where one begins, which lines belong to it, and where its
title and its place are. Only data; `brummer.logs.error_groups` loads it with the first line that may be an error.
"""

import re
from functools import cache
from typing import NamedTuple

_SCRIPT = r"\.[cm]?[jt]sx?|\.vue|\.svelte|\.astro"
_EXCEPTION = r"(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning)"


MAX_BLANKS = 2
"""In a row within one error: between a panic and its goroutines there is one, in a test report two."""
NOTHING = r"(?!)"


class Grammar(NamedTuple):
    """Regular expressions: those of the upper half are matched with one line, from its beginning.

    ``opens``: the first line. ``continues``: each further line; ``blanks`` empty ones in a row may lie between.
    ``takes``: the number of lines after the first that belong to it in any case. ``closes``: the last line, after which
    only ``joins`` continues it. ``prefix``: among the four lines before, the first that belongs to it. ``heading``: one
    line further up that belongs to it.

    ``titles`` and ``places`` are searched in all of the text: the first that is found is the title, its groups joined;
    places are file and line, and the first that is not in a library counts, or the last where the innermost frame comes
    last (``last``). ``is_aftermath``: it only reports that something else has failed, so it counts only if there is no
    other error.
    """

    opens: str
    continues: str = NOTHING
    takes: int = 0
    blanks: int = MAX_BLANKS
    closes: str = NOTHING
    joins: str = NOTHING
    prefix: str = NOTHING
    heading: str = NOTHING
    titles: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    last: bool = False
    is_aftermath: bool = False


_PYTHON_PLACE = (r'File "([^"<]+)", line (\d+)',)
_NO_HOST = r"(?!\w+://|localhost:|[\d.]+:)"
"""A server's address on a line of its own is no place in a file."""
_JS_PLACES = (
    r"\((?:file://)?([^\s()]+):(\d+):\d+\)",
    r"^\s+(?:at |\u276f )(?:async )?(?:file://)?([^\s()]+):(\d+):\d+",
)

GRAMMARS: dict[str, Grammar] = {
    "unittest": Grammar(
        r"(?:FAIL|ERROR): \w+ \(.+\)$",
        r"-{20,}$|Traceback|\s+\S",
        closes=rf"{_EXCEPTION}\b",
        titles=(rf"\A\w+: (\w+) (?s:.*)^({_EXCEPTION}\b.*)",),
        places=_PYTHON_PLACE,
        last=True,
    ),
    "python_group": Grammar(
        r"\s*\+ Exception Group Traceback \(most",
        r"\s+[|+]",
        titles=(r"^\s*\| (\w*ExceptionGroup: .*)",),
        places=_PYTHON_PLACE,
    ),
    "python": Grammar(
        r'Traceback \(most recent call last\):|  File "[^"]+", line \d+$',
        r"\s+\S|Traceback \(most",
        closes=r"[A-Za-z_][\w.]*(?::|$)",
        joins=r"(?:During handling of|The above exception was)",
        titles=(r"\A(?s:.*)^([A-Za-z_][\w.]*(?::.*)?)$",),
        places=_PYTHON_PLACE,
        last=True,
    ),
    "pytest": Grammar(
        r"_{3,} \S.* _{3,}$",
        r"(?![=_]{3,}).*\S",
        titles=(r"\A_+ (\S.*?) _+$(?s:.*?)^E +(.+)",),
        places=(r"^(\S+\.py):(\d+): ",),
        last=True,
    ),
    "jest": Grammar(r"  ● .+", r"  .*\S", titles=(r"● (.+)\s+(.+)",), places=_JS_PLACES),
    "vitest": Grammar(r" ?FAIL  \S+.* > ", r"(?!⎯| ?FAIL ).*\S", titles=(r"FAIL  (\S.*)\n(.+)",), places=_JS_PLACES),
    "mocha": Grammar(
        r"\s+\d+ failing\b", r"\s+\S", titles=(rf"^\s+1\) (.+)(?s:.*?)^\s+({_EXCEPTION}\b.*)",), places=_JS_PLACES
    ),
    "node_test": Grammar(
        r"\s*not ok \d+ -|\s*✖ .+ \([\d.]+ms\)$",
        r"\s+\S",
        titles=(r"not ok \d+ - (.+)(?s:.*?)^\s+error: '?(.+?)'?$", r"(?:not ok \d+ - |✖ )(.+)"),
        places=(r"location: '([^']+):(\d+):\d+'", *_JS_PLACES),
    ),
    "go_test": Grammar(
        r"\s*--- FAIL: \S+",
        r"\s+(?!--- )\S",
        titles=(r"--- FAIL: (\S+).*\n.*_test\.go:\d+: (.+)", r"--- FAIL: (\S+)"),
        places=(r"^\s+(\S+_test\.go):(\d+):",),
    ),
    "go_panic": Grammar(
        r"panic: |fatal error: ",
        r"\[signal |goroutine \d+|\t|\S+\(.*\)$|created by |\s*panic",
        titles=(r"^(?:panic|fatal error): (.+)",),
        places=(r"^\t(\S+\.go):(\d+)",),
    ),
    "go_build": Grammar(
        r"(?:vet: )?[\w./\\-]+\.go:\d+:\d+: ",
        r"\t",
        titles=(r"\.go:\d+:\d+: (.+)",),
        places=(r"([\w./\\-]+\.go):(\d+)",),
    ),
    "rust_panic": Grammar(
        r"thread '.*?'.* panicked at ",
        r"\s+\S|stack backtrace:|note: ",
        takes=1,
        titles=(r"panicked at '(.*)', ", r"^(?!thread ')(.+)"),
        places=(r"panicked at (?:'.*', )?([^\s:']+):(\d+)",),
    ),
    "rust": Grammar(
        r"error(?:\[E\d+\])?: (?!could not compile|aborting due|test failed|process didn't)",
        r"\s+-->|\s*\d*\s*\||\s+[=:]|\.\.\.$|\s*\d+\s",
        titles=(r"^error(?:\[E\d+\])?: (.+)",),
        places=(r"--> (\S+?):(\d+)",),
    ),
    "java": Grammar(
        rf'(?:Exception in thread "[^"]*" )?(?:[a-z]\w*\.)+{_EXCEPTION}\b(?::|$)',
        r"\s+at |\s+\.\.\. \d+ |Caused by: |\s+Suppressed: ",
        titles=(r'^(?:Exception in thread "[^"]*" )?(.+)',),
        places=(r"^\s+at (?!java\.|javax\.|jdk\.|sun\.|kotlin\.|org\.springframework)[^(]*\(([\w$]+\.\w+):(\d+)\)",),
    ),
    "maven": Grammar(
        r"\[ERROR\] \S+\.\w+:\[\d+,\d+\] ", r"\s+\S", titles=(r"\d\] (.+)",), places=(r"(/?\S+\.\w+):\[(\d+),",)
    ),
    "kotlin": Grammar(
        r"e: \S+\.kts?:", titles=(r"\.kts?:[ \d:(),]*(.+)",), places=(r"(?:file://)?([^\s:]+\.kts?):(?: \()?(\d+)",)
    ),
    "typescript": Grammar(
        rf"\S+?(?:{_SCRIPT})(?:\(\d+,\d+\):|:\d+:\d+ -) error TS\d+: ",
        r"\s+\S|\d+\s",
        titles=(r"error (TS\d+: .+)",),
        places=(r"^(\S+?)\((\d+),", r"^(\S+?):(\d+):"),
    ),
    "compiler": Grammar(
        r"(?:\w:)?[^\s:]+\.\w+:\d+:(?:\d+:)? (?:fatal )?error: ",
        r"\s+\S",
        takes=1,
        titles=(r"error: (.+)",),
        places=(r"^((?:\w:)?[^\s:]+):(\d+):",),
    ),
    "eslint": Grammar(
        r"\s+\d+:\d+\s+error\s+\S",
        titles=(r"error\s+(.+?)(?:\s{2,}\S+)?$",),
        places=(r"\A(\S+)\n\s+(\d+):",),
        heading=r"(?:/|\w:[\\/]|\./)\S+\.\w+$",
    ),
    "esbuild": Grammar(
        r"\s*[✘X] \[ERROR\] ", r"\s+\S", titles=(r"\[ERROR\] (.+)",), places=(r"^\s+(\S+):(\d+):\d+:$",)
    ),
    "rollup": Grammar(
        r"error during build:",
        r"\s+\S|\d+: |file: ",
        takes=1,
        titles=(r"^(?!error during)(.+)",),
        places=(r"file: (\S+?):(\d+)", r"\b([\w./-]+\.\w+) \((\d+):\d+\)"),
    ),
    "vite": Grammar(
        r"(?:[\d:]+ (?:[AP]M )?)?\[vite\].*\b[Ee]rror\b",
        r"\s+\S",
        titles=(r"[Ee]rror(?: when [\w ]+)?: (.+)", r"\[vite\] (.+)"),
        places=(r"File: ([^\s:?]+):(\d+)", *_JS_PLACES),
    ),
    "webpack": Grammar(
        r"ERROR in \S+", r".*\S", blanks=0, titles=(r"^(?!ERROR in)(.+)",), places=(r"ERROR in (\S+?)(?::| )(\d+):",)
    ),
    "javascript": Grammar(
        rf"(?:Uncaught |Unhandled \w+ )?(?:\w+ )?{_EXCEPTION}(?: \[\w+\])?:|(?:Uncaught )?Error(?: \[\w+\])?:",
        r"\s+\S|\}|Require stack:|- |Node\.js v\d",
        titles=(rf"^(?:Uncaught |Unhandled \w+ )?((?:\w+ )?(?:{_EXCEPTION}|Error)(?: \[\w+\])?:.*)",),
        places=(rf"\A(?:file://)?{_NO_HOST}(\S+):(\d+)$", *_JS_PLACES),
        prefix=rf"(?:file://)?{_NO_HOST}\S+:\d+$",
    ),
    "shell": Grammar(
        r"(?:/bin/)?\w*sh: (?:line )?(?:\d+: )?.*(?:not found|No such file|cannot open|Permission denied)"
    ),
    "log": Grammar(NOTHING, r"\s{2,}\S|\t"),
    "aftermath": Grammar(
        r"error: (?:could not compile|aborting due|test failed|process didn't|Recipe)|make(?:\[\d+\])?: \*\*\*"
        r"|npm ERR!|npm error|FAILED \S+::|FAIL\t|FAIL$|\s*ELIFECYCLE|error Command failed|exit status \d+$"
        r"|(?:Test Suites|Tests):? .*failed|BUILD FAILED|\[ERROR\] Failed to execute",
        r"npm ERR!|npm error",
        is_aftermath=True,
    ),
}
"""A line belongs to the first grammar whose ``opens`` matches. A ``log`` line names the level of an error; the
indented lines below it belong to it.
"""


@cache
def openers() -> re.Pattern[str]:
    """The first lines of all grammars; `lastgroup` of a match is the name of one. 20 ms, once."""
    return re.compile("|".join(f"(?P<{name}>{grammar.opens})" for name, grammar in GRAMMARS.items()))
