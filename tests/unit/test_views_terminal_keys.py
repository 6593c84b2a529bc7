"""One table of keys, from which the line and the page of keys are made."""

from brummer.views.terminal.app import TerminalView
from brummer.views.terminal.keys import KEYS, key_line, key_page


def test_every_key_has_one_meaning_and_its_action() -> None:
    names = [name for key in KEYS for name in key.names.split(",")]
    assert len(set(names)) == len(names)
    for key in KEYS:
        assert hasattr(TerminalView, f"action_{key.action.partition('(')[0]}"), key


def test_no_key_needs_what_terminals_keep_for_themselves() -> None:
    names = {name for key in KEYS for name in key.names.split(",")}
    assert not names & {"ctrl+s", "ctrl+q", "escape"}
    assert not any(name.startswith(("alt+", "f1", "f2")) and len(name) > 1 for name in names)


def test_the_line_of_keys_begins_with_how_to_leave_and_has_only_whole_texts() -> None:
    full = key_line(200)
    assert full.startswith("q leave (all runs on)  ? keys  s start/stop")
    assert full.endswith("o open")
    for width in range(130):
        line = key_line(width)
        assert len(line) <= width
        assert full.startswith(line)
        assert not line or full[len(line) : len(line) + 2] in {"  ", ""}


def test_the_page_names_every_key() -> None:
    page = list(key_page())
    assert [line.split()[0] for line in page[: len(KEYS)]] == [key.shown for key in KEYS]
