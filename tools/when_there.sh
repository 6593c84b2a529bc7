#!/bin/sh
# Run a script of the project with its environment, or say that it is still to be written.
set -eu
cd "$(dirname "$0")/.."
script=$1
shift
if [ ! -f "$script" ]; then
    echo "$script: not yet" >&2
    exit 2
fi
sh tools/setup.sh .venv dev
exec .venv/bin/python "$script" "$@"
