#!/bin/sh
# Bring uv.lock up to date with pyproject.toml. The set-up itself reads the lock, so a first uv comes from PATH or from
# the environment that the lock as it stands can still make.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || [ -x .venv/bin/uv ] || sh tools/setup.sh .venv dev
for python in .venv/bin/python "${PYTHON:-}" python3; do
    if [ -n "$python" ] && "$python" -c 'import tomllib' 2>/dev/null; then
        exec "$python" tools/lock.py "$@"
    fi
done
echo "lock: no Python 3.11 or newer found; run make setup first" >&2
exit 2
