"""How a terminal shows text from other sources."""

import io
import json
import logging
import os
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brummer.core import log
from brummer.core.background_writer import BackgroundWriter
from brummer.core.visible import CLEAR, replaced, visible

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ZERO_WIDTH = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u200c\u200d\u2060\u2064\u206a\u206f\u3164\ufeff\uffa0"
)
MARKS = "\u061c\u200e\u200f"
STYLES = "\ufe00\ufe0e\ufe0f"
C1 = "".join(map(chr, range(0x7F, 0xA0)))
SEPARATORS = "\u2028\u2029"
SURROGATES = "\ud800\udbff\udc00\udfff"
ASTRAL = "\U0001bca0\U0001d173\U000e0001\U000e0041\U000e01ef"
CONTROLS = "".join(map(chr, {*range(0x20)} - {0x09, 0x0A}))


@pytest.mark.parametrize(
    "characters", [BIDI, ZERO_WIDTH, MARKS, STYLES, C1, SEPARATORS, SURROGATES, ASTRAL, CONTROLS], ids=ascii
)
def test_an_invisible_character_is_shown_as_its_number(characters: str) -> None:
    for character in characters:
        shown = visible(f"a{character}b")
        assert shown.isascii()
        assert shown.isprintable()
        assert json.loads(f'"{shown}"') == f"a{character}b", "as JSON it is the same character"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text\twith a tab\nand a second line\n",
        "naïve façade “quoted” … ✓ → │ ░ \ue0b0",
        "日本語 한국어 ไทย",
        "שלום עולם, abc 123",
        "مرحبا بالعالم",
        "می‌خواهم",  # a non-joiner, as Persian has it
        "क्‍ष",  # a joiner, as Hindi has it
        "👩‍💻 👨‍👩‍👧 🏳️‍🌈 ❤️ 1️⃣ ☺︎ 👍🏽",
        "שלום\u200f!",
        "\x1b[31mred\x1b[0m \x1b[38;5;196mred\x1b[m",
        CLEAR,
    ],
)
def test_visible_text_is_unchanged(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user\u200dname", r"user\u200dname"),
        ("1\u200d2", r"1\u200d2"),
        ("a\ufe0fb", r"a\ufe0fb"),
        ("❤\ufe0f\ufe0f", "❤\ufe0f\\ufe0f"),
        ("\u200f1 2", r"\u200f1 2"),
        ("\u200d👩", "\\u200d👩"),
        ("\x1b]0;title\x07", r"\u001b]0;title\u0007"),
        ("\x1b[2J\x1b[1;1H", r"\u001b[2J\u001b[1;1H"),
        ("10%\rdone", r"10%\u000ddone"),
        ("access \u2066// only\u2069 if", r"access \u2066// only\u2069 if"),
    ],
)
def test_a_character_that_is_harmless_elsewhere_is_shown_where_it_misleads(text: str, shown: str) -> None:
    assert visible(text) == shown


HIDDEN = BIDI + ZERO_WIDTH + MARKS + STYLES + C1 + SEPARATORS + CONTROLS
SEEN = "a1 \n😀❤✓\u20e3אשמب\u0915\u094d日"


@given(st.text() | st.text(HIDDEN + SEEN))
def test_nothing_that_is_shown_is_hidden_and_it_is_shown_once(text: str) -> None:
    shown = visible(text)
    categories = {unicodedata.category(character) for character in shown} - {"Co", "Cn"}
    assert not categories & {"Zl", "Zp", "Cs"}
    assert not set(shown) & {*BIDI, *SEPARATORS, *C1, *CONTROLS.replace("\x1b", "")}
    assert visible(shown) == shown


def test_a_log_line_is_one_line_and_shows_invisible_characters() -> None:
    stream = io.StringIO()
    writer = BackgroundWriter(stream, "test", 10_000)
    handler = log._Handler(writer)
    handler.setFormatter(log._Lines("brum: %(levelname)s: %(message)s"))
    record = logging.makeLogRecord(
        {"levelname": "INFO", "msg": "%s is up", "args": ("web\u202e\nbrum: ERROR: x\u0085",)}
    )
    handler.emit(record)
    handler.close()
    assert stream.getvalue() == "brum: INFO: web\\u202e\\nbrum: ERROR: x\\u0085 is up\n"


PROGRAM = r"""
import sys
from brummer.cli import standard_streams
standard_streams.make_usable()
print("a\u202eb", "\udc80")
print("a\u200bb", file=sys.stderr)
print("grün")
standard_streams.finish()
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_standard_streams_show_invisible_characters(encoding: str) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, check=True)
    green = b"gr\xc3\xbcn" if encoding == "utf-8" else b"gr\\xfcn"
    assert done.stdout.splitlines() == [rb"a\u202eb \udc80", green]
    assert done.stderr.splitlines() == [rb"a\u200bb"]


@given(st.text(alphabet=st.sampled_from(f"ab {BIDI}{ZERO_WIDTH}{MARKS}{STYLES}{C1}{SEPARATORS}{CONTROLS}\u05d0\u2764")))
def test_what_replaces_a_character_is_known_by_its_offset(text: str) -> None:
    by_offset = dict(replaced(text))
    assert "".join(by_offset.get(offset, character) for offset, character in enumerate(text)) == visible(text)


def test_a_sequence_of_ours_and_a_line_feed_are_replaced_where_cells_are_drawn() -> None:
    assert dict(replaced("\x1b[31ma\nb")) == {0: "\\u001b", 6: "\\u000a"}
