"""One OpenTelemetry span for each call over a link, if the user wants it and has the API: `brummer[otel]`.

The API is loaded with the first call, in a thread. Where spans go is the business of the SDK that the user configures.
"""

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from brummer.calls.call_run import Substitute
from brummer.calls.caller import ANSWERED, Caller, ending_of
from brummer.core.errors import BrummerError
from brummer.link.call import Call
from brummer.link.link import Link

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

TRACES_VARIABLE: Final = "BRUMMER_TRACES"
_TRUE: Final = frozenset({"true", "1", "yes", "on"})


class TracesUnavailable(BrummerError):
    """Traces are asked for, and the OpenTelemetry API is not installed."""

    code = "traces_unavailable"


def tracing(environ: Mapping[str, str]) -> "Tracing | None":
    """None when it is not asked for. Raises `TracesUnavailable`."""
    if environ.get(TRACES_VARIABLE, "").strip().lower() not in _TRUE:
        return None
    if importlib.util.find_spec("opentelemetry") is None:
        raise TracesUnavailable(
            f"{TRACES_VARIABLE} is set, but the OpenTelemetry API is not installed: pip install 'brummer[otel]'"
        )
    return Tracing()


class Tracing:
    """Makes callers that trace. ``provider``: another than the global one, which the SDK sets."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._loading: asyncio.Future[_Api] | None = None

    def caller(self, link: Link, is_cut_off: Callable[[], bool], ended: Any) -> "TracedCaller":
        """Replaces a `Caller`."""
        made = TracedCaller(link, is_cut_off, ended)
        made.tracing = self
        return made

    async def api(self) -> "_Api":
        if self._loading is None or (self._loading.done() and self._loading.exception()):  # no thread, say
            self._loading = asyncio.ensure_future(asyncio.to_thread(_Api, self._provider))
        return await asyncio.shield(self._loading)


class _Api:
    """What we need of it. Its import takes a tenth of a second."""

    def __init__(self, provider: "TracerProvider | None") -> None:
        from opentelemetry import trace  # noqa: PLC0415 — as the docstring says
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self.propagator = TraceContextTextMapPropagator()
        self.tracer = trace.get_tracer("brummer", tracer_provider=provider)
        self.kind = trace.SpanKind.CLIENT
        self.error = trace.Status(trace.StatusCode.ERROR)


class TracedCaller(Caller):
    """A `Caller` whose every call is a span: its parent is the agent's, its child whatever the instance makes of it."""

    tracing: Tracing
    has_fast_path = False  # a span needs the API, which may still be being loaded

    async def call(self, call: Call, substitute: Substitute | None = None) -> bytes:
        api = await self.tracing.api()
        with api.tracer.start_as_current_span(
            f"{call.method} {call.tool}",
            context=api.propagator.extract(call.trace),
            kind=api.kind,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            api.propagator.inject(call.trace)
            steps: list[str] = []

            def add_event(step: str) -> None:
                steps.append(step)
                span.add_event(step)

            call.on_step = add_event
            try:
                result = await super().call(call, substitute)
            except BaseException as error:
                self._describe(span, call, steps, error)
                span.set_status(api.error)
                raise
            self._describe(span, call, steps, result)
            return result

    def _describe(self, span: "Span", call: Call, steps: list[str], outcome: bytes | BaseException) -> None:
        ending, code = ending_of(call, outcome, ours=self.link.target.has_ledger)
        span.set_attributes(
            {
                "mcp.method.name": call.method,
                "gen_ai.tool.name": call.tool,
                "brummer.instance_id": self.link.target.instance_id,
                "brummer.call": call.key,
                "brummer.outcome": ending,
                "brummer.attempts": 1 + steps.count("connection_lost"),
            }
        )
        if ending not in ANSWERED:
            span.set_attribute("error.type", code)
