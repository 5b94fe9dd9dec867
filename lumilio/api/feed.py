"""What happens to jobs, for everybody who watches: one look at the database every half second, while somebody does."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from lumilio.api.context import scope_of
from lumilio.api.watch import MOST_ENDED, Look, Watch, moment_of
from lumilio.db import Database, Tx
from lumilio.errors import DatabaseUnavailable, TooManyRequests
from lumilio.log import get_log
from lumilio.model import JobId
from lumilio.queue import control
from lumilio.queue.outage import Outage
from lumilio.queue.store import Job
from lumilio.tools.tokens import Caller

LOOK_SECONDS = 0.5
MOST_WAITING = 2000
"""Jobs that wait for one subscriber; beyond, they are dropped and it is told to list anew."""
MOST_SUBSCRIBERS = 64
MOST_OF_ONE = 16
"""Subscribers of one account."""
MOST_AHEAD = timedelta(minutes=2)
"""By how much a cursor may be later than what is seen now; one beyond is of another database, or made up."""

log = get_log()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one look found for a subscriber. ``reset``: something was missed before, so that it has to list anew.

    ``before`` is where to resume until the last of the jobs was received, ``after`` from then on.
    """

    jobs: Sequence[Job]
    reset: bool = False
    before: datetime
    after: datetime


class Subscription:
    """What waits for one client. ``resume`` is the cursor that it named; ``limit`` is what ends its stream."""

    def __init__(
        self, caller: Caller, *, kind: str | None, queue: str | None, resume: str | None, limit: asyncio.Timeout
    ) -> None:
        self.caller = caller
        self.resume = resume
        self.begun = False
        self.passed: datetime | None = None
        self._scope = scope_of(caller)
        self._kind = kind
        self._queue = queue
        self._limit = limit
        self._batches: deque[Batch] = deque()
        self._attention = asyncio.Event()

    def chosen(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Those of the jobs that the client may see and asked for."""
        return [
            job
            for job in jobs
            if self._scope in {None, job.owner_id}
            and self._kind in {None, job.kind}
            and self._queue in {None, job.queue}
        ]

    def push(self, batch: Batch) -> None:
        """Let a batch wait; when too much does, all of it is replaced by a reset."""
        if batch.jobs and len(batch.jobs) + sum(len(each.jobs) for each in self._batches) > MOST_WAITING:
            self._batches.clear()
            batch = Batch(jobs=(), reset=True, before=batch.after, after=batch.after)
        self._batches.append(batch)
        self._attention.set()

    async def next(self, seconds: float) -> Batch | None:
        """The next batch; None when none came within ``seconds``: then everything up to ``passed`` was taken."""
        if not self._batches:
            self._attention.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._attention.wait()
            except TimeoutError:
                return None
        return self._batches.popleft()

    def end(self) -> None:
        """End the stream now, even if it waits for its client."""
        if not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())


class Feed:
    """The look that all subscribers share, while there are any. ``keep`` is how long jobs that ended are kept."""

    def __init__(self, db: Database, *, keep: timedelta) -> None:
        self._db = db
        self._keep = keep
        self._subscriptions: set[Subscription] = set()
        self._attention = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @contextmanager
    def subscribed(self, subscription: Subscription) -> Iterator[None]:
        """Fill the subscription meanwhile. Raises TooManyRequests."""
        of_one = sum(each.caller.user_id == subscription.caller.user_id for each in self._subscriptions)
        if len(self._subscriptions) >= MOST_SUBSCRIBERS or of_one >= MOST_OF_ONE:
            raise TooManyRequests("too many event streams are open; close one", details={"retry_after": 5})
        self._subscriptions.add(subscription)
        self._attention.set()
        if self._closed:
            subscription.end()
        elif self._looking is None or self._looking.done():
            of_nobody = contextvars.Context()  # what it logs is not about the request that happened to start it
            self._looking = asyncio.create_task(self._look_on(), name="event feed", context=of_nobody)
        try:
            yield
        finally:
            self._subscriptions.discard(subscription)

    async def close(self) -> None:
        """End all streams; later ones end at once."""
        self._closed = True
        self._end_all()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _end_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()

    async def _look_on(self) -> None:
        watch, outage = Watch(), Outage("event feed")
        try:
            while self._subscriptions:
                self._attention.clear()
                try:
                    async with self._db.session() as session:
                        await self._look_once(session, watch)
                    outage.ends()
                except DatabaseUnavailable as exc:
                    await asyncio.sleep(outage.begins(exc))
                    continue
                await self._pause()
        except Exception:
            log.exception("events.feed_failed")
            self._end_all()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._attention.wait()
        except TimeoutError:
            return

    async def _look_once(self, tx: Tx, watch: Watch) -> None:
        old = [each for each in self._subscriptions if each.begun]
        new = [each for each in self._subscriptions if not each.begun]
        look = await watch.look(tx)
        first = [(each, await self._first(tx, each, look)) for each in new]
        for subscription in old:
            jobs = () if look.flooded else subscription.chosen(look.changed)
            if look.flooded or jobs:
                before = look.horizon if look.flooded else look.since
                subscription.push(Batch(jobs=jobs, reset=look.flooded, before=before, after=look.horizon))
            subscription.passed = look.horizon
        for subscription, batch in first:
            subscription.push(batch)
            subscription.begun, subscription.passed = True, look.horizon

    async def _first(self, tx: Tx, subscription: Subscription, look: Look) -> Batch:
        """What ended since the client's cursor, if it named one, and what runs."""
        running = subscription.chosen(look.running)
        if subscription.resume is None:
            return Batch(jobs=running, before=look.horizon, after=look.horizon)
        since = moment_of(subscription.resume)
        if since is not None and look.horizon - self._keep <= since <= look.horizon + MOST_AHEAD:
            ended = await control.ended_since(tx, since, JobId(0), MOST_ENDED + 1)
            if len(ended) <= MOST_ENDED:
                return Batch(jobs=[*subscription.chosen(ended), *running], before=since, after=look.horizon)
        return Batch(jobs=running, reset=True, before=look.horizon, after=look.horizon)
