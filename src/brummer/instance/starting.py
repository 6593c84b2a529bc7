"""The settings of a script that concern its start and its end. Pure."""

import signal

from brummer.core.errors import InvalidArguments
from brummer.host.patterns import meter_of_file
from brummer.instance.detect import Script
from brummer.instance.port_owner import PortOwner
from brummer.logs.urls import urls_in
from brummer.process.readiness import EarlierListener, Proof


def has_to_wait(script: Script) -> bool:
    """Its start has to wait for others, or needs work that takes more than a moment."""
    return bool(script.depends_on or script.env_file or script.procfile or wanted_port(script))


def wanted_port(script: Script) -> int | None:
    """The port on this machine that its proof of readiness names."""
    ready = script.ready
    if ready is None or ready.port is not None or ready.http is None:
        return ready.port if ready else None
    return next((url.port for url in urls_in(ready.http) if url.is_local), None)


def proof_of(script: Script, owner: PortOwner | None) -> Proof | None:
    """None if the script names no proof. ``owner`` has the port already; an owner that is hidden from us can't be
    told from the script's own container, so its answers count. Raises InvalidArguments for an invalid expression.
    """
    ready = script.ready
    if ready is None or not (ready.log or ready.port or ready.http):
        return None
    log = meter_of_file(ready.log, f"ready.log of {script.name}") if ready.log else None
    earlier = EarlierListener(owner.pid, owner.port) if owner and owner.pid else None
    return Proof(log, ready.port, ready.http, earlier)


def stop_signal_of(script: Script) -> signal.Signals:
    """Raises InvalidArguments for a signal that this system does not have."""
    try:
        return signal.Signals[script.stop_signal]
    except KeyError:
        raise InvalidArguments(
            f"stop_signal of {script.name} is {script.stop_signal}, which is no signal here",
            argument="stop_signal",
            name=script.name,
        ) from None
