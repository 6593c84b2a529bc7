"""Make one virtual environment hold exactly the locked packages, and in .venv this project itself.

    setup_env.py VENV GROUP…      e.g.  setup_env.py .venv dev integration

Runs on the bare interpreter that setup.sh chose, so it uses the standard library only. The environment is
made without pip, because seeding pip takes longer than everything else here; what installs is uv, from PATH
if it is there, else fetched into .venv at the version and hashes that the lock gives.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parent.parent
BIN = "bin"
MAIN_VENV = ROOT / ".venv"
OLDEST_UV = (0, 8)  # knows dependency groups that conflict, and this revision of the lock


Command: TypeAlias = list[str | Path]


class SetupError(Exception):
    """A step that did not work, in words that say what to do about it."""


def main(arguments: Sequence[str]) -> int:
    """Build the environment named first out of the groups that follow."""
    venv, groups = ROOT / arguments[0], list(arguments[1:])
    try:
        with one_at_a_time():
            python = ensure_venv(venv)
            uv = find_uv() or fetch_uv()
            install(uv, python, groups, with_project=venv == MAIN_VENV)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two targets started side by side take turns; the second then finds nothing left to do."""
    with (ROOT / ".venv.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def ensure_venv(venv: Path) -> Path:
    """The environment's interpreter; a venv of another Python, a moved or a broken one is made anew."""
    python = venv / BIN / "python"
    if python.exists() and _describe(python) == (sys.version, str(venv), sys.base_prefix):
        return python
    shutil.rmtree(venv, ignore_errors=True)
    made = _run([sys.executable, "-m", "venv", "--without-pip", venv])
    if made.returncode:
        hint = "on Debian and Ubuntu: apt-get install python3-venv"
        raise SetupError(f"{sys.executable} cannot make a virtual environment ({hint})\n{_words(made)}")
    return python


def _describe(python: Path) -> tuple[str, str, str]:
    ask = "import sys; print(sys.version, sys.prefix, sys.base_prefix, sep='\\0', end='')"
    version, prefix, base_prefix = ([*_run([python, "-c", ask]).stdout.split("\0"), "", ""])[:3]
    return version, prefix, base_prefix


def find_uv() -> str | None:
    """A uv that understands this project's lock: from PATH, else the one in .venv."""
    for candidate in (shutil.which("uv"), MAIN_VENV / BIN / "uv"):
        if candidate and Path(candidate).exists():
            version = re.match(r"uv (\d+)\.(\d+)", _run([candidate, "--version"]).stdout)
            if version and (int(version[1]), int(version[2])) >= OLDEST_UV:
                return str(candidate)
    return None


def fetch_uv() -> str:
    """Put the locked uv into .venv with whatever pip this interpreter has."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    uv = next(package for package in packages if package["name"] == "uv")
    pins = " ".join(f"--hash={wheel['hash']}" for wheel in uv["wheels"])
    python = ensure_venv(MAIN_VENV)
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "uv.txt")
        wanted.write_text(f"uv=={uv['version']} {pins}\n", encoding="utf-8")
        install: Command = ["install", "--disable-pip-version-check", "--require-hashes", "-r", wanted]
        done = _run([sys.executable, "-m", "pip", "--python", python, *install])
        if done.returncode:
            # No pip beside this interpreter, or one too old for --python: the venv gets one of its own.
            seeded = _run([python, "-m", "ensurepip", "--default-pip"])
            if seeded.returncode:
                hint = "on Debian and Ubuntu: apt-get install python3-venv python3-pip"
                raise SetupError(f"{sys.executable} has neither a working pip nor ensurepip ({hint})\n{_words(done)}")
            done = _run([python, "-m", "pip", *install])
    if done.returncode:
        raise SetupError(f"pip could not fetch uv\n{_words(done)}")
    return str(MAIN_VENV / BIN / "uv")


def install(uv: str, python: Path, groups: Sequence[str], *, with_project: bool) -> None:
    """Install what the lock says for `groups`, take out all else, and add the project in editable form."""
    uv_is_ours = Path(uv).is_relative_to(MAIN_VENV)
    wanted = [*groups, "bootstrap"] if uv_is_ours and with_project else groups
    exported = _run([uv, *_export(wanted, only=not with_project)])
    if exported.returncode:
        raise SetupError(f"the lock cannot be read\n{_words(exported)}")
    environment = {**os.environ, **registry_settings()}
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(exported.stdout, encoding="utf-8")
        into: Command = ["--quiet", "--python", python]
        steps: list[Command] = [[uv, "pip", "sync", *into, "--require-hashes", requirements]]
        if with_project:
            steps.append([uv, "pip", "install", *into, "--no-deps", "--no-build-isolation", "--editable", ROOT])
        for step in steps:
            done = _run(step, environment)
            if done.returncode:
                raise SetupError(f"packages could not be installed\n{_words(done)}")


def registry_settings() -> dict[str, str]:
    """The index and the certificates that pip is set up with; uv does not read pip's configuration."""
    settings = {}
    if not any(name in os.environ for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX")):
        shown = _run([sys.executable, "-m", "pip", "config", "get", "global.index-url"])
        index = os.environ.get("PIP_INDEX_URL") or (shown.stdout.strip() if not shown.returncode else "")
        if index.startswith(("http://", "https://")):
            settings["UV_DEFAULT_INDEX"] = index
    if "SSL_CERT_FILE" not in os.environ and "PIP_CERT" in os.environ:
        settings["SSL_CERT_FILE"] = os.environ["PIP_CERT"]
    return settings


def _export(groups: Sequence[str], *, only: bool = False) -> list[str]:
    flag = "--only-group" if only else "--group"
    chosen = [part for group in groups for part in (flag, group)]
    return [
        "--project",
        str(ROOT),
        "--quiet",
        "export",
        "--frozen",
        "--no-default-groups",
        "--no-emit-project",
        *chosen,
    ]


def _run(command: Command, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run to the end without a word: what the command said is shown only if it fails."""
    # A uv or pip that was told of an active environment would act on that one instead of ours.
    environment = {k: v for k, v in (environment or os.environ).items() if k not in {"VIRTUAL_ENV", "PYTHONHOME"}}
    return subprocess.run(
        [str(part) for part in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return f"{done.stdout}{done.stderr}".strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
