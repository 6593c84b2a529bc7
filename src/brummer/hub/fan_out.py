"""wait_for on all instances: the first match ends it, and one deadline holds for all of them.

Each wait holds a connection, and there may be more instances than connections for waits. If there are enough, each
instance is asked once, for the whole time. Otherwise they take turns. First every instance is asked whether the
condition is true already. Then each is asked in turn for a second at a time, for events since the wait began
(``since``: the instance also checks its past output, and runs that have ended). When the time is over, the instances
that wait for their turn are asked once more.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

GRACE_S: Final = 2.0
"""Time after the deadline for answers under way. A frozen instance must not delay the answer of the others."""

TURN_S: Final = 1.0
"""How long one instance is asked before the next: about a hundred times the cost of asking it."""

MESSAGES: Final = 20
"""Instances that could not be asked and get a message in the answer: enough to see what is wrong."""

NAMES_BYTES: Final = 20 * 1024
"""Bytes of the answer for the names of all other instances, as data and as text: some 200 names."""

NAME_BYTES: Final = 50
"""Bytes around a name."""

Answer = dict[str, Any]

NOT_ANSWERED: Final = {"code": "not_answered", "message": "it did not answer in time, or no connection was free to ask"}


class AskedInstance(Protocol):
    """An instance that can be asked."""

    @property
    def id(self) -> str: ...


Ask = Callable[[Any, float, str | None], Awaitable[Answer]]
"""(instance, seconds, since): wait in an instance for so long. ``since`` None, or only later events count. A failure is
the answer's ``error``.
"""


class FanOut:
    """One wait on all instances; await `result`. ``places``: how many instances may be asked at a time."""

    def __init__(self, everyone: Sequence[AskedInstance], places: int, timeout_s: float, ask: Ask) -> None:
        self._loop = asyncio.get_running_loop()
        self._everyone = everyone
        self._goes_round = len(everyone) > places
        self._count = min(len(everyone), places)
        self._timeout_s = timeout_s
        self._ask = ask
        self._began_s = self._loop.time()
        self._began_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._turns: deque[tuple[AskedInstance, str | None]] = deque((instance, None) for instance in everyone)
        self._answers: dict[str, Answer] = {}
        self._working: list[asyncio.Task[None]] = []
        self._match: Answer | None = None

    async def result(self) -> Answer:
        """The match, or ``matched: false``. ``incomplete``: instances that could not be asked, or did not answer.
        ``not_named``: how many more there are.
        """
        self._working = [self._loop.create_task(self._work(), name=f"wait everywhere {n}") for n in range(self._count)]
        try:
            await asyncio.wait(self._working, timeout=self._timeout_s + GRACE_S, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._end()
            ends = await asyncio.gather(*self._working, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):  # a defect; it must not look like a silent instance
                raise end
        waited_s = round(self._loop.time() - self._began_s, 3)
        found = self._match or {"matched": False, "what": None, "waited_s": waited_s}
        return {**found, **self._incomplete()}

    def _end(self) -> None:
        for task in self._working:
            if task is not asyncio.current_task():
                task.cancel()

    async def _work(self) -> None:
        while self._turns:
            instance, since = self._turns.popleft()
            left_s = max(0.0, self._began_s + self._timeout_s - self._loop.time())
            wait_s = left_s
            if self._goes_round:
                wait_s = 0.0 if since is None else min(TURN_S, left_s)
            answer = await self._ask(instance, wait_s, since)
            self._answers[instance.id] = answer
            if answer.get("matched"):
                self._match = {**answer, "instance": instance.id}
                self._end()
                return
            if self._goes_round and left_s and _may_still_match(answer, wait_s):
                self._turns.append((instance, self._began_at))

    def _incomplete(self) -> Answer:
        """Instances that failed and, without a match, those not asked."""
        silent: Answer = {} if self._match else {"error": NOT_ANSWERED}
        answers = ((each.id, self._answers.get(each.id, silent)) for each in self._everyone)
        return incomplete([(name, answer["error"]) for name, answer in answers if "error" in answer])


def incomplete(failed: Sequence[tuple[str, Answer]]) -> Answer:
    """The members of an answer that name the instances without one. Only the first have a message, so all fit."""
    named: list[Answer] = []
    left_bytes = NAMES_BYTES
    for number, (name, why) in enumerate(failed):
        if number >= MESSAGES and (left_bytes := left_bytes - 2 * len(name.encode()) - NAME_BYTES) < 0:
            break
        message = {"message": why["message"]} if number < MESSAGES else {}
        named.append({"instance": name, "why": {"code": why["code"], **message}})
    not_named = len(failed) - len(named)
    return {"incomplete": named, **({"not_named": not_named} if not_named else {})}


def _may_still_match(answer: Answer, wait_s: float) -> bool:
    """It may still match there: an instance answers early only if no match is possible."""
    return "error" not in answer and answer.get("waited_s", 0.0) >= wait_s
