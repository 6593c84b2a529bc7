#!/bin/sh
# Make sure one virtual environment holds what the lock says, and do nothing, in milliseconds, when it already does.
#
#   setup.sh VENV GROUP…        e.g.  setup.sh .venv dev
#
# PYTHON names the interpreter to use; without it the environment keeps the one it has, else the newest suitable on PATH
# is taken. Every make target starts here.
set -eu
cd "$(dirname "$0")/.."

venv=$1
shift
groups=$*
stamp=$venv/.brummer-stamp

# What the environment was made from. The folder belongs to it: the scripts inside name their interpreter by full path.
made_from() {
    { cat pyproject.toml uv.lock tools/setup.sh tools/setup_env.py; pwd; } | cksum
}

identity() {
    "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null
}

recorded_groups=$(sed -n 2p "$stamp" 2>/dev/null || true)

is_current() {
    [ "$(sed -n 1p "$stamp" 2>/dev/null)" = "$(made_from)" ] || return 1
    for group in $groups; do
        case " $recorded_groups " in *" $group "*) ;; *) return 1 ;; esac
    done
    now=$(identity "$venv/bin/python") || return 1
    [ -z "${PYTHON:-}" ] || [ "$now" = "$(identity "$PYTHON")" ]
}

# A name on PATH proves nothing: version managers leave stubs for interpreters that are switched off.
is_suitable() {
    [ -n "$1" ] && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_suitable "$PYTHON" && echo "$PYTHON" && return
        echo "setup: PYTHON=$PYTHON is not a working Python 3.11 or newer" >&2
        return 1
    fi
    present=$("$venv/bin/python" -c 'import sys; print(sys._base_executable)' 2>/dev/null || true)
    for candidate in "$present" python3.13 python3.12 python3.11 python3 python; do
        is_suitable "$candidate" && echo "$candidate" && return
    done
    echo "setup: no Python 3.11 or newer found; install one, or name it: make setup PYTHON=/path/to/python3" >&2
    return 1
}

if is_current; then
    exit 0
fi

# What other targets asked for stays: `make test` must not take away what `make integration-test` needs.
for group in $recorded_groups; do
    case " $groups " in *" $group "*) ;; *) groups="$groups $group" ;; esac
done

python=$(choose_python)
echo "setup: $venv ($groups) with $("$python" -V 2>&1)"
rm -f "$stamp"
# shellcheck disable=SC2086 # the groups are words
"$python" tools/setup_env.py "$venv" $groups
{ made_from; echo "$groups"; } >"$stamp.partial"
mv "$stamp.partial" "$stamp"
