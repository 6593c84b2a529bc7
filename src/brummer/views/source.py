"""Keeps a `ViewModel` true: it asks a hub within the process, with one task per instance, and does what keys ask for.

Theory of operation: nothing is polled. A change of a link wakes one task, which compares the list of instances. Each
instance has a task of its own that waits for its next change (`wait_s`), so an instance that hangs delays no other one.
While an instance is away its task sleeps until its link moves. Lines are read by `brummer.views.log_feed`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple, Protocol

import msgspec

from brummer.contract.processes import processes_of
from brummer.contract.tools import CALL_ANSWER_S
from brummer.contract.whole_lists import LISTS, whole_list
from brummer.core.errors import BrummerError
from brummer.core.events import Hook
from brummer.core.supervisor import Supervisor
from brummer.discovery.record import Record, displayable
from brummer.hub.direct_calls import tool_result
from brummer.hub.service import Hub
from brummer.link.state import LinkState
from brummer.views.model import ENDED, Answer, Now, Plan, RowKey, ViewedInstanceFacts, ViewModel

WAIT_S: Final = 20.0
"""The longest wait of the tools: the less often an idle instance is asked, the better."""
PAUSE_S: Final = 0.25
"""After an answer with news: nobody reads more than four pictures a second."""
RETRY_S: Final = 5.0
"""After a call that failed although the link is well."""
AGAIN_S: Final = 1.0
LAST_AGAIN_S: Final = 60.0
"""A problem comes within 30 s of its cause, or not at all."""
SETTLED_S: Final = 0.5
"""After the last news or lines: what a script prints without a line end comes at once after them, and is no news."""
USAGE_S: Final = 8.0
"""Between two questions for CPU and memory: an instance measures for 10 s after each, every 2 s."""
HUBS_S: Final = 30.0
"""Between two looks at the hubs of agents: their problems are usually this hub's, too."""
CHANGES: Final = 200


OPTIONAL: Final = frozenset({"wait_s", "asked_by", "environment"})
"""Arguments that an instance of an earlier version may not know; without them its answer is true all the same."""
OLDER_S: Final = 2.0
"""Between two questions to an instance that does not know ``wait_s``."""


class AskFailed(BrummerError):
    """The instance, or the way to it, refused or did not answer; ``error_code`` is the code of that error.
    ``argument``: the one that is wrong, if that is why.
    """

    code = "ask_failed"

    def __init__(self, message: str, error_code: str, argument: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code
        self.argument = argument


class ActResult(NamedTuple):
    """What came of what a key has asked for, in words."""

    words: str
    has_failed: bool = False


class Backend(Protocol):
    """A hub, as a view uses it."""

    @property
    def supervisor(self) -> Supervisor: ...

    async def ask(self, tool: str, /, **arguments: object) -> Answer:
        """The structured content of the answer. Raises AskFailed."""
        ...

    def instances(self) -> list[ViewedInstanceFacts]: ...

    def problems(self) -> list[Answer]: ...

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call it when instances or problems may have changed; returns what ends that."""
        ...


class OutsideHelp(Protocol):
    """What a view needs of the program that it belongs to. All raise BrummerError."""

    async def scripts_to_start(self, whose: ViewedInstanceFacts) -> Sequence[str]:
        """Those that `brum up` would start; empty if it would ask."""
        ...

    async def start(self, whose: ViewedInstanceFacts, scripts: Sequence[str]) -> None:
        """Have this instance run in the background; it is checked that its files have these scripts."""
        ...

    async def end(self, instance: str) -> None:
        """End an instance, as `brum down`."""
        ...

    async def hubs(self) -> list[Answer]:
        """The status of each hub that runs for an agent."""
        ...

    async def page_address(self) -> str:
        """An address that opens the page of all projects once."""
        ...


class HubBackend:
    """The `Backend` of a real hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.supervisor = hub.supervisor

    async def ask(self, tool: str, /, **arguments: object) -> Answer:
        given = {name: value for name, value in arguments.items() if value is not None}
        call = partial(tool_result, self._hub, tool)
        try:
            result = await (whole_list(call, **given) if tool in LISTS else call(msgspec.json.encode(given)))
        except BrummerError as error:
            raise AskFailed(error.message, error.code) from error
        content: Answer = result.get("structuredContent") or {}
        if result.get("isError"):
            failure = content.get("error") or {}
            context = failure.get("context") or {}
            message, code = str(failure.get("message", "the call failed")), str(failure.get("code", ""))
            raise AskFailed(message, code, str(context.get("argument", "")))
        return content

    def instances(self) -> list[ViewedInstanceFacts]:
        found = []
        for entry in self._hub.instances:
            if isinstance(entry.record, Record):
                each = entry.summary()
                state = ENDED if entry.link.state is LinkState.WITHDRAWN else each.state
                facts = ViewedInstanceFacts(
                    each.instance_id, each.name, each.directory, state, each.since_s, each.reason, entry.host
                )
                found.append(facts)
        return found

    def problems(self) -> list[Answer]:
        found: list[Answer] = msgspec.to_builtins(self._hub.status().problems)
        return found

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        ends = [
            self._hub.instances.transitions.subscribe(lambda _: listener()),
            self._hub.recovery.timeline.handled.subscribe(lambda _: listener()),
        ]

        def end() -> None:
            for each in ends:
                each()

        return end


class Source:
    """Follows everything from `start` on. ``changed`` is published with the id of an instance of which something is
    new, or with an empty text; ``failed`` with the scripts of an instance that were ready and have failed.

    ``environment``: that of this program, packed, in which scripts of this project are started.
    """

    def __init__(
        self, backend: Backend, model: ViewModel, outside: OutsideHelp, environment: bytes | None = None
    ) -> None:
        self.model = model
        self.changed: Hook[str] = Hook()
        self.failed: Hook[tuple[str, list[str]]] = Hook()
        self._backend = backend
        self._outside = outside
        self._environment = environment
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._followed: dict[str, _Followed] = {}
        self._under_way: set[asyncio.Task[ActResult]] = set()
        self._sampled: RowKey | None = None
        self._resample = asyncio.Event()
        self._unlisten: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unlisten = self._backend.listen(self._stirred.set)
        self._backend.supervisor.start("view", self._watch)
        self._backend.supervisor.start("view: usage", self._sample)
        self._backend.supervisor.start("view: hubs", self._look_at_hubs)

    def supervise(self, work: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Run work of the view until it ends or is cancelled; it is run again if it fails."""
        return self._backend.supervisor.start("view: lines", work, may_end=True)

    def close(self) -> None:
        """End what listens, and what keys have asked for; the supervisor ends the other tasks."""
        self._unlisten()
        for task in self._under_way:
            task.cancel()

    def now(self) -> Now:
        return Now(self._loop.time(), datetime.now(UTC))

    async def ask(self, tool: str, /, **arguments: object) -> Answer:
        """As the backend does. An instance of an earlier version is asked without what it does not know."""
        while True:
            try:
                return await self._backend.ask(tool, **arguments)
            except AskFailed as error:
                if error.argument not in OPTIONAL or arguments.pop(error.argument, None) is None:
                    raise
                if error.argument == "wait_s":
                    await asyncio.sleep(OLDER_S)

    # What there is.

    async def _watch(self) -> None:
        """Some problems count only when they have lasted for seconds: so it looks again, ever more rarely."""
        again_s = AGAIN_S
        while True:
            self._stirred.clear()
            self._compare()
            is_well = not (self.model.has_problems or self.model.has_age)
            await _within(None if is_well or again_s > LAST_AGAIN_S else again_s, self._stirred)
            again_s = AGAIN_S if self._stirred.is_set() else 2 * again_s
            await asyncio.sleep(0.0)  # several links often move at once

    def _compare(self) -> None:
        listed = self._backend.instances()
        before = {each.id: each.facts.state for each in self.model.instances.values()}
        self.model.take_instances(listed, self.now())
        self.model.take_problems(self._backend.problems())
        for facts in listed:
            followed = self._followed.get(facts.instance_id)
            if followed is None:
                self._follow(facts.instance_id)
            elif facts.state != before.get(facts.instance_id):
                followed.stir()
        self.changed.publish("")

    def show_ended(self, listed: Iterable[ViewedInstanceFacts]) -> None:
        """Show these, too, if they are not known otherwise. They are asked when they are chosen: see `look_at`."""
        self.model.take_ended(listed)
        self.changed.publish("")

    def look_at(self, key: RowKey | None) -> None:
        """The row is chosen: its usage is wanted, and what an instance has left that is not followed yet."""
        self._sampled = key
        self._resample.set()
        entry = self.model.instances.get(key.instance) if key else None
        if entry and entry.is_old and entry.id not in self._followed:
            self._follow(entry.id)

    def cursor_of(self, instance: str) -> str | None:
        """A cursor of the run of the instance to which the numbers of its lines belong."""
        followed = self._followed.get(instance)
        return followed.cursor if followed else None

    def freshen(self) -> None:
        """The user comes back to the view: files of the projects may have changed meanwhile."""
        for followed in self._followed.values():
            followed.stir()

    def _follow(self, instance: str) -> None:
        followed = self._followed[instance] = _Followed(instance)
        self._backend.supervisor.start(f"view of {instance}", partial(self._keep, followed))

    async def _keep(self, followed: "_Followed") -> None:
        while True:
            followed.stirred.clear()
            asked_s = self._loop.time()
            try:
                has_news = await self._update(followed)
            except AskFailed:
                is_down = self.model.instances[followed.instance].is_down
                await _within(None if is_down else RETRY_S, followed.stirred)
                continue
            if followed.is_away:
                await followed.stirred.wait()
            elif has_news or not self.has_waited(asked_s):
                await asyncio.sleep(PAUSE_S)

    async def _update(self, followed: "_Followed") -> bool:
        """Wait for news, and take them; whether there are any. Raises AskFailed."""
        asks_all, followed.is_stale = followed.is_stale, False
        instance, knows = followed.instance, followed.cursor is not None
        try:
            news = await self._news(followed, waits=not asks_all)
            is_away = "from" in news
            has_news = bool(asks_all or is_away != followed.is_away or news.get("changes") or news.get("cursor_reset"))
            failed = self.model.take_changes(instance, news)
            followed.cursor, followed.is_away = str(news.get("cursor", "")), is_away
            if failed and knows:
                self.failed.publish((instance, failed))
            if has_news:
                await self._take_scripts(instance, is_away=is_away)
        except AskFailed:
            followed.is_stale = True
            raise
        if has_news:
            self._resample.set()
            self.changed.publish(instance)
        return has_news

    async def _news(self, followed: "_Followed", *, waits: bool) -> Answer:
        """The changes after the last ones. It waits for one, but not longer than until the instance is stirred."""
        ask = partial(self.ask, "changes_since", instance=followed.instance, cursor=followed.cursor, limit=CHANGES)
        if waits:
            waiting = asyncio.ensure_future(ask(wait_s=WAIT_S))
            stirring = asyncio.ensure_future(followed.stirred.wait())
            try:
                await asyncio.wait([waiting, stirring], return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    return waiting.result()
            finally:
                waiting.cancel()
                stirring.cancel()
                await asyncio.gather(waiting, stirring, return_exceptions=True)
        return await ask()

    async def _take_scripts(self, instance: str, *, is_away: bool) -> None:
        if not is_away:  # a black box has no list of scripts: the last one stays
            self.model.take_scripts(instance, await self.ask("scripts_list", instance=instance))
        self.model.take_processes(instance, await self.ask("scripts_status", instance=instance))

    # What is asked for while it is seen.

    def look_again(self) -> None:
        """The chosen script has printed something, perhaps also a question without a line end."""
        self._resample.set()

    async def _sample(self) -> None:
        """What changes without news: the usage of the chosen script, and its output without a line end."""
        while True:
            self._resample.clear()
            key = self._sampled
            process = self.model.process(key) if key else None
            has_sample = key and process and process.runs and await self._take_sample(key)
            if await _within(USAGE_S if has_sample else None, self._resample):
                await asyncio.sleep(SETTLED_S)

    async def _take_sample(self, key: RowKey) -> bool:
        """Whether the instance answers. One of an earlier version knows no usage."""
        is_new = False
        try:
            answer = await self.ask("scripts_status", instance=key.instance)
            is_new = self.model.take_processes(key.instance, answer)
            with contextlib.suppress(AskFailed):
                usage = {"instance": key.instance, "tool": "scripts_usage", "arguments": {"name": key.script}}
                is_new |= self.model.take_usage(key.instance, await self.ask("instance_call", **usage))
        except AskFailed:
            return False
        if is_new:
            self.changed.publish(key.instance)
        return True

    async def _look_at_hubs(self) -> None:
        while True:
            with contextlib.suppress(BrummerError):
                self.model.take_hubs(await self._outside.hubs())
                self.changed.publish("")
            await asyncio.sleep(HUBS_S)

    # What keys do.

    def act(self, plan: Plan) -> asyncio.Future[ActResult]:
        """Do it, and say in words what came of it. Who no longer waits for the words does not end it: see `finish`."""
        return self._begun(self._act(plan))

    def type_to(self, key: RowKey, text: str, keys: Sequence[str] = ()) -> asyncio.Future[ActResult]:
        """As `act`: type a line to a script, or these keys."""
        return self._begun(self._type_to(key, text, keys))

    def _begun(self, doing: Coroutine[None, None, ActResult]) -> asyncio.Future[ActResult]:
        task = asyncio.ensure_future(doing)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return asyncio.shield(task)

    async def finish(self) -> None:
        """Wait for what keys have asked for, at most as long as an instance may take to answer."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=CALL_ANSWER_S)

    async def _act(self, plan: Plan) -> ActResult:
        entry = self.model.instances[plan.instance]
        try:
            scripts: Sequence[str] = plan.scripts
            if entry.facts.host and (plan.verb == "start" or not scripts):  # its files are not here
                return ActResult(f"it is on {entry.facts.host}: brum up there, or choose a script", has_failed=True)
            if not scripts and plan.verb in {"start", "run"}:
                scripts = await self._outside.scripts_to_start(entry.facts)
            if not scripts and plan.verb != "start":
                return ActResult("nothing says what to start here: choose a script")
            if plan.verb == "start":
                await self._outside.start(entry.facts, scripts)
            verb = "run" if plan.verb == "start" else plan.verb
            says = await asyncio.gather(*(self._act_on(verb, plan.instance, script) for script in scripts))
        except BrummerError as error:
            return _failed(error)
        words = "; ".join(each.words for each in says) or f"{entry.name} runs"
        return ActResult(words, has_failed=any(each.has_failed for each in says))

    async def _act_on(self, verb: str, instance: str, script: str) -> ActResult:
        more: dict[str, object] = {"asked_by": "view"}
        if verb != "stop":
            more |= {"wait": "none", "environment": self._environment if instance == self.model.own else None}
        try:
            answer = await self.ask(f"scripts_{verb}", instance=instance, name=script, **more)
        except AskFailed as error:
            return _failed(error)
        outcome = next((each.outcome for each in processes_of({"processes": [answer]})), "done")
        return ActResult(displayable(f"{script}: {outcome}"))

    async def page_address(self) -> str:
        """An address that opens the page of all projects once. Raises BrummerError."""
        return await self._outside.page_address()

    async def end_own(self) -> None:
        """End this project's instance. Raises BrummerError."""
        await self._outside.end(self.model.own or "")

    async def _type_to(self, key: RowKey, text: str, keys: Sequence[str]) -> ActResult:
        arguments: dict[str, object] = {"name": key.script, **({"keys": list(keys)} if keys else {"text": text})}
        try:
            await self.ask("instance_call", instance=key.instance, tool="scripts_input", arguments=arguments)
        except AskFailed as error:
            return _failed(error)
        return ActResult(displayable(f"typed to {key.script}"))

    # Lines.

    def has_waited(self, asked_s: float) -> bool:
        """A call that was asked then has waited for news. If there were none, the next one may follow at once."""
        return self._loop.time() - asked_s > PAUSE_S

    async def until_news(self, instance: str, at_most_s: float | None = None) -> None:
        """Wait until something is new of this instance, or the time is over."""
        came = asyncio.Event()
        end = self.changed.subscribe(lambda whose: came.set() if whose in {"", instance} else None)
        try:
            await _within(at_most_s, came)
        finally:
            end()


class _Followed:
    """One instance with its task. ``is_stale``: all of it is to be asked at once, without a wait."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.stirred = asyncio.Event()
        self.cursor: str | None = None
        self.is_away = False
        self.is_stale = True

    def stir(self) -> None:
        """Its link has moved, or its files may have changed."""
        self.is_stale = True
        self.stirred.set()


def _failed(error: BrummerError) -> ActResult:
    return ActResult(displayable(error.message), has_failed=True)


async def _within(seconds: float | None, event: asyncio.Event) -> bool:
    """Wait until it is set, or the time is over; whether it is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
