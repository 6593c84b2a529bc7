"""The environment that a script is started with."""

from pathlib import Path

from brummer.core.errors import BrummerError
from brummer.instance.detect import Script
from brummer.process.guard import MARK, RUN_MARK, marked_environment

LIMIT_BYTES = 1024 * 1024
"""More than the kernel takes for a whole environment on most systems."""


class EnvFileUnusable(BrummerError):
    """It can't be read, or is none; ``context`` has its path, and the line if it is known. Nothing was started."""

    code = "env_file_unusable"


def environment_of(script: Script, generation: str, process_id: str) -> dict[str, str]:
    """Ours, then the lines of the file, then the script's own variables, then the marks: later ones win.

    Reads the file: use a thread where there is one. Raises EnvFileUnusable.
    """
    marked = marked_environment(generation, process_id)
    if script.env_file is None and not script.environment:
        return marked
    from_file = _lines_of(script.name, script.env_file) if script.env_file else {}
    marks = {name: value for name, value in marked.items() if name in {MARK, RUN_MARK}}
    return {**marked, **from_file, **script.environment, **marks}


def _lines_of(name: str, path: str) -> dict[str, str]:
    from brummer.process.dotenv import BadLine, parsed  # noqa: PLC0415 - its expressions take a millisecond

    try:
        with Path(path).open("rb") as file:
            text = file.read(LIMIT_BYTES).decode()
        return parsed(text)
    except OSError as error:
        raise EnvFileUnusable(
            f"{name} was not started: its env_file {path} can't be read: {error.strerror}", path=path
        ) from None
    except UnicodeDecodeError:
        raise EnvFileUnusable(f"{name} was not started: its env_file {path} is not UTF-8", path=path) from None
    except BadLine as error:
        raise EnvFileUnusable(
            f"{name} was not started: in its env_file {path}, {error}", path=path, line=error.number
        ) from None
