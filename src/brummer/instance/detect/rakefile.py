"""Rakefile: the tasks written in it and in the files that it loads, and those of well-known libraries.

Ruby is not parsed. A task is known by the beginning of its line, and its namespace by the indentation. Where a loop, a
method or a library makes names, a problem says so.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from brummer.instance.detect import BrokenFile, Mistake, Script, UnreadNames
from brummer.instance.detect.decoding import conflict_in
from brummer.instance.detect.listing import NAME_LIMIT
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "rake"
FILES_LIMIT = 100
"""That one Rakefile loads; large projects have a few dozen."""
PARENTS_LIMIT = 32
"""Directories around one that a task makes, each of which is a task, too; trees that people make are flatter."""
_LIBRARY_DIRECTORY = "rakelib/*.rake"
"""What rake loads by itself."""
_RAILS = "lib/tasks/**/*.rake"

_STATEMENT = re.compile(
    r"""(?:desc\b[^;\n]*;\s*)?(?:[@$]?\w+\s*(?:\|\|)?=\s*)?
    (?:(?P<word>multitask|task|file_create|file|directory|namespace|load|import|require_relative|require|def)\b(?![?!.])
    |(?P<class>[A-Z]\w*(?:::[A-Z]\w*)*)\.(?P<method>new|create|define_task|install_tasks|add_rakelib)\b
    |(?P<rails>[\w:.]*\.load_tasks\b))
    (?P<rest>.*)""",
    re.VERBOSE,
)
_LITERAL = re.compile(
    r"""\s*+\(?+\s*+\{?+\s*+
    (?::?"(?P<double>(?:[^"\\#]|\\.|\#(?!\{))*)"|:?'(?P<single>(?:[^'\\]|\\.)*)'
    |:(?P<symbol>[A-Za-z_]\w*[?!]?)|(?P<key>[A-Za-z_]\w*[?!]?)(?=:(?!:)))
    (?=\s*(?:$|[,)}\#;:{]|=>|do\b|if\b|unless\b|rescue\b))""",
    re.VERBOSE,
)
_ARGUMENT = re.compile(r"\s*\(\s*[^\s)]|[ \t]+(?:[\w@$\"':%{]|\*\w)(?!\s*[-+*/|&]?=(?!>))")
"""Of a call with arguments that are no literal; ``file = x`` and ``file.close`` are none."""
_GLOB = re.compile(r"""(?:\bDir(?:\.glob)?|\bFileList)\s*[(\[]\s*["']([^"'#\n]+\.rake)["']""")
_TASK = re.compile(r"""^[ \t]*(?:multitask|task|namespace)[ (]+[:"']""", re.MULTILINE)
_BLOCK_NAME = re.compile(r"[a-z_]\w*\.name\s*=(?!=)(.*)")
_HEREDOC = re.compile(r"""<<[~-]?(["']?)([A-Z_]\w*)\1""")
_METHOD_IN_ONE_LINE = re.compile(r"\bend\s*(?:#.*)?$|^def\s+[\w.?!]+\s*+(?:\([^()]*\))?+\s*+=\s")
_END = re.compile(r"end\b|\}")
_JRUBY = re.compile(r"(?:els)?if\b[^#]*['\"/]j(?:ruby|ava)\b")
"""RUBY_ENGINE and RUBY_PLATFORM of a Ruby on Java; what follows is not there in the usual one."""
_WITHOUT_ARGUMENTS = re.compile(r"\s*(?:\(\s*\)\s*)?(?:$|#|do\b|\{|rescue\b|if\b|unless\b|;)")

_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    "rake/clean": ("clean", "clobber"),
    "standard/rake": ("standard", "standard:fix", "standard:fix_unsafely"),
}
_GEM: Final = (
    *("build", "build:checksum", "install", "install:local", "release"),
    *("release:guard_clean", "release:rubygem_push", "release:source_control_push"),
)
_LIBRARIES["bundler/gem_tasks"] = (*_GEM, "clean", "clobber")
_PACKAGE: Final = ("package", "repackage", "clobber_package", "clobber")

_CLASSES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "Rake::TestTask": ("test", ("{}",)),
    "RSpec::Core::RakeTask": ("spec", ("{}",)),
    "RuboCop::RakeTask": ("rubocop", ("{}", "{}:auto_correct", "{}:autocorrect", "{}:autocorrect_all")),
    "Cucumber::Rake::Task": ("cucumber", ("{}",)),
    "YARD::Rake::YardocTask": ("yard", ("{}",)),
    "RDoc::Task": ("rdoc", ("{}", "clobber_{}", "re{}", "clobber")),
    "Rake::RDocTask": ("rdoc", ("{}", "clobber_{}", "re{}", "clobber")),
    "Minitest::TestTask": ("test", ("{}", "{}:cmd", "{}:deps", "{}:isolated", "{}:slow", "default")),
    "Rake::Task": ("", ("{}",)),
    "Rake::FileTask": ("", ("{}",)),
    "Rake::MultiTask": ("", ("{}",)),
    "Rake::PackageTask": ("package", _PACKAGE),
    "Gem::PackageTask": ("package", (*_PACKAGE, "gem")),
    "Bundler::GemHelper": ("build", _GEM),
}
"""The usual name of what each makes, and its tasks; an empty one: there is none."""
_NO_TASKS: Final = re.compile(
    r"(?:rake|rake/(?:testtask|packagetask|extensiontask|javaextensiontask|rdoctask|gempackagetask|tasklib|version|dsl.*)"
    r"|rspec/core/rake_task|rubocop/rake_task|rubygems/package_task|minitest/test_task|cucumber/rake/task|rdoc/task"
    r"|yard/rake/yardoc_task)\Z"
)
"""What must be required for tasks, and makes none by itself."""
_MAY_HAVE_TASKS: Final = re.compile(r"(?:^|[/_])(?:rake|tasks?)(?:\.rb)?(?:$|/|_tasks?(?:\.rb)?$)")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script for each task, also without a description."""
    rake = ["bundle", "exec", "rake"] if project.exists("Gemfile") else ["rake"]
    reader = _RakefileReader(project)
    reader.read(text, source)
    for found in [*project.all_matching([_LIBRARY_DIRECTORY], source)]:
        if isinstance(found, Mistake):
            reader.problems.append(found)
        else:
            reader.load([found])
    for name, place in reader.tasks.items():
        yield Script(name, [*rake, name], place, project.directory)
    yield from reader.problems
    for names in reader.unread:
        yield from names.problem()


@dataclass
class _RubyBlock:
    """An open namespace or method. ``name``: what stands before the names in it; None if only Ruby knows it.
    ``is_skipped``: what is in it is for another Ruby.
    """

    line: int
    indent: int
    name: str | None
    is_namespace: bool
    is_skipped: bool = False


@dataclass
class _RakefileReader:
    project: ProjectDirectory
    tasks: dict[str, str] = field(default_factory=dict)
    problems: list[Mistake] = field(default_factory=list)
    unread: list[UnreadNames] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def read(self, text: str, source: str) -> None:
        """One file, and then what it loads."""
        self.files.add(source)
        file = _RubyFile(self.project, source)
        file.read(text)
        for name in file.tasks:
            self.tasks.setdefault(name, source)
        self.problems += [*conflict_in(text, source), *file.problems]
        self.unread.append(file.unread)
        self.load(file.loads)

    def load(self, names: list[str]) -> None:
        """Files of the project, each once."""
        for name in names:
            if name in self.files or len(self.files) > FILES_LIMIT:
                continue
            self.files.add(name)
            try:
                text = self.project.text(name)
                if _MAY_HAVE_TASKS.search(name) or name.endswith(".rake") or _TASK.search(text):
                    self.read(text, name)
            except BrokenFile as error:
                self.problems.append(Mistake(name, error.line, error.message))


class _RubyFile:
    """What one file says."""

    def __init__(self, project: ProjectDirectory, source: str) -> None:
        self.tasks: dict[str, None] = {}
        self.loads: list[str] = []
        self.problems: list[Mistake] = []
        self.unread = UnreadNames(source)
        self._project = project
        self._source = source
        self._blocks: list[_RubyBlock] = []
        self._has_glob = False

    def read(self, text: str) -> None:
        """Stops where the indentation does not show the namespace."""
        lines = text.split("\n")
        for number, line in _code(lines):
            indent = len(line.expandtabs()) - len(line.expandtabs().lstrip())
            code = line.strip()
            if self._blocks and indent <= self._blocks[-1].indent and _END.match(code):
                while self._blocks and indent <= self._blocks[-1].indent:
                    self._blocks.pop()
                continue
            if self._is_of_another_ruby(number, code, indent):
                continue
            if self._blocks and self._blocks[-1].is_namespace and indent <= self._blocks[-1].indent:
                message = "this namespace is not indented, so Brummer does not read the tasks from here on"
                self.problems.append(Mistake(self._source, self._blocks[-1].line, message))
                return
            for pattern in _GLOB.findall(code):
                self._has_glob = True
                self._load_matching(number, code, posixpath.normpath(pattern.removeprefix("./")))
            if statement := _STATEMENT.match(code):
                if statement["rest"].strip() == "(":
                    code = " ".join([code, *(each.strip() for each in lines[number : number + 1])])
                    statement = _STATEMENT.match(code) or statement
                self._statement(number, code, indent, statement, lines)

    def _is_of_another_ruby(self, number: int, code: str, indent: int) -> bool:
        if self._blocks and self._blocks[-1].is_skipped:
            if indent > self._blocks[-1].indent:
                return True
            self._blocks.pop()
        is_begin = bool(_JRUBY.match(code))
        if is_begin:
            self._blocks.append(_RubyBlock(number, indent, None, is_namespace=False, is_skipped=True))
        return is_begin

    def _statement(self, number: int, code: str, indent: int, found: re.Match[str], lines: list[str]) -> None:
        word, rest = found["word"], found["rest"]
        name = _literal(rest)
        if found["rails"]:
            self._load_matching(number, code, _RAILS)
            self.unread.add(number, code)
        elif found["class"]:
            self._of_class(number, code, found, name, lines)
        elif word in ("def", "namespace"):
            self._block(number, code, indent, word, name)
        elif word in ("load", "import", "require", "require_relative"):
            self._load(number, code, word, name, rest)
        elif name is not None:
            parts = name.rstrip("/").split("/") if word == "directory" else []
            if len(parts) > PARENTS_LIMIT:
                self.unread.add(number, code)
                return
            for length in range(1, len(parts)):
                self._task(number, code, "/".join(parts[:length]))
            self._task(number, code, name)
        elif _ARGUMENT.match(rest):
            self.unread.add(number, code)

    def _task(self, number: int, code: str, name: str) -> None:
        names = [*(block.name for block in self._blocks), name]
        if None in names or sum(len(str(each)) + 1 for each in names) > NAME_LIMIT:
            self.unread.add(number, code)
        elif name:
            self.tasks[":".join(map(str, names))] = None

    def _block(self, number: int, code: str, indent: int, word: str, name: str | None) -> None:
        is_namespace = word == "namespace"
        if not is_namespace and _METHOD_IN_ONE_LINE.search(code):
            return
        is_one_line = is_namespace and (
            ("{" in code and code.endswith("}")) or (" do" in code and code.endswith(" end"))
        )
        if is_namespace and (name is None or is_one_line):
            self.unread.add(number, code)
        if not is_one_line:
            self._blocks.append(_RubyBlock(number, indent, name if is_namespace else None, is_namespace))

    def _of_class(self, number: int, code: str, found: re.Match[str], name: str | None, lines: list[str]) -> None:
        """The tasks that a library's class makes."""
        label = str(found["class"])
        if found["method"] == "add_rakelib":
            if name is not None:
                self._load_matching(number, code, f"{name}/*.rake")
            else:
                self.unread.add(number, code)
        elif label in _CLASSES:
            usual, tasks = _CLASSES[label]
            if name is None and usual and _WITHOUT_ARGUMENTS.match(found["rest"]):
                name = self._name_in_block(number, usual, lines)
            elif usual and not tasks[0].startswith("{}"):
                name = usual
            if name is None:
                self.unread.add(number, code)
            for task in tasks if name is not None else ():
                self._task(number, code, task.format(name))
        elif label.endswith(("Task", "Tasks")) and found["method"] in ("new", "create", "install_tasks"):
            self.unread.add(number, code)

    @staticmethod
    def _name_in_block(number: int, usual: str, lines: list[str]) -> str | None:
        """What the block gives as the name; the usual one if it gives none, None if only Ruby knows."""
        for line in lines[number : number + 10]:
            if re.match(r"\s*(?:end\b|\})", line):
                break
            if given := _BLOCK_NAME.match(line.strip()):
                return _literal(given[1])
        return usual

    def _load_matching(self, number: int, code: str, pattern: str) -> None:
        try:
            self.loads += self._project.matching(pattern)
        except BrokenFile:  # it leads out of the project, or has too much to look through
            self.unread.add(number, code)

    def _load(self, number: int, code: str, word: str, name: str | None, rest: str) -> None:
        """What a file of the project has is read; what a library has is known, or may be anything."""
        if name is None:
            if word in ("load", "import") and _ARGUMENT.match(rest) and not self._has_glob:
                self.unread.add(number, code)
            return
        folder = posixpath.dirname(self._source) if word == "require_relative" else ""
        path = posixpath.normpath(posixpath.join(folder, name))
        is_here = word != "require" or name.startswith(".")
        for place in (f"{path}.rb", path) if is_here else ():
            if self._project.holds(place) and self._project.exists(place):
                self.loads.append(place)
                return
        if word == "require" and name in _LIBRARIES:
            for task in _LIBRARIES[name]:
                self._task(number, code, task)
        elif word in ("load", "import") or (_MAY_HAVE_TASKS.search(name) and not _NO_TASKS.match(name)):
            self.unread.add(number, code)


def _literal(text: str) -> str | None:
    """The string, symbol or key with which the arguments of a call begin."""
    found = _LITERAL.match(text)
    return next(group for group in found.groups() if group is not None) if found else None


def _code(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The lines that are neither blank, comments, texts of several lines, nor data at the end, with their numbers."""
    last = {line.strip(): number for number, line in enumerate(lines, 1)}
    ends: list[str] = []
    for number, line in enumerate(lines, 1):
        code = line.strip()
        if ends:
            if code == ends[0]:
                ends.pop(0)
            continue
        if line.startswith("=begin"):
            ends.append("=end")
        elif line == "__END__":
            return
        elif code and not code.startswith("#"):
            ends += [tag for _, tag in _HEREDOC.findall(code) if last.get(tag, 0) > number]
            yield number, line
