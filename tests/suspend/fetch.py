"""What the machine is made of: QEMU, a kernel, a shell and our dependencies, from the registries into a cache.

Nothing is installed. Debian's packages are downloaded and unpacked into the cache, with package lists that stand there
too, so that neither root nor the host's own lists are needed; what of QEMU's libraries the host has is taken from the
host. Our dependencies are those of uv.lock, for the guest's Python. What is there is never looked at again: remove the
directory to have everything anew.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from setup_env import find_uv, registry_settings

ROOT: Final = Path(__file__).resolve().parents[2]

PYTHON: Final = Path("/usr/bin/python3.11")
"""Debian 12's own: it and its libraries are copied into the guest, whose kernel is Debian 12's too."""

KERNEL: Final = "linux-image-amd64"
BUTTON: Final = "kernel/drivers/acpi/button.ko"
"""The one driver needed that is not built in: a suspend to idle is ended by the power button."""

FETCH_LIMIT_S: Final = 600
"""Some 100 MB."""


class Unavailable(Exception):
    """What this machine lacks for it, in a sentence."""


@dataclass(frozen=True)
class Kit:
    """``machine`` is an unpacked part of a Debian system; ``site`` holds our dependencies."""

    machine: Path
    site: Path

    @property
    def kernel(self) -> Path:
        return self.machine / "vmlinuz"

    @property
    def kernel_release(self) -> str:
        return (self.machine / "release").read_text()

    @property
    def button(self) -> Path:
        return self.machine / "button.ko"

    @property
    def busybox(self) -> Path:
        return self.machine / "bin" / "busybox"

    @property
    def libraries(self) -> str:
        """For LD_LIBRARY_PATH."""
        return ":".join(str(self.machine / folder / "x86_64-linux-gnu") for folder in ("usr/lib", "lib"))

    @property
    def qemu(self) -> list[str]:
        """The host's own, if there is one."""
        own = self.machine / "usr/bin/qemu-system-x86_64"
        if not own.exists():
            return ["qemu-system-x86_64"]
        return [str(own), "-L", str(self.machine / "usr/share/qemu"), "-L", str(self.machine / "usr/share/seabios")]


def kit() -> Kit:
    """Everything, fetched where it is not there yet. Raises `Unavailable`."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable(f"needs Linux on x86-64, and this is {platform.system()} on {platform.machine()}")
    for command in ("apt-get", "apt-cache", "dpkg", "ldd", "setpriv", PYTHON):
        if shutil.which(command) is None:
            raise Unavailable(f"needs {command}, which Debian 12 has and this machine has not")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brummer-suspend"
    cache.mkdir(parents=True, exist_ok=True)
    machine = cache / "machine"
    if not machine.exists():
        with _about_to_be(machine) as folder:
            _fetch_machine(folder)
    return Kit(machine, _site(cache))


def _site(cache: Path) -> Path:
    """The locked dependencies, built for the guest's Python, whichever Python this is."""
    uv = find_uv()
    if uv is None:
        raise Unavailable("needs uv, which make setup leaves in .venv")
    export = ["export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project", "--no-header", "--project"]
    locked = _run([uv, *export, str(ROOT)])
    site = cache / f"site-{hashlib.sha256(locked.encode()).hexdigest()[:12]}"
    if not site.exists():
        _say("fetching the dependencies")
        with _about_to_be(site) as folder:
            wanted = folder.with_suffix(".txt")
            wanted.write_text(locked)
            into = ["--target", str(folder), "--python", str(PYTHON), "--only-binary", ":all:", "--require-hashes"]
            _run([uv, "pip", "install", "--quiet", *into, "-r", str(wanted)], registry_settings())
            wanted.unlink()
    return site


def _fetch_machine(machine: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="apt-", dir=machine.parent) as name:
        folder = Path(name)
        (folder / "lists" / "partial").mkdir(parents=True)
        # Unsandboxed: apt's own user may not write here.
        own = {"Dir::State::lists": f"{folder}/lists", "Dir::Cache": f"{folder}/cache", "APT::Sandbox::User": "root"}
        options = [part for name, value in own.items() for part in ("-o", f"{name}={value}")]
        _say("fetching QEMU and a kernel, some 100 MB")
        _run(["apt-get", *options, "-qq", "--error-on=any", "update"])
        packages = ["busybox-static", *_kernel(options), *_missing_for_qemu(options)]
        _run(["apt-get", *options, "-qq", "download", *packages], cwd=folder)
        for package in sorted(folder.glob("*.deb")):
            if package.name.startswith("linux-image-"):
                _unpack_kernel(package, machine)
            else:
                _run(["dpkg", "-x", str(package), str(machine)])


def _kernel(options: list[str]) -> list[str]:
    """The package that Debian's name for the newest kernel stands for."""
    lines = _run(["apt-cache", *options, "depends", "--important", KERNEL]).splitlines()
    return [line.split()[-1] for line in lines if "Depends: linux-image-" in line][:1]


def _missing_for_qemu(options: list[str]) -> list[str]:
    """Itself and every library that the host lacks; nothing where it is installed."""
    plan = _run(["apt-get", *options, "install", "--simulate", "--no-install-recommends", "qemu-system-x86"])
    return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]


def _unpack_kernel(package: Path, machine: Path) -> None:
    """Two files of it: unpacked, its modules are 400 MB."""
    with (
        subprocess.Popen(["dpkg", "--fsys-tarfile", package], stdout=subprocess.PIPE) as dpkg,
        tarfile.open(fileobj=dpkg.stdout, mode="r|") as archive,
    ):
        for member in archive:
            name = Path(member.name).name
            if not name.startswith("vmlinuz-") and not member.name.endswith(BUTTON):
                continue
            content = archive.extractfile(member)
            assert content is not None
            (machine / name.partition("-")[0]).write_bytes(content.read())
            if name.startswith("vmlinuz-"):
                (machine / "release").write_text(name.removeprefix("vmlinuz-"))
    missing = [name for name in ("vmlinuz", "button.ko") if not (machine / name).exists()]
    if missing:
        raise Unavailable(f"{package.name} has no {' and no '.join(missing)}: another Debian than 12?")


@contextmanager
def _about_to_be(path: Path) -> Iterator[Path]:
    """A folder that takes its place once it is complete. Where another run was faster, that one's stays."""
    with tempfile.TemporaryDirectory(prefix=f"{path.name}-", dir=path.parent) as name:
        folder = Path(name, path.name)
        folder.mkdir()
        yield folder
        if not path.exists():
            folder.rename(path)


def _run(command: list[str], environment: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """What it printed. Raises `Unavailable` with what it said when it fails."""
    settings = {**os.environ, **(environment or {}), "LC_ALL": "C"}
    settings.pop("VIRTUAL_ENV", None)
    try:
        done = subprocess.run(
            command, env=settings, cwd=cwd, capture_output=True, text=True, timeout=FETCH_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(command[0]).name}: {error}") from None
    if done.returncode:
        last = "; ".join(done.stderr.strip().splitlines()[-3:])
        raise Unavailable(f"{Path(command[0]).name} failed, is there a network? It said: {last}")
    return done.stdout


def _say(text: str) -> None:
    print(f"suspend: {text}", file=sys.stderr, flush=True)  # noqa: T201 — it talks to a person
