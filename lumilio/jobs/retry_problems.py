"""Try again what failed: by itself when a tool has another version or a format is new, and when somebody asks."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from pydantic import BaseModel

from lumilio.catalog import problems
from lumilio.catalog.problems import Candidate, ListedProblem, Position, ProblemFilter
from lumilio.db import Database, Tx
from lumilio.errors import JobSnoozed, RepositoryOffline
from lumilio.jobs import make_web_version, render_asset
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.model import AssetId, RepositoryId, UserId
from lumilio.queue import control, store
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Priority
from lumilio.queue.store import JobSpec
from lumilio.storage.disk import run_blocking

KIND = "retry_problems"
QUEUE = "files"
BATCH = 500
"""Problems or assets that one transaction deals with."""
UNRENDERED_AT_ONCE = 3000
"""Jobs for assets of earlier versions that may wait: a library of millions is taken piece by piece."""
UNRENDERED_DELAY = timedelta(minutes=5)
"""Until the next piece: hardly sooner than it is done, at ten photos a second."""

_RENDERING = (render_asset.STEP, None)
_NO_FACTS = (render_asset.STEP, make_web_version.STEP)
"""Steps that fail without anything being wrong with the facts."""

_Take = Callable[[Tx, AssetId | None], Awaitable[Sequence[Candidate]]]


class Args(BaseModel):
    """Nothing: what is due is looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """Of how many assets something is tried again soon, and of how many a job was at it already."""

    retried: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """How many assets or problems were found, and how many jobs they made: some had one."""

    assets: int
    jobs: int


def spec() -> JobSpec:
    """One look at everything, however often it is asked for."""
    return JobSpec(kind=KIND, queue=QUEUE, args=Args(), key="all", max_attempts=10)


def again(asset_id: AssetId, owner_id: UserId, step: str | None, *, facts: bool = False) -> JobSpec:
    """The job that tries a step of an asset again; None: that makes it what it never was. ``facts``: they are read
    before, even if only rendering failed."""
    if step == make_web_version.STEP:
        return make_web_version.spec(asset_id, owner_id)
    return render_asset.spec(asset_id, owner_id, facts=facts or step not in _RENDERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryProblems:
    """The job kind with what it uses: who asks for the ``versions`` of the tools, and the ``formats`` that have a
    processor.

    ``versions`` maps the tools as problems name them, and ``lumilio`` for problems that name none. It is asked at each
    run: tools are upgraded under a daemon that goes on.
    """

    library: Library
    versions: Callable[[], Awaitable[Mapping[str, str]]]
    formats: Collection[str]

    async def work(self, _job: JobContext, _args: Args) -> Mapping[str, object]:
        """Enqueue, for when nothing else is to be done, what another version of a tool or of Lumilio may manage.

        A second run finds nothing: a problem counts for the version that was asked for another try, and an asset has
        one job of a kind at a time. Raises JobSnoozed while more assets are to be rendered anew than may wait at once.
        """
        versions, online = await self.versions(), await self._online()

        async def outdated(tx: Tx, _after: AssetId | None) -> Sequence[Candidate]:
            return await problems.take_outdated(tx, versions, limit=BATCH)

        async def supported(tx: Tx, after: AssetId | None) -> Sequence[Candidate]:
            return await problems.now_supported(tx, sorted(self.formats), after=after, limit=BATCH)

        async def unrendered(tx: Tx, after: AssetId | None) -> Sequence[Candidate]:
            return await problems.unrendered(tx, online, after=after, limit=BATCH)

        retried, rendered = await self._enqueue_all(outdated), await self._enqueue_all(supported)
        renewed = await self._enqueue_all(unrendered, most=UNRENDERED_AT_ONCE, facts=True)
        jobs = {"outdated": retried.jobs, "supported": rendered.jobs, "unrendered": renewed.jobs}
        if any(jobs.values()):
            get_log().info("problem.retried", count=sum(jobs.values()))
        if renewed.assets >= UNRENDERED_AT_ONCE:
            raise JobSnoozed(UNRENDERED_DELAY, "more files of an earlier version are to be rendered anew")
        return jobs

    async def _enqueue_all(self, take: _Take, *, most: int | None = None, facts: bool = False) -> _Taken:
        """Enqueue what ``take`` finds after an asset, a batch a transaction, until it finds no more or ``most``."""
        assets = jobs = 0
        after: AssetId | None = None
        while most is None or assets < most:
            async with self.library.db.transaction() as tx:
                found = await take(tx, after)
                tries = await _again(tx, [(each.asset_id, each.owner_id, each.step) for each in found], facts=facts)
                specs = _unique(replace(each, priority=Priority.IDLE) for each in tries)
                jobs += sum(each.created for each in await store.enqueue_many(tx, specs))
            _wake(self.library, specs)
            assets += len(found)
            if len(found) < BATCH:
                break
            after = found[-1].asset_id
        return _Taken(assets=assets, jobs=jobs)

    async def _online(self) -> Sequence[RepositoryId]:
        """Where files can be read now: jobs for the others would only wait, and keep those from their turn."""
        online = []
        for repository_id, owned in self.library.repositories.items():
            with suppress(RepositoryOffline):
                await run_blocking(owned.repository.check_online)
                online.append(repository_id)
        return online


async def _again(
    tx: Tx, failed: Sequence[tuple[AssetId, UserId, str | None]], *, facts: bool = False
) -> Sequence[JobSpec]:
    """The jobs that try steps of assets again. One that reads the facts renders as well: where anything but rendering
    failed too, or with ``facts``, it is that one alone, because two would be at the asset at once."""
    rendered = [asset_id for asset_id, _, step in failed if step in _RENDERING]
    elsewhere = await problems.failed_elsewhere(tx, rendered, _NO_FACTS)
    return [
        again(asset_id, owner_id, step, facts=facts or asset_id in elsewhere) for asset_id, owner_id, step in failed
    ]


def _unique(specs: Iterable[JobSpec]) -> Sequence[JobSpec]:
    return list({(each.kind, each.key): each for each in specs}.values())


def _wake(library: Library, specs: Sequence[JobSpec]) -> None:
    for queue in {each.queue for each in specs}:
        library.wake_queue(queue)


async def retry(library: Library, owner_id: UserId, wanted: ProblemFilter, *, dry_run: bool = False) -> Retried:
    """Try all that fits again. A job that waits for a later moment is made due now."""
    tried: set[AssetId] = set()
    waiting: set[AssetId] = set()
    async for found in pages(library.db, owner_id, wanted):
        if dry_run:
            tried.update(each.asset_id for each in found)
            continue
        async with library.db.transaction() as tx:
            specs = await _again(tx, [(each.asset_id, owner_id, each.problem.step) for each in found])
            for each, soon in (await _enqueue(tx, found, specs)).items():
                (tried if soon else waiting).add(each)
        _wake(library, specs)
    return Retried(retried=len(tried), waiting=len(waiting - tried))


async def _enqueue(tx: Tx, found: Sequence[ListedProblem], specs: Sequence[JobSpec]) -> Mapping[AssetId, bool]:
    """Whether an asset got a job or a sooner one; ``specs`` are those of the problems."""
    enqueued = await store.enqueue_many(tx, _unique(specs))
    by_key = {(each.kind, each.key): done for each, done in zip(_unique(specs), enqueued, strict=True)}
    hastened = await control.hasten(tx, [done.job_id for done in enqueued if not done.created])
    soon: dict[AssetId, bool] = {}
    for listed, each in zip(found, specs, strict=True):
        done = by_key[each.kind, each.key]
        soon[listed.asset_id] = soon.get(listed.asset_id, False) or done.created or done.job_id in hastened
    return soon


async def set_ignored(
    library: Library, owner_id: UserId, wanted: ProblemFilter, *, ignored: bool, dry_run: bool = False
) -> int:
    """Ignore all problems that fit, or no longer. How many that changed."""
    changed = 0
    async for found in pages(library.db, owner_id, replace(wanted, ignored=not ignored)):
        if dry_run:
            changed += len(found)
            continue
        async with library.db.transaction() as tx:
            named = [(each.asset_id, each.problem.step) for each in found]
            changed += await problems.set_ignored(tx, owner_id, named, ignored=ignored)
    return changed


async def pages(db: Database, owner_id: UserId, wanted: ProblemFilter) -> AsyncIterator[Sequence[ListedProblem]]:
    """The problems that fit now, each once: one that fails meanwhile is passed by."""
    after: Position | None = None
    while True:
        async with db.session() as session:
            page = await problems.page(session, owner_id, wanted, after=after, limit=BATCH)
        if page.items:
            yield page.items
        if page.end is None:
            return
        after = page.end


async def next_attempts(
    tx: Tx, owner_id: UserId, listed: Sequence[ListedProblem]
) -> Mapping[tuple[AssetId, str], store.Job]:
    """The jobs that try some of the problems again, by asset and step."""
    specs = [
        (each, again(each.asset_id, owner_id, each.problem.step, facts=facts))
        for each in listed
        for facts in (True, False)  # rendering alone, where a job does that, is what is shown
    ]
    found: dict[tuple[str, str | None], store.Job] = {}
    for kind in {each.kind for _, each in specs}:
        keys = list({each.key for _, each in specs if each.kind == kind and each.key is not None})
        live = await store.live_ids(tx, kind, keys)
        jobs = await store.get_jobs(tx, list(live.values()))
        found |= {(kind, key): jobs[job_id] for key, job_id in live.items() if job_id in jobs}
    return {
        (listed.asset_id, listed.problem.step): found[each.kind, each.key]
        for listed, each in specs
        if (each.kind, each.key) in found
    }
