"""Write uv.lock without the address of any registry.

A lock says *which* files are meant: names, versions, hashes, markers. *Where* a machine fetches them from is
that machine's own affair: a mirror, a proxy, a folder. uv writes one address per file, so after `uv lock` the
file is rewritten to the form uv itself uses for a local folder of wheels, which its parser, its freshness
check and `uv export --frozen` all accept. `make setup` then installs by name, and the hashes decide what is
let in.

    lock.py [--check] [arguments for `uv lock`, such as --upgrade]
"""

import re
import subprocess
import sys

from setup_env import ROOT, find_uv

LOCK = ROOT / "uv.lock"

# The folder that the rewritten lock pretends to come from; it need not exist.
FOLDER = "wheelhouse"

SOURCE = re.compile(r'registry = "[a-z]+://[^"]*"')
FILE = re.compile(r'\burl = "[a-z]+://[^"]*/([^"/]+)"')
UPLOAD_TIME = re.compile(r', upload-time = "[^"]*"')  # a registry's fact; uv leaves it out for folders


def without_addresses(lock: str) -> str:
    """The same lock with file names in place of addresses; raises ValueError when an address is left."""
    lock = SOURCE.sub(f'registry = "{FOLDER}"', lock)
    lock = FILE.sub(r'path = "\1"', lock)
    lock = UPLOAD_TIME.sub("", lock)
    if left := re.search(r".*://.*", lock):
        message = f"uv.lock still holds an address: {left[0].strip()}"
        raise ValueError(message)
    return lock


def main(arguments: list[str]) -> int:
    """Lock, or with --check only say whether uv.lock fits pyproject.toml and holds no address."""
    uv = find_uv()
    if uv is None:
        print("lock: no uv found; run make setup first", file=sys.stderr)
        return 2
    checking = "--check" in arguments
    # When checking, the only question is whether the lock fits; uv's answer can be about anything on the way.
    done = subprocess.run([uv, "lock", "--quiet", *arguments], cwd=ROOT, capture_output=checking, check=False)
    if done.returncode:
        if checking:
            print("lock: uv.lock does not fit pyproject.toml; run make lock", file=sys.stderr)
        return done.returncode
    before = LOCK.read_text(encoding="utf-8")
    after = without_addresses(before)
    if before == after:
        return 0
    if checking:
        print("lock: uv.lock holds addresses of a registry; run make lock", file=sys.stderr)
        return 1
    # Replace in one step, so that an interrupted run leaves a whole file.
    partial = LOCK.with_suffix(".partial")
    partial.write_text(after, encoding="utf-8")
    partial.replace(LOCK)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
