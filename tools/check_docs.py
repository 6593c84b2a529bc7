"""Check what the documentation claims (links, anchors, make targets, names in the code) and what no file may name.

Reads every text file that git tracks or would track; where git has nothing to say, every file outside of
caches, environments and node_modules. Prints one line per fault and exits 1 if there is any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent

# Folders with things that are made, not written; only asked about where there is no git.
MADE = {
    ".git",
    ".bench",
    ".clients",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".coverage",
    ".ruff_cache",
    "__pycache__",
    "dist",
    "node_modules",
}

# Each pattern has one letter in brackets, so that this file does not name what it forbids.
FORBIDDEN = {
    "a package registry's host": re.compile(
        r"p[y]pi\.org|python[h]osted\.org|n[p]mjs\.(?:com|org)|registry\.yarn[p]kg\.com|crate[s]\.io"
        r"|proxy\.gol[a]ng\.org|(?:deb|security|snapshot)\.debia[n]\.org",
        re.IGNORECASE,
    ),
    "a path of one machine": re.compile(r"(?<![\w.~$}-])/(?:[w]ork|[r]oot|tmp/[l]ab)/"),
}

FENCE = re.compile(r"^(?P<fence>```+|~~~+).*?^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(`+)(.+?)\1", re.DOTALL)
INLINE_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\)")
REFERENCE_LINK = re.compile(r"^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE)
HEADING = re.compile(r"^#{1,6}[ ]+(.+?)[ ]*#*$", re.MULTILINE)
EXPLICIT_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
HAS_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# `make` as a command: at the start of a span or of a line of code, perhaps after a prompt or another command.
MAKE_COMMAND = re.compile(r"(?:^|&&|;|\$)[ ]*make((?:[ ]+[\w=./-]+)+)", re.MULTILINE)
# A source file as pages name it: its path, or the end of that; NAME stands for any. A test by its name alone, too.
SOURCE_FILE = re.compile(r"(?:[\w.-]+/)+\w+\.py|test_\w+\.py")
# Names in a source file: "`a`, `B.c` and `D_…` in [`x.py`](…)", also with "of", and "`a` ([`x.py`](…))".
NAMES_IN_FILE = re.compile(
    r"(?P<names>(?:`[^`\n]+`(?:,\s+|\s+and\s+|,\s+and\s+)?)+)\s+(?:(?:in|of)\s+|\()\[`[^`]+`\]\((?P<file>[^)#]+\.py)\)"
)
NAME = re.compile(r"`([A-Za-z_][\w.]*…?)`")
# A module of ours or a name in it, as docstrings refer to it.
REFERENCE = re.compile(r"(?<!`)`(brummer(?:\.\w+)+)`(?!`)")
MAKE_TARGET = re.compile(r"^([a-z][\w-]*):", re.MULTILINE)


def main() -> int:
    texts = dict(read_texts())
    faults = [
        *forbidden_names(texts),
        *broken_links(texts),
        *unknown_targets(texts),
        *broken_references(texts),
        *unknown_files(texts),
        *unknown_names(texts),
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def read_texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not text


def files() -> list[Path]:
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        paths = [ROOT / name for name in done.stdout.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = list(ROOT.rglob("*"))
    kept = [path for path in paths if not any(_is_made(part) for part in path.relative_to(ROOT).parts)]
    return sorted(path for path in kept if path.is_file() and not path.is_symlink())


def _is_made(part: str) -> bool:
    return part in MADE or part.startswith(".venv")


def forbidden_names(texts: dict[Path, str]) -> Iterator[str]:
    for path, text in texts.items():
        for what, pattern in FORBIDDEN.items():
            for found in pattern.finditer(text):
                yield f"{_place(path, text, found.start())}: names {what}: {found[0]}"


def broken_links(texts: dict[Path, str]) -> Iterator[str]:
    for path, text in documents(texts):
        prose = without_code(text)
        for link in [*INLINE_LINK.finditer(prose), *REFERENCE_LINK.finditer(prose)]:
            if not HAS_SCHEME.match(link[1]) and (fault := fault_of(link[1], path, texts)):
                yield f"{_place(path, text, link.start())}: {fault}"


def fault_of(target: str, source: Path, texts: dict[Path, str]) -> str | None:
    """What is wrong with a relative link, or None."""
    file, _, anchor = unquote(target).partition("#")
    aim = (source.parent / file).resolve() if file else source
    if not aim.is_relative_to(ROOT):
        return f"link leaves the repository: {target}"
    if not aim.exists():
        return f"link leads nowhere: {target}"
    if anchor and aim.suffix == ".md" and anchor not in anchors(texts.get(aim, "")):
        return f"no such heading: {target}"
    return None


def anchors(text: str) -> set[str]:
    """The anchors that a forge makes of headings: lower case, words joined by dashes, repeats numbered."""
    found = set(EXPLICIT_ANCHOR.findall(text))
    for heading in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        repeat = 0
        while (name := f"{slug}-{repeat}" if repeat else slug) in found:
            repeat += 1
        found.add(name)
    return found


def unknown_targets(texts: dict[Path, str]) -> Iterator[str]:
    targets = set(MAKE_TARGET.findall(texts[ROOT / "Makefile"]))
    for path, text in documents(texts):
        for code in [*FENCE.finditer(text), *CODE_SPAN.finditer(FENCE.sub(_blank, text))]:
            body = code[2] if code.re is CODE_SPAN else code[0]
            for command in MAKE_COMMAND.finditer(body):
                named = [word for word in command[1].split() if "=" not in word and not word.startswith("-")]
                for target in sorted(set(named) - targets):
                    yield f"{_place(path, text, code.start())}: the Makefile has no target {target}"


def broken_references(texts: dict[Path, str]) -> Iterator[str]:
    source = ROOT / "src"
    modules = {}
    for path, text in texts.items():
        if path.suffix == ".py" and path.is_relative_to(source):
            modules[".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")] = text
    for path, text in texts.items():
        for found in REFERENCE.finditer(text):
            if not _is_there(found[1].split("."), modules):
                yield f"{_place(path, text, found.start())}: there is no {found[1]}"


def _is_there(parts: list[str], modules: dict[str, str]) -> bool:
    """The longest part that is a module has the names that follow."""
    for end in range(len(parts), 0, -1):
        if (text := modules.get(".".join(parts[:end]))) is not None:
            return all(re.search(rf"\b{name}\b", text) for name in parts[end:])
    return False


def unknown_files(texts: dict[Path, str]) -> Iterator[str]:
    known = [f"/{path.relative_to(ROOT)}" for path in texts]
    for path, text in documents(texts):
        for found in CODE_SPAN.finditer(FENCE.sub(_blank, text)):
            named = found[2]
            is_file = SOURCE_FILE.fullmatch(named) and not named.endswith("/NAME.py")
            if is_file and not any(each.endswith(f"/{named}") for each in known):
                yield f"{_place(path, text, found.start())}: there is no file {named}"


def unknown_names(texts: dict[Path, str]) -> Iterator[str]:
    """Names that a page places in a source file in which they are not."""
    for path, text in documents(texts):
        for found in NAMES_IN_FILE.finditer(FENCE.sub(_blank, text)):
            code = texts.get((path.parent / found["file"]).resolve(), "")
            for name in NAME.findall(found["names"]):
                end = "" if name.endswith("…") else r"\b"
                if not all(re.search(rf"\b{part}{end}", code) for part in name.removesuffix("…").split(".")):
                    yield f"{_place(path, text, found.start())}: {found['file']} has no {name}"


def documents(texts: dict[Path, str]) -> Iterator[tuple[Path, str]]:
    return ((path, text) for path, text in texts.items() if path.suffix == ".md")


def without_code(text: str) -> str:
    """The text with code blanked out, so that places stay where they were."""
    return CODE_SPAN.sub(_blank, FENCE.sub(_blank, text))


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _place(path: Path, text: str, offset: int) -> str:
    return f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, offset) + 1}"


if __name__ == "__main__":
    sys.exit(main())
