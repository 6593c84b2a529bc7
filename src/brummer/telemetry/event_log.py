"""The events of a hub in the log: transitions of links, calls that were not plain, wakes and network changes."""

import logging

from brummer.calls.caller import CallEnded
from brummer.core.log import fields
from brummer.link.state import Transition
from brummer.peers.instances import Instances
from brummer.peers.timeline import Handled, Timeline, reasons_of

_log = logging.getLogger(__name__)


def log_events(instances: Instances, timeline: Timeline) -> None:
    """Log the events of these from now on, unless the level of the log excludes them."""
    if not _log.isEnabledFor(logging.INFO):
        return
    instances.transitions.subscribe(_moved)
    instances.calls_ended.subscribe(_ended)
    timeline.handled.subscribe(_handled)


def _moved(moved: Transition) -> None:
    before, after = moved.before.shown, moved.after.shown
    event = f"link_{moved.event.shown}"
    extra = fields(event=event, link=moved.instance_id, before=before, state=after, reason=moved.reason)
    _log.info("%s: %s -> %s: %s", moved.instance_id, before, after, moved.reason, extra=extra)


def _ended(call: CallEnded) -> None:
    level = logging.DEBUG if call.ending in ("ok", "tool_error") else logging.INFO
    if not _log.isEnabledFor(level):
        return
    took_ms = round(call.took_s * 1000, 3)
    event = f"call_{call.ending}"
    extra = fields(event=event, link=call.instance_id, call=call.key, tool=call.tool, code=call.code, took_ms=took_ms)
    why = f" ({call.code})" if call.code else ""
    template = "%s: call %s of %s ended %s%s after %g ms"
    _log.log(level, template, call.instance_id, call.key, call.tool, call.ending, why, took_ms, extra=extra)


def _handled(handled: Handled) -> None:
    reasons = "; ".join(reasons_of(handled.event))
    extra = fields(event=handled.event.kind, took_s=handled.took_s, did=handled.did)
    _log.info("%s: %s, within %g s", reasons, handled.did, handled.took_s, extra=extra)
