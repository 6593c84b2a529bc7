"""Gradle: build, test, and running an application, by the wrapper where there is one."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "gradle"
_APPLICATION = re.compile(r"""(?:\bid[ (]*|plugin:[ ]*)["']application["']|^[ \t]*application[ \t]*$""", re.MULTILINE)
_SPRING_BOOT = "org.springframework.boot"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``run`` where a plugin brings it."""
    gradle = "./gradlew" if project.exists("gradlew") else "gradle"
    if _SPRING_BOOT in text:
        yield Script("run", [gradle, "bootRun"], source, project.directory)
    elif _APPLICATION.search(text):
        yield Script("run", [gradle, "run"], source, project.directory)
    for task in ("build", "test"):
        yield Script(task, [gradle, task], source, project.directory)
