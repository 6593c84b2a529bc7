"""One OpenTelemetry span for each call over a link, if the user wants it and has the API: `brummer[otel]`.

The API is loaded with the first call, in a thread. Where spans go is the business of the SDK that the user configures.
"""

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from brummer.core.errors import BrummerError
from brummer.link.admission import Gate
from brummer.link.call import Call
from brummer.link.caller import Caller
from brummer.link.link import Link
from brummer.link.outcome import ANSWERED, Ending, ending_of_answer, ending_of_error

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

    def caller(self, link: Link, gate: Gate, is_cut_off: Callable[[], bool], ended: Any) -> "TracedCaller":
        """Stands where `Caller` stands."""
        made = TracedCaller(link, gate, is_cut_off, ended)
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
    may_send_now = False  # a span needs the API, which is still being loaded, and the steps of the long way

    async def call(self, call: Call) -> bytes:
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

            def befell(step: str) -> None:
                steps.append(step)
                span.add_event(step)

            call.on_step = befell
            try:
                result = await super().call(call)
            except BaseException as error:
                self._describe(span, call, steps, *ending_of_error(error))
                span.set_status(api.error)
                raise
            self._describe(span, call, steps, *ending_of_answer(call, result, ours=self.link.target.has_ledger))
            return result

    def _describe(self, span: "Span", call: Call, steps: list[str], ending: Ending, code: str = "") -> None:
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
