"""Cargo.toml: build, test, and the binaries of the package and of its workspace's members."""

from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import Table, as_table, strings, tables, toml_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "cargo"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``build`` and ``test`` of everything; ``run`` where there is one binary, else one script for each by its name."""
    manifest = toml_table(text)
    everything = ["--workspace"] if "workspace" in manifest else []
    for verb in ("build", "test"):
        yield Script(verb, ["cargo", verb, *everything], source, project.directory)
    binaries = _binaries(manifest, "", project)
    for folder in _members(manifest, source, project):
        if isinstance(folder, Mistake):
            yield folder
            continue
        place = f"{folder}/{source}"
        try:
            binaries |= _binaries(toml_table(project.text(place)), folder, project)
        except BrokenFile as error:
            yield Mistake(place, error.line, error.message)
    for name, arguments in binaries.items():
        called = "run" if len(binaries) == 1 else name
        yield Script(called, ["cargo", "run", *arguments], source, project.directory)


def _members(manifest: Table, source: str, project: ProjectDirectory) -> Iterator[str | Mistake]:
    workspace = as_table(manifest.get("workspace", {}), "workspace")
    excluded = set(strings(workspace.get("exclude")))
    for found in project.all_matching(strings(workspace.get("members")), source):
        if isinstance(found, Mistake) or (found and found not in excluded and project.exists(f"{found}/Cargo.toml")):
            yield found


def _binaries(manifest: Table, folder: str, project: ProjectDirectory) -> dict[str, list[str]]:
    """The arguments of ``cargo run`` for each, by name: those declared, and those found where Cargo itself looks."""
    package = as_table(manifest.get("package", {}), "package").get("name")
    if not isinstance(package, str):
        return {}
    base = f"{folder}/" if folder else ""
    declared = {entry["name"]: entry.get("path") for entry in tables(manifest.get("bin")) if _is_named(entry)}
    names = list(declared)
    for path, name in _found(package, base, project):
        if path not in declared.values():
            names.append(name)
    of_package = ["--package", package] if folder else []
    return {name: [*of_package, "--bin", name] for name in names}


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
