"""Gradle: build, test, and running an application, by the wrapper where there is one."""

import re
from collections.abc import Iterator

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import Table, conflict_in, table_at, toml_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "gradle"
_CATALOG = "gradle/libs.versions.toml"
# A string that is open at the end of its line ends there, so that none can search a text twice.
_COMMENT = re.compile(
    r"""("(?:\\.|[^"\\\n])*(?:"|\\?(?=\n|\Z))|'(?:\\.|[^'\\\n])*(?:'|\\?(?=\n|\Z)))|//[^\n]*|/\*.*?(?:\*/|\Z)""",
    re.DOTALL,
)
_PLUGIN = re.compile(r"""\b(?:id[ (]*|plugin[ ]*[:=][ ]*)["']([\w.-]+)["']|\balias[ (]*libs\.plugins\.([\w.]+)""")
_PLUGINS = re.compile(r"\bplugins\s*\{([^{}]*)\}")
_APPLICATION = re.compile(r"(?:^|[\s;])`?application`?(?=$|[\s;])")
_RUN_BY_PLUGIN = {"org.springframework.boot": "bootRun", "io.quarkus": "quarkusDev", "application": "run"}


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where a plugin brings it, and is applied."""
    yield from conflict_in(text, source)
    gradle = "./gradlew" if project.exists("gradlew") else "gradle"
    text = _COMMENT.sub(r"\1", text)
    plugins: set[str] = set()
    aliases: set[str] = set()
    if any(map(_APPLICATION.search, _PLUGINS.findall(text))):
        plugins.add("application")
    for line in text.split("\n"):
        if "apply false" not in line and "apply(false)" not in line:
            for name, alias in _PLUGIN.findall(line):
                (plugins if name else aliases).add(name or alias)
    if aliases:
        plugins |= _of_catalog(aliases, project)
    if task := next((task for plugin, task in _RUN_BY_PLUGIN.items() if plugin in plugins), None):
        yield Script("run", [gradle, task], source, project.directory)
    for task in ("build", "test"):
        yield Script(task, [gradle, task], source, project.directory)


def _of_catalog(aliases: set[str], project: ProjectDirectory) -> set[str]:
    """The plugins that the project's catalog has by these names; the first of those with the same name."""
    try:
        catalog = toml_table(project.text(_CATALOG)) if project.exists(_CATALOG) else {}
    except BrokenFile:  # gradle says what is wrong with it
        return set()
    plugins: Table = table_at(catalog, ("plugins",)) or {}
    found: dict[str, str] = {}
    for name, plugin in plugins.items():
        if (alias := re.sub(r"[-_]", ".", name)) in aliases:
            found.setdefault(alias, str(plugin.get("id") if isinstance(plugin, dict) else plugin).partition(":")[0])
    return {*found.values()}
