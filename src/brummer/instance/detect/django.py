"""manage.py of Django: its development server, migrations and tests."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.decoding import conflict_in
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.python_environment import command_in, runner_here

PREFIX = "django"
TAKES_ANY_BYTES = True
MARK = "DJANGO_SETTINGS_MODULE"
"""In every manage.py that Django has made; other frameworks have a file of this name, too."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``runserver``, ``migrate`` and ``test``, in the project's environment."""
    if MARK not in text:
        return
    yield from conflict_in(text, source)
    python = command_in(project, runner_here(project), "python")
    if python == ["python"] and not project.has_program("python"):
        python = ["python3"]  # some systems have no other name for it
    for verb in ("runserver", "migrate", "test"):
        yield Script(verb, [*python, source, verb], source, project.directory)
