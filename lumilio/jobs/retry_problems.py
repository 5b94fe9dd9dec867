"""Try again what failed: by itself when a tool has another version or a format is new, and when somebody asks."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from lumilio.catalog import problems
from lumilio.catalog.problems import Candidate, ListedProblem, Position, ProblemFilter
from lumilio.db import Database, Tx
from lumilio.jobs import make_web_version, render_asset
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.model import AssetId, UserId
from lumilio.queue import control, store
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Priority
from lumilio.queue.store import JobSpec

KIND = "retry_problems"
QUEUE = "files"
BATCH = 500
"""Problems or assets that one transaction deals with."""


class Args(BaseModel):
    """Nothing: what is due is looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """Of how many assets something is tried again soon, and of how many a job was at it already."""

    retried: int
    waiting: int


def spec() -> JobSpec:
    """One look at everything, however often it is asked for."""
    return JobSpec(kind=KIND, queue=QUEUE, args=Args(), key="all", max_attempts=3)


def again(asset_id: AssetId, owner_id: UserId, step: str | None) -> JobSpec:
    """The job that tries a step of an asset again; None: that makes it what it never was."""
    match step:
        case make_web_version.STEP:
            return make_web_version.spec(asset_id, owner_id)
        case render_asset.STEP | None:
            return render_asset.spec(asset_id, owner_id)
        case _:
            return render_asset.spec(asset_id, owner_id, facts=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryProblems:
    """The job kind with what it uses: the ``versions`` of the tools here, and the ``formats`` that have a processor.

    ``versions`` maps the tools as problems name them, and ``lumilio`` for problems that name none.
    """

    library: Library
    versions: Mapping[str, str]
    formats: Collection[str]

    async def work(self, _job: JobContext, _args: Args) -> Mapping[str, object]:
        """Enqueue, for when nothing else is to be done, what another version of a tool may manage.

        A second run finds nothing: a problem counts for the version that was asked for another try, and an asset has
        one job of a kind at a time.
        """
        outdated, supported = await self._retry_outdated(), await self._render_supported()
        if outdated or supported:
            get_log().info("problem.retried", count=outdated + supported)
        return {"outdated": outdated, "supported": supported}

    async def _retry_outdated(self) -> int:
        jobs = 0
        while True:
            async with self.library.db.transaction() as tx:
                found = await problems.take_outdated(tx, self.versions, limit=BATCH)
                specs = _when_idle(found)
                made = sum(each.created for each in await store.enqueue_many(tx, specs))
            _wake(self.library, specs)
            jobs += made
            if len(found) < BATCH:
                return jobs

    async def _render_supported(self) -> int:
        jobs, after = 0, None
        while True:
            async with self.library.db.transaction() as tx:
                found = await problems.now_supported(tx, sorted(self.formats), after=after, limit=BATCH)
                specs = _when_idle(found)
                made = sum(each.created for each in await store.enqueue_many(tx, specs))
            _wake(self.library, specs)
            jobs += made
            if len(found) < BATCH:
                return jobs
            after = found[-1].asset_id


def _when_idle(found: Sequence[Candidate]) -> Sequence[JobSpec]:
    specs = _unique(again(each.asset_id, each.owner_id, each.step) for each in found)
    return [replace(each, priority=Priority.IDLE) for each in specs]


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
            for each, soon in (await _enqueue(tx, owner_id, found)).items():
                (tried if soon else waiting).add(each)
        _wake(library, [again(each.asset_id, owner_id, each.problem.step) for each in found])
    return Retried(retried=len(tried), waiting=len(waiting - tried))


async def _enqueue(tx: Tx, owner_id: UserId, found: Sequence[ListedProblem]) -> Mapping[AssetId, bool]:
    """Whether an asset got a job or a sooner one."""
    specs = [again(each.asset_id, owner_id, each.problem.step) for each in found]
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
    specs = {(each.asset_id, each.problem.step): again(each.asset_id, owner_id, each.problem.step) for each in listed}
    found: dict[tuple[str, str | None], store.Job] = {}
    for kind in {each.kind for each in specs.values()}:
        keys = [each.key for each in specs.values() if each.kind == kind and each.key is not None]
        live = await store.live_ids(tx, kind, keys)
        jobs = await store.get_jobs(tx, list(live.values()))
        found |= {(kind, key): jobs[job_id] for key, job_id in live.items() if job_id in jobs}
    return {name: found[each.kind, each.key] for name, each in specs.items() if (each.kind, each.key) in found}
