"""What the scripts use, CPU and memory, measured only while somebody asks.

Each call of `scripts_usage` buys `LEASE_S` of samples. When nobody has called for so long, the task that takes them
ends, and nothing wakes the instance any more. `scripts_status` and the metrics measure once when they are asked, not
more often than the samples come. One measurement serves all who ask meanwhile.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from brummer.core.json_text import encode
from brummer.core.supervisor import Supervisor
from brummer.host.clocks import awake, wall
from brummer.instance.usage_history import MIB, UsageHistory, UsageRow
from brummer.process.process_tree import ProcessTree
from brummer.process.usage_sampler import UsageSample, UsageSampler
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES

if TYPE_CHECKING:
    from brummer.instance.run import Run

_log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
"""A person sees each sample, and all of them cost a third of a percent of a processor at most."""
LEASE_S: Final = 10.0
"""Five samples: a viewer may be late by some of them, and the last one costs little after it has gone."""
FIRST_S: Final = 0.5
"""CPU is known from the second sample on. Of so long, 2% of a processor are one tick."""
FRESH_S: Final = 0.4
"""A younger measurement is not repeated: CPU in so short a time would be a guess."""
FIGURES_S: Final = 2.0
"""How long a first call waits for CPU, where threads are busy: env files may be pipes that nobody fills."""
PATIENCE_S: Final = 0.5
"""How long answers that are about something else wait for a measurement, which takes some milliseconds."""
HEAD_BYTES: Final = 300
"""What the entry of a script takes without its samples, as data and as text, beside its name."""
NAMED: Final = 4
"""How often an entry has the name, as data and as text."""


SampleTrees = Callable[[Sequence[ProcessTree]], Awaitable[dict[ProcessTree, UsageSample]]]


def sampling_in_threads() -> SampleTrees:
    """A `UsageSampler`, which blocks."""
    sampler = UsageSampler()

    async def sample(trees: Sequence[ProcessTree]) -> dict[ProcessTree, UsageSample]:
        return await asyncio.to_thread(lambda: sampler.sample(trees, awake()))

    return sample


class ScriptUsage:
    """``current_runs()``: the latest run of each script. ``sample``: see `UsageSampler.sample`."""

    def __init__(
        self,
        current_runs: "Callable[[], list[Run]]",
        supervisor: Supervisor,
        sample: SampleTrees | None = None,
        now: Callable[[], float] = wall,
    ) -> None:
        self._current_runs = current_runs
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._sample = sample or sampling_in_threads()
        self._now = now
        self._history = UsageHistory()
        self._latest: dict[tuple[str, bool], UsageSample] = {}
        """By process id, and whether that run had ended."""
        self._latest_s = float("-inf")
        self._measuring: asyncio.Task[None] | None = None
        self._began_s = 0.0
        self._sampling: asyncio.Task[None] | None = None
        self._until_s = 0.0
        self._has_figures = asyncio.Event()

    @property
    def is_sampling(self) -> bool:
        """Somebody has asked in the last `LEASE_S`."""
        return self._sampling is not None and not self._sampling.done()

    async def close(self) -> None:
        """Take no more samples."""
        tasks = [task for task in (self._sampling, self._measuring) if task is not None]
        if self._sampling is not None:
            self._sampling.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def answer(self, runs: "Sequence[Run]", since_s: float) -> dict[str, Any]:
        """The answer of `scripts_usage` about these runs, with their samples after ``since_s``. The first call after a
        pause waits for the second sample, half a second.
        """
        self._until_s = self._loop.time() + LEASE_S
        if not self.is_sampling:
            self._has_figures.clear()
            self._sampling = self._supervisor.start("usage samples", self._sample_while_asked, may_end=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIGURES_S):
                await self._has_figures.wait()
        if since_s > self._now():  # the clock was set back
            since_s = 0.0
        heads_bytes = sum(HEAD_BYTES + NAMED * len(run.process_id.encode()) for run in runs)
        share_bytes = (BUDGET_BYTES - ENVELOPE_BYTES - heads_bytes) // max(1, len(runs))
        omitted = 0
        scripts = []
        for run in runs:
            samples = list(self._history.newest(run.name, since_s))
            kept = _fitting(samples, share_bytes)
            omitted += len(samples) - len(kept)
            scripts.append({"name": run.name, "process_id": run.process_id, **self.now(run), "samples": kept[::-1]})
        return {"every_s": EVERY_S, "scripts": scripts, **({"omitted": omitted} if omitted else {})}

    def sample_of(self, run: "Run") -> UsageSample | None:
        """The last sample; None of what has no process, or was not measured lately."""
        is_old = self._loop.time() - self._latest_s > 2 * EVERY_S
        return None if is_old else self._latest.get((run.process_id, run.has_ended))

    def now(self, run: "Run") -> dict[str, Any]:
        """``cpu``, ``memory_mib`` and ``processes`` of `sample_of`; None and 0 without one."""
        sample = self.sample_of(run)
        if sample is None:
            return {"cpu": None, "memory_mib": None, "processes": 0}
        return {
            "cpu": None if sample.cpu is None else round(sample.cpu, 3),
            "memory_mib": None if sample.resident_bytes is None else round(sample.resident_bytes / MIB, 1),
            "processes": sample.processes,
        }

    async def measure(self, fresh_s: float = EVERY_S, patience_s: float | None = PATIENCE_S) -> None:
        """What live runs use, and have used so far, is known when this returns, and not older than ``fresh_s``; unless
        the measurement takes longer than ``patience_s``, or fails.
        """
        now_s = self._loop.time()
        if self._measuring is None:
            if now_s - self._latest_s < fresh_s:
                return
            self._measuring, self._began_s = self._loop.create_task(self._measure(), name="measure usage"), now_s
        rest_s = None if patience_s is None else max(0.0, self._began_s + patience_s - now_s)
        await asyncio.wait([self._measuring], timeout=rest_s)

    async def _measure(self) -> None:
        self._latest = {}
        try:
            watched = {
                run.child.tree: (run.process_id, run.has_ended)
                for run in self._current_runs()
                if run.child is not None and (not run.has_ended or run.state == "exited")  # and may have left daemons
            }
            samples = await self._sample(list(watched)) if watched else {}
            self._latest = {watched[tree]: sample for tree, sample in samples.items() if sample.processes}
        except (OSError, RuntimeError) as error:  # no descriptor, or no thread, is left: a gap
            _log.debug("usage was not measured: %s", error)
        except Exception:  # noqa: BLE001 - the barrier: answers about other things do not need it
            _log.exception("usage was not measured")
        finally:
            self._latest_s = self._loop.time()
            self._measuring = None

    async def _sample_while_asked(self) -> None:
        pause_s = FIRST_S
        while True:
            await self.measure(FRESH_S, patience_s=None)
            names = {run.process_id: run.name for run in self._current_runs()}
            samples = {names[of]: sample for (of, _), sample in self._latest.items() if of in names}
            self._history.add(self._now(), samples)
            if pause_s == EVERY_S or all(sample.cpu is not None for sample in samples.values()):
                self._has_figures.set()
                pause_s = EVERY_S
            if self._loop.time() + pause_s > self._until_s:
                return
            await asyncio.sleep(pause_s)
            pause_s = EVERY_S


def _fitting(samples: list[UsageRow], limit_bytes: int) -> list[UsageRow]:
    """The first of them, as many as fit."""
    for count, sample in enumerate(samples):
        limit_bytes -= len(encode(sample)) + 1
        if limit_bytes < 0:
            return samples[:count]
    return samples
