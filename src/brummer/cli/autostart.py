"""Sets `autostart` of a script in the text of .brum.toml, and leaves all other lines as they are. Pure."""

from pathlib import Path

from brummer.cli.json_edit import NotUnderstood
from brummer.cli.toml_edit import parsed, with_table
from brummer.settings.table import FILE_NAME
from brummer.settings.toml_file import load

SCRIPTS = "scripts"


def with_autostart(text: str, name: str) -> str:
    """Raises NotUnderstood for a text that is no TOML, or has the script in a way that can't be changed."""
    before = parsed(text)
    scripts = before.get(SCRIPTS, {})
    entry = scripts.get(name) if isinstance(scripts, dict) else None
    if not isinstance(entry, dict) or "autostart" in entry:
        members = entry if isinstance(entry, dict) else {} if entry is None else {"command": entry}
        return with_table(text, (SCRIPTS, name), {**members, "autostart": True})
    line = load(Path(FILE_NAME), text).line_of((SCRIPTS, name)) or 1
    lines = text.split("\n")
    lines.insert(line, "autostart = true" + "\r" * lines[line - 1].endswith("\r"))
    after = "\n".join(lines)
    try:
        if parsed(after) == {**before, SCRIPTS: {**scripts, name: {**entry, "autostart": True}}}:
            return after
    except NotUnderstood:
        pass
    raise NotUnderstood(f"set autostart = true in {SCRIPTS}.{name} yourself", line)
