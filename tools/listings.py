"""What the tool of each kind of project file lists, and under which name a script of Brummer asks for the same.

A name is *declared* if a project file says it literally, and *generated* if only running the file shows it. What a
tool lists and people do not run (hooks, private recipes, patterns) is neither.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from brummer.instance.detect import Script
from brummer.instance.detect.listing import DETECTORS
from sandbox import Sandbox


class NotListedError(Exception):
    """The tool refuses this file, so that there is nothing to compare."""


@dataclass(frozen=True)
class Listing:
    """The names of a tool. ``ignored``: a script of such a name is no ghost, and none is no miss."""

    declared: frozenset[str]
    generated: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Kind:
    """``detector``: whose files it reads, those that hold the ``marker``. ``version``: the arguments that print it.
    ``name_of``: what the command of a script asks this tool for, if it does.
    """

    name: str
    tool: str
    version: tuple[str, ...]
    detector: str
    name_of: Callable[[Script], str | None]
    listing: Callable[[Sandbox, Path, str], Listing]
    marker: str = ""


def sources(kind: Kind, folder: Path) -> Iterator[str]:
    """The file that the kind's tool reads in this folder; at most one."""
    for name in DETECTORS[kind.detector]:
        if (folder / name).is_file():
            yield name
            return


def _after(*beginning: str) -> Callable[[Script], str | None]:
    """The last argument, of commands that hold these words in order before it."""

    def name_of(script: Script) -> str | None:
        words = script.command
        if isinstance(words, str):
            return None
        at = next((at for at in range(len(words)) if tuple(words[at : at + len(beginning)]) == beginning), None)
        if at is None or script.package:
            return None
        return words[-1] if len(words) > at + len(beginning) else None

    return name_of


def _json(done: Any) -> Any:
    """What a tool printed; a tool may print warnings before it."""
    if done.returncode:
        raise NotListedError(_said(done))
    text = done.stdout
    begin = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    try:
        return json.loads(text[begin:])
    except ValueError:
        raise NotListedError(f"not JSON: {text[:100]!r} {_said(done)}") from None


def _said(done: Any) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return " ".join(lines)[:200]


# make

_NEVER: Final = "brummer-compares-its-targets"
"""A goal that no Makefile has: make reads its files, prints what it knows, and has nothing to do."""


def _make(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    """``MAKE=:`` keeps it from starting itself in other directories, as a rule for ``.DEFAULT`` would."""
    options = ["--print-data-base", "--no-builtin-rules", "--no-builtin-variables", "--question", "MAKE=:"]
    done = sandbox.run(["make", "-f", source, *options, _NEVER], folder)
    stopped = next((line for line in done.stderr.splitlines() if "***" in line and _NEVER not in line), "")
    _, begin, database = done.stdout.partition("\n# Files\n")
    if stopped or not begin:
        raise NotListedError(stopped or _said(done))
    targets = dict(_make_targets(database.partition("\n# files hash-table stats")[0]))
    written = set(_written_targets(folder, source, set()))
    idle = {name for name, does_something in targets.items() if not does_something and name not in written} | {source}
    return Listing(
        frozenset((targets.keys() & written) - {source}),
        frozenset(targets.keys() - written - idle),
        ignored=frozenset(idle),
    )


def _make_targets(files: str) -> Iterator[tuple[str, bool]]:
    """Explicit targets, and whether they have a recipe or prerequisites. No patterns, and no names that begin with a
    dot or a slash: these are make's own, hidden, or files somewhere else.
    """
    for block in files.split("\n\n"):
        lines = block.strip().splitlines()
        while lines and lines[0].startswith("#") and not lines[0].startswith("# Not a target"):
            lines = lines[1:]
        if lines and (rule := re.match(r"([^#\s:][^:]*?)(?:::?| &::?)(?:\s+(.*))?$", lines[0])):
            name = rule[1].replace("\\ ", " ")
            if name[0] not in "./" and "%" not in name and name != _NEVER:
                yield name, bool(rule[2]) or any("recipe to execute" in line for line in lines)


_INCLUDE: Final = re.compile(r"[ ]*(?:-?include|sinclude)[ \t]+(.*)")


def _written_targets(folder: Path, name: str, seen: set[str]) -> Iterator[str]:
    """Every word before a colon on a line that is no recipe, here and in what is included by a literal name. A file
    outside of this folder is outside of the project.
    """
    file = folder / name
    if name in seen or not file.is_file():
        return
    seen.add(name)
    for line in file.read_text("utf-8", "replace").replace("\\\n", " ").splitlines():
        if included := _INCLUDE.match(line):
            for word in included[1].split():
                if folder in (folder / word).resolve().parents:
                    yield from _written_targets(folder, word, seen)
        elif not line.startswith("\t") and ":" in line:
            yield from line.replace("&:", ":").partition(":")[0].split()


# just


def _just_name(script: Script) -> str | None:
    command = script.command
    return "::".join(command[1:]) if isinstance(command, list) and command[0] == "just" else None


def _just(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    found = _json(sandbox.run(["just", "--unstable", "--justfile", source, "--dump", "--dump-format", "json"], folder))
    names = list(_recipes(found))
    return Listing(
        frozenset(name for name, runs in names if runs), ignored=frozenset(name for name, runs in names if not runs)
    )


def _recipes(module: Any) -> Iterator[tuple[str, bool]]:
    """The name of each that is not private, and whether it runs without arguments."""
    for recipe in module["recipes"].values():
        if not recipe["private"]:
            needs = any(one["default"] is None and one["kind"] != "star" for one in recipe["parameters"])
            if not needs:
                yield recipe["namepath"], True
    for inner in module["modules"].values():
        yield from _recipes(inner)


# Taskfile


def _task(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    found = _json(sandbox.run(["task", "--taskfile", source, "--list-all", "--json", "--no-status"], folder))
    if not found["tasks"]:
        return Listing(frozenset())
    declared: set[str] = set()
    generated: set[str] = set()
    for task in found["tasks"]:
        name = task["task"]  # "name" is its label
        if "*" in name:
            continue
        lines = Path(task["location"]["taskfile"]).read_text("utf-8-sig").splitlines()
        is_written = name.rpartition(":")[2] in lines[task["location"]["line"] - 1]
        (declared if is_written else generated).add(name)
    return Listing(frozenset(declared), frozenset(generated))


# package.json

_BY_NPM: Final = frozenset(
    {"preinstall", "install", "postinstall", "prepublish", "prepublishOnly", "prepack", "postpack", "dependencies"}
)
"""npm's page on scripts: what it runs by itself, on installing and publishing."""


def _npm_name(manager: str) -> Callable[[Script], str | None]:
    return _after(manager, "run")


def _runnable(names: Iterable[str], *, has_hooks: bool) -> Listing:
    names = set(names)
    hooks = {name for name in names if has_hooks and name[:3] == "pre" and name[3:] in names}
    hooks |= {name for name in names if has_hooks and name[:4] == "post" and name[4:] in names}
    hooks |= names & _BY_NPM
    return Listing(frozenset(names - hooks), ignored=frozenset(hooks))


def _npm(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    return _runnable(_json(sandbox.run(["npm", "run", "--json", "--workspaces=false"], folder)), has_hooks=True)


def _pnpm(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    _unpin(folder)
    done = sandbox.run(["pnpm", "--config.verify-deps-before-run=false", "run"], folder)
    if done.returncode:
        raise NotListedError(_said(done))
    return _runnable(re.findall(r"^  (\S.*)$", done.stdout, re.MULTILINE), has_hooks=True)


def _yarn(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    done = sandbox.run(["yarn", "run", "--json"], folder, YARN_IGNORE_PATH="1", YARN_ENABLE_TELEMETRY="0")
    if done.returncode:
        raise NotListedError(_said(done))
    return _runnable((json.loads(line)["name"] for line in done.stdout.splitlines()), has_hooks=False)


def _unpin(folder: Path) -> None:
    """In the copy: pnpm would fetch the version of itself that ``packageManager`` names."""
    for above in (folder, *folder.parents):
        file = above / "package.json"
        if file.is_file():
            text = file.read_text("utf-8", "replace")
            file.write_text(re.sub(r'"packageManager"\s*:', '"wasPackageManager":', text), "utf-8")


def _workspace_name(manager: str) -> Callable[[Script], str | None]:
    def name_of(script: Script) -> str | None:
        words = script.command
        is_ours = isinstance(words, list) and words[:2] == [manager, "run"] and script.package
        return f"{script.package}:{script.task}" if is_ours else None

    return name_of


def _workspace_by(manager: str) -> Callable[[Sandbox, Path, str], Listing]:
    def listing(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
        _unpin(folder)
        declared: set[str] = set()
        ignored: set[str] = set()
        for package in _PACKAGES[manager](sandbox, folder):
            content = json.loads((folder / package / "package.json").read_text("utf-8-sig"))
            of_package = _runnable(content.get("scripts", {}), has_hooks=manager != "yarn")
            declared |= {f"{package}:{name}" for name in of_package.declared}
            ignored |= {f"{package}:{name}" for name in of_package.ignored}
        return Listing(frozenset(declared), ignored=frozenset(ignored))

    return listing


def _npm_packages(sandbox: Sandbox, folder: Path) -> Iterator[str]:
    """By their names, which is all that npm tells; the files say which is where."""
    names = set(_json(sandbox.run(["npm", "pkg", "get", "name", "--workspaces", "--json"], folder)))
    for file in sorted(folder.rglob("package.json")):
        if "node_modules" not in file.parts and file.parent != folder:
            place = str(file.parent.relative_to(folder))
            name = json.loads(file.read_text("utf-8-sig")).get("name", file.parent.name)
            if name in names:
                names.discard(name)
                yield place


def _pnpm_packages(sandbox: Sandbox, folder: Path) -> Iterator[str]:
    for package in _json(sandbox.run(["pnpm", "list", "--recursive", "--depth", "-1", "--json"], folder)):
        if Path(package["path"]) != folder:
            yield str(Path(package["path"]).relative_to(folder))


def _yarn_packages(sandbox: Sandbox, folder: Path) -> Iterator[str]:
    done = sandbox.run(["yarn", "workspaces", "list", "--json"], folder, YARN_IGNORE_PATH="1")
    if done.returncode:
        raise NotListedError(_said(done))
    for line in done.stdout.splitlines():
        if (location := json.loads(line)["location"]) != ".":
            yield location


_PACKAGES: Final = {"npm": _npm_packages, "pnpm": _pnpm_packages, "yarn": _yarn_packages}


# The others


_COMPOSER_EVENTS: Final = frozenset(
    f"{when}-{what}"
    for when in ("pre", "post")
    for what in (
        *("install-cmd", "update-cmd", "status-cmd", "archive-cmd", "autoload-dump", "root-package-install"),
        *("create-project-cmd", "operations-exec", "package-install", "package-update", "package-uninstall"),
        *("dependencies-solving", "file-download", "command-run", "pool-create"),
    )
)
"""The events of composer's page on scripts: it runs what is listed under them."""


def _composer(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    done = sandbox.run(["composer", "run-script", "--list", "--no-interaction", "--no-plugins"], folder)
    if done.returncode:
        raise NotListedError(_said(done))
    names = set(re.findall(r"^  (\S+)", done.stdout, re.MULTILINE))
    return Listing(frozenset(names - _COMPOSER_EVENTS), ignored=frozenset(names & _COMPOSER_EVENTS))


def _deno(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    done = sandbox.run(["deno", "task"], folder)
    if done.returncode:
        raise NotListedError(_said(done))
    tasks = re.findall(r"^- (\S.*?)(?: \((.*)\))?$", done.stdout + done.stderr, re.MULTILINE)
    return Listing(frozenset(name for name, of in tasks if not of), ignored=frozenset(name for name, of in tasks if of))


def _compose(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    """Files of variables that the repository does not hold are made empty: their values name no service."""
    command = ("docker-compose", "--profile", "*", "config", "--services")
    done = sandbox.run(command, folder)
    while missing := re.search(r"env file (\S+) not found", done.stderr):
        file = Path(missing[1])
        if sandbox.root not in file.parents or file.exists():
            break
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        done = sandbox.run(command, folder)
    if done.returncode:
        raise NotListedError(_said(done))
    return Listing(frozenset(done.stdout.split()))


def _procfile(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    done = sandbox.run(["honcho", "-f", source, "check"], folder)
    listed = re.search(r"Valid procfile detected \((.*)\)", done.stderr)
    if not listed:
        raise NotListedError(_said(done))
    return Listing(frozenset(listed[1].split(", ")))


def _rake(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    """Where each task was made, says where it is written. Those with a slash or a dot in their names make files."""
    done = sandbox.run(["rake", "--rakefile", source, "--all", "--where"], folder)
    if "rescue" in (folder / source).read_text("utf-8", "replace") and (folder / "Gemfile").exists():
        gems = sandbox.run(["bundle", "check", "--dry-run"], folder)
        if gems.returncode:
            raise NotListedError("what it rescues needs gems that are not here")
    if done.returncode or not done.stdout:
        raise NotListedError(_said(done))
    declared: set[str] = set()
    generated: set[str] = set()
    files: set[str] = set()
    for name, file, line in re.findall(r"^rake (\S+?)(?:\[.*?\])?\s+(\S+):(\d+):in ", done.stdout, re.MULTILINE):
        if re.search(r"[/.]", name):
            files.add(name)
            continue
        place = folder / file
        is_ours = sandbox.root in place.parents and (place.name == source or place.suffix == ".rake")
        text = place.read_text("utf-8", "replace").splitlines()[int(line) - 1] if is_ours else ""
        is_written = re.search(rf"[:\"']?\b{re.escape(name.rpartition(':')[2])}\b", text) and "#{" not in text
        (declared if is_written else generated).add(name)
    return Listing(frozenset(declared), frozenset(generated - declared), ignored=frozenset(files))


def _poe(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    done = sandbox.run(["poe", "_list_tasks"], folder)
    if done.returncode:
        raise NotListedError(_said(done))
    return Listing(frozenset(done.stdout.split()))


def _pdm(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    """``pdm run`` starts the project's installed programs, too, which it does not list."""
    done = sandbox.run(["pdm", "run", "--json"], folder, PDM_CHECK_UPDATE="0")
    programs = tomllib.loads((folder / source).read_text("utf-8-sig")).get("project", {}).get("scripts", {})
    return Listing(frozenset(name for name in _json(done) if not name.startswith("_")), ignored=frozenset(programs))


def _hatch(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    """Environments inherit the scripts of ``default``; where they are written is what is declared."""
    found = _json(sandbox.run(["hatch", "env", "show", "--json"], folder))
    text = (folder / source).read_text("utf-8-sig")
    declared: set[str] = set()
    inherited: set[str] = set()
    default = found.get("default", {}).get("scripts", {})
    for environment, fields in found.items():
        for script, command in fields.get("scripts", {}).items():
            name = script if environment == "default" else f"{environment}:{script}"
            own = environment == "default" or (default.get(script) != command and f"envs.{environment}" in text)
            (declared if own else inherited).add(name)
    return Listing(frozenset(declared), ignored=frozenset(inherited))


_ALIASES: Final = """
Mix.start()
Code.compile_file("mix.exs")
for {name, _} <- Mix.Project.config()[:aliases] || [], do: IO.puts("alias #{name}")
"""


_MIX_TASKS: Final = frozenset({"run", "test", "phx.server"})
"""Of mix itself and of Phoenix; no file declares them."""


def _mix_name(script: Script) -> str | None:
    words = script.command
    return words[1] if isinstance(words, list) and words[0] == "mix" else None


def _mix(sandbox: Sandbox, folder: Path, source: str) -> Listing:
    done = sandbox.run(["elixir", "-e", _ALIASES], folder)
    if done.returncode:
        raise NotListedError(_said(done))
    names = frozenset(re.findall(r"^alias (.*)$", done.stdout, re.MULTILINE))
    text = (folder / source).read_text("utf-8")
    # As a key, or as the first of a pair; an atom elsewhere is put in by code.
    written = frozenset(
        name for name in names if re.search(rf"\b{re.escape(name)}\"?:|\{{:\"?{re.escape(name)}\b", text)
    )
    return Listing(written, names - written, ignored=_MIX_TASKS)


def _cargo_name(script: Script) -> str | None:
    words = script.command
    is_ours = isinstance(words, list) and words[:2] == ["cargo", "run"] and "--bin" in words
    return words[words.index("--bin") + 1] if is_ours else None


def _cargo(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    found = _json(sandbox.run(["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"], folder))
    if Path(found["workspace_root"]) != folder:
        here = {package["id"] for package in found["packages"] if Path(package["manifest_path"]).parent == folder}
    else:
        here = {package["id"] for package in found["packages"]}
    return Listing(
        frozenset(
            target["name"]
            for package in found["packages"]
            for target in package["targets"]
            if package["id"] in here and target["kind"] == ["bin"]
        )
    )


def _go_name(script: Script) -> str | None:
    words = script.command
    return words[2].removeprefix("./") if isinstance(words, list) and words[:2] == ["go", "run"] else None


def _go(sandbox: Sandbox, folder: Path, _source: str) -> Listing:
    """The programs at the places that are looked at: the top, ``cmd`` and the folders in ``cmd``."""
    folders = [
        place for place in (folder, folder / "cmd", *sorted((folder / "cmd").glob("*"))) if any(place.glob("*.go"))
    ]
    if not folders:
        return Listing(frozenset())
    patterns = [f"./{place.relative_to(folder)}" for place in folders]
    alone = {"GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = sandbox.run(["go", "list", "-e", "-find", "-f", "{{.Name}} {{.Dir}}", *patterns], folder, **alone)
    if any(line.startswith(" ") for line in done.stdout.splitlines()):
        raise NotListedError("it needs the modules that it requires")
    mains = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith("main ")]
    if done.returncode or not done.stdout:
        raise NotListedError(_said(done))
    return Listing(frozenset(str(Path(place).relative_to(folder)) for place in mains))


def _compose_name(script: Script) -> str | None:
    words = script.command
    is_ours = isinstance(words, list) and words[:3] == ["docker", "compose", "up"] and len(words) > 3
    return words[3] if is_ours else None


def _make_name(script: Script) -> str | None:
    name = _after("make")(script)
    return name if name and not name.startswith("/") else None


def _procfile_name(script: Script) -> str | None:
    return script.short_name if script.procfile else None


KINDS: Final = (
    Kind("justfile", "just", ("--version",), "justfile", _just_name, _just),
    Kind("Taskfile", "task", ("--version",), "taskfile", _after("task"), _task),
    Kind("Makefile", "make", ("--version",), "makefile", _make_name, _make),
    Kind("Rakefile", "rake", ("--version",), "rakefile", _after("rake"), _rake),
    Kind("Procfile", "honcho", ("--version",), "procfile", _procfile_name, _procfile),
    Kind("compose file", "docker-compose", ("version",), "compose", _compose_name, _compose),
    Kind("package.json, npm", "npm", ("--version",), "package_json", _npm_name("npm"), _npm),
    Kind("package.json, pnpm", "pnpm", ("--version",), "package_json", _npm_name("pnpm"), _pnpm),
    Kind("package.json, yarn", "yarn", ("--version",), "package_json", _npm_name("yarn"), _yarn),
    *(
        Kind(
            f"workspace, {manager}",
            manager,
            ("--version",),
            "package_json",
            _workspace_name(manager),
            _workspace_by(manager),
        )
        for manager in _PACKAGES
    ),
    Kind("deno.json", "deno", ("--version",), "deno_json", _after("deno", "task"), _deno),
    Kind("composer.json", "composer", ("--version",), "composer_json", _after("composer", "run"), _composer),
    Kind("pyproject.toml, poe", "poe", ("--version",), "pyproject", _after("poe"), _poe, "tool.poe."),
    Kind("pyproject.toml, pdm", "pdm", ("--version",), "pyproject", _after("pdm", "run"), _pdm, "tool.pdm."),
    Kind("pyproject.toml, hatch", "hatch", ("--version",), "pyproject", _after("hatch", "run"), _hatch, "tool.hatch."),
    Kind("mix.exs, aliases", "elixir", ("--short-version",), "mix_exs", _mix_name, _mix),
    Kind("Cargo.toml, binaries", "cargo", ("--version",), "cargo_toml", _cargo_name, _cargo),
    Kind("go.mod, programs", "go", ("version",), "go_mod", _go_name, _go),
)
