"""Cargo.toml: build, test, and the binaries of the package and of its workspace's members."""

import posixpath
from collections.abc import Iterator

from brummer.core.errors import shown
from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import Table, as_table, strings, table_at, tables, toml_line, toml_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "cargo"
_FIRST_EDITION = "2015"
"""The usual one, in which Cargo looks for no binaries beside declared ones."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``build`` and ``test`` of everything; ``run`` where there is one binary, else one script for each by its name."""
    manifest = toml_table(text)
    yield from _mistakes(manifest, text, source)
    everything = ["--workspace"] if "workspace" in manifest else []
    for verb in ("build", "test"):
        yield Script(verb, ["cargo", verb, *everything], source, project.directory)
    binaries = _binaries(manifest, "", project)
    for folder in _members(manifest, text, source, project):
        if isinstance(folder, Mistake):
            yield folder
            continue
        place = f"{folder}/{source}"
        try:
            member = project.text(place)
            manifest = toml_table(member)
            yield from _mistakes(manifest, member, place)
            binaries |= _binaries(manifest, folder, project)
        except BrokenFile as error:
            yield Mistake(place, error.line, error.message)
    for name, arguments in binaries.items():
        called = "run" if len(binaries) == 1 else name
        yield Script(called, ["cargo", "run", *arguments], source, project.directory)


def _mistakes(manifest: Table, text: str, source: str) -> Iterator[Mistake]:
    """What Cargo refuses, and would leave out scripts here."""
    if not manifest.keys() & {"package", "workspace", "project"}:
        yield Mistake(source, 1, "it has neither a package nor a workspace")
    if "package" in manifest and not isinstance(as_table(manifest["package"], "package").get("name"), str):
        yield Mistake(source, toml_line(text, "package"), "the package has no name")
    binaries = manifest.get("bin", [])
    if not isinstance(binaries, list) or not all(isinstance(entry, dict) and _is_named(entry) for entry in binaries):
        yield Mistake(source, toml_line(text, "bin"), "bin is not a list of tables with names")


def _members(manifest: Table, text: str, source: str, project: ProjectDirectory) -> Iterator[str | Mistake]:
    """Those that the workspace names, and the packages in it on which its own package depends."""
    workspace = as_table(manifest.get("workspace", {}), "workspace")
    patterns = workspace.get("members", [])
    refused = [] if strings(patterns) == patterns else ["members is not a list of strings"]
    excluded = {"", *strings(workspace.get("exclude"))}
    refused += [
        f"the member {shown(pattern)} has no Cargo.toml; cargo stops here"
        for pattern in strings(patterns)
        if "*" not in pattern and project.holds(pattern) and not project.exists(f"{pattern}/Cargo.toml")
    ]
    if refused:
        line = toml_line(text, "workspace", "members")
        yield from (Mistake(source, line, message) for message in refused)
    for found in project.all_matching((*strings(patterns), *_paths(manifest)), source):
        if isinstance(found, Mistake):
            yield found
        elif found not in excluded and project.exists(f"{found}/Cargo.toml"):
            excluded.add(found)
            yield found


def _paths(manifest: Table) -> list[str]:
    """Of the dependencies that are folders of this project."""
    if "workspace" not in manifest:
        return []
    kinds = [table_at(manifest, (kind,)) or {} for kind in ("dependencies", "dev-dependencies", "build-dependencies")]
    paths = [entry.get("path") for kind in kinds for entry in kind.values() if isinstance(entry, dict)]
    normal = map(posixpath.normpath, strings(paths))
    return [path for path in normal if path != ".." and not path.startswith(("/", "../"))]


def _binaries(manifest: Table, folder: str, project: ProjectDirectory) -> dict[str, list[str]]:
    """The arguments of ``cargo run`` for each, by name: those declared, and those found where Cargo itself looks."""
    about = as_table(manifest.get("package", {}), "package")
    package = about.get("name")
    if not isinstance(package, str):
        return {}
    base = f"{folder}/" if folder else ""
    declared = {entry["name"]: entry for entry in tables(manifest.get("bin")) if _is_named(entry)}
    names = list(declared)
    paths = [entry.get("path") for entry in declared.values()]
    if about.get("autobins", not declared or about.get("edition", _FIRST_EDITION) != _FIRST_EDITION):
        names += [name for path, name in _found(package, base, project) if path not in paths]
    of_package = ["--package", package] if folder else []
    return {name: [*of_package, "--bin", name, *_features(declared.get(name, {}))] for name in names}


def _features(entry: Table) -> list[str]:
    """Without these Cargo refuses to run it."""
    features = strings(entry.get("required-features"))
    return ["--features", ",".join(features)] if features else []


def _is_named(entry: Table) -> bool:
    return isinstance(entry.get("name"), str)


def _found(package: str, base: str, project: ProjectDirectory) -> Iterator[tuple[str, str]]:
    """The source file of each, seen from the package, and its name."""
    if project.exists(f"{base}src/main.rs"):
        yield "src/main.rs", package
    for found in project.matching(f"{base}src/bin/*"):
        path = found.removeprefix(base)
        name = path.removeprefix("src/bin/")
        if name.endswith(".rs"):
            yield path, name.removesuffix(".rs")
        elif project.exists(f"{found}/main.rs"):
            yield f"{path}/main.rs", name
