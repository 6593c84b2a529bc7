"""Unit tests: no network beyond loopback, no foreign programs, and quick enough to run after every save."""

from brummer.host.pids import own_identity

# Reads a few files under /proc, once per process: before any loop runs here, as in the programs themselves.
own_identity()
