"""Problems: the steps that failed for files, who has seen them, and which of them are worth another try."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from lumilio.db import Row, Tx
from lumilio.log import printable
from lumilio.model import AssetId, MediaKind, Problem, RepoPath, RepositoryId, UserId

_REASON_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemFilter:
    """Which problems: all that fit everything that is given; None: any."""

    asset_ids: tuple[AssetId, ...] | None = None
    code: str | None = None
    step: str | None = None
    tool: str | None = None
    kind: MediaKind | None = None
    format: str | None = None
    ignored: bool | None = None

    def arguments(self) -> tuple[object, ...]:
        """As the queries take them."""
        return self.asset_ids, self.code, self.step, self.tool, self.kind, self.format, self.ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a page of a listing ended."""

    updated_at: datetime
    asset_id: UUID
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedProblem:
    """A problem with what people know its file by; ``path`` is None when none of its locations is in place."""

    asset_id: AssetId
    file_name: str
    path: RepoPath | None
    kind: MediaKind
    format: str
    problem: Problem
    attempts: int
    created_at: datetime
    updated_at: datetime
    ignored_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemPage:
    """Part of a listing; ``end`` is None on its last page."""

    items: Sequence[ListedProblem]
    end: Position | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemCount:
    """How many files failed in one way."""

    code: str
    step: str
    problems: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An asset that is worth another try, whose it is, and which step failed; None: it was never tried."""

    asset_id: AssetId
    owner_id: UserId
    step: str | None


async def record(tx: Tx, asset_id: AssetId, problem: Problem, *, attempts: int = 1) -> None:
    """Show a failed step beside its asset, after so many tries, which add up. What was given up before it began counts
    as one.

    What somebody ignored stays ignored while it fails in the same way with the same version of its tool.
    """
    reason = printable(problem.reason)[:_REASON_CHARACTERS]
    told = (problem.step, problem.code, reason, problem.tool, problem.tool_version)
    await tx.execute("problems.record", asset_id, *told, max(1, attempts))


async def clear(tx: Tx, asset_id: AssetId, *steps: str) -> None:
    """Steps that failed before have succeeded."""
    await tx.execute("problems.clear", asset_id, steps)


async def of_asset(tx: Tx, asset_id: AssetId) -> Sequence[Problem]:
    """The steps that failed for an asset."""
    return [_problem(row) for row in await tx.rows("problems.of_asset", asset_id)]


async def page(
    tx: Tx, owner_id: UserId, wanted: ProblemFilter, *, after: Position | None = None, limit: int
) -> ProblemPage:
    """The owner's problems outside the trash, the newest failure first, by keyset.

    One that fails anew meanwhile moves before every page, and is met no second time.
    """
    # asyncpg sends this datetime as infinity.
    start = after or Position(updated_at=datetime.max.replace(tzinfo=UTC), asset_id=UUID(int=0), step="")
    where = (start.updated_at, start.asset_id, start.step)
    rows = await tx.rows("problems.page", owner_id, *wanted.arguments(), *where, limit + 1)
    shown = [_listed(row) for row in rows[:limit]]
    end = None
    if len(rows) > limit:
        last = shown[-1]
        end = Position(updated_at=last.updated_at, asset_id=last.asset_id, step=last.problem.step)
    return ProblemPage(items=shown, end=end)


async def counts(tx: Tx, owner_id: UserId, wanted: ProblemFilter) -> Sequence[ProblemCount]:
    """The problems that ``page`` lists, by code and step, the most frequent first."""
    rows = await tx.rows("problems.counts", owner_id, *wanted.arguments())
    return [ProblemCount(code=row["code"], step=row["step"], problems=row["problems"]) for row in rows]


async def set_ignored(tx: Tx, owner_id: UserId, named: Sequence[tuple[AssetId, str]], *, ignored: bool) -> int:
    """Mark problems, named by asset and step, as of no interest, or of interest again. How many were not yet."""
    asset_ids, steps = [asset_id for asset_id, _ in named], [step for _, step in named]
    return await tx.execute("problems.set_ignored", owner_id, asset_ids, steps, ignored)


async def failed_elsewhere(tx: Tx, asset_ids: Collection[AssetId], steps: Sequence[str]) -> Collection[AssetId]:
    """Those of the assets that have a problem of another step than these."""
    return {AssetId(row["asset_id"]) for row in await tx.rows("problems.failed_elsewhere", list(asset_ids), steps)}


async def take_outdated(tx: Tx, versions: Mapping[str, str], *, limit: int) -> Sequence[Candidate]:
    """The assets of at most ``limit`` problems that other versions of the tools made; ``versions`` maps tool → version.

    Each problem is given once for each version: for the tool that it names, or for ``lumilio``. An asset may come
    several times. Ignored problems, the trash and failures of the server itself are left out.
    """
    found: list[Candidate] = []
    for tool, version in versions.items():
        rows = await tx.rows("problems.take_outdated", tool, version, limit - len(found))
        found += [_candidate(row) for row in rows]
    return found


async def now_supported(tx: Tx, formats: Sequence[str], *, after: AssetId | None, limit: int) -> Sequence[Candidate]:
    """Assets outside the trash that were of no use when they came, and are of one of ``formats``, by keyset."""
    return [_candidate(row) for row in await tx.rows("problems.now_supported", formats, after or UUID(int=0), limit)]


async def unrendered(
    tx: Tx, repository_ids: Sequence[RepositoryId], *, after: AssetId | None, limit: int
) -> Sequence[Candidate]:
    """Assets in these repositories, outside the trash, that an earlier version rendered: without hashes, places and
    what else came since. By keyset."""
    rows = await tx.rows("problems.unrendered", repository_ids, after or UUID(int=0), limit)
    return [_candidate(row) for row in rows]


def _candidate(row: Row) -> Candidate:
    return Candidate(asset_id=AssetId(row["asset_id"]), owner_id=UserId(row["owner_id"]), step=row["step"])


def _problem(row: Row) -> Problem:
    return Problem(**{key: row[key] for key in ("code", "step", "reason", "tool", "tool_version")})


def _listed(row: Row) -> ListedProblem:
    return ListedProblem(
        asset_id=AssetId(row["asset_id"]),
        file_name=row["file_name"],
        path=RepoPath(row["path"]) if row["path"] is not None else None,
        kind=MediaKind(row["kind"]),
        format=row["format"],
        problem=_problem(row),
        attempts=row["attempts"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ignored_at=row["ignored_at"],
    )
