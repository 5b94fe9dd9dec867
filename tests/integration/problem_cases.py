"""Assets with problems, and the job that tries them again, for the tests of both."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lumilio.catalog import assets, problems, users
from lumilio.catalog.assets import NewAsset
from lumilio.catalog.problems import ListedProblem, ProblemFilter
from lumilio.db import Database, Tx
from lumilio.jobs import render_asset, retry_problems
from lumilio.jobs.library import Library, OwnedRepository
from lumilio.jobs.retry_problems import RetryProblems
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    ContentHash,
    Facts,
    JobId,
    MediaKind,
    MediaType,
    Problem,
    ProcessingState,
    Role,
    UserId,
)
from lumilio.queue.control import JobFilter, list_jobs
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import Job
from lumilio.storage.repository import Repository

JPEG = MediaType(kind=MediaKind.PHOTO, format="jpeg", mime="image/jpeg")
NEF = MediaType(kind=MediaKind.PHOTO, format="nef", mime="image/x-nikon-nef")
MP4 = MediaType(kind=MediaKind.VIDEO, format="mp4", mime="video/mp4")
EVERYTHING = ProblemFilter()
NOTHING = {"outdated": 0, "supported": 0, "unrendered": 0}


async def user(tx: Tx, name: str = "anna") -> UserId:
    return await users.add_user(tx, name, "hash", Role.USER)


async def asset(
    tx: Tx, owner_id: UserId, media_type: MediaType = JPEG, state: ProcessingState = ProcessingState.PROBLEM
) -> AssetId:
    captured = CaptureTime(
        local=datetime(2024, 5, 1, 12),  # noqa: DTZ001 - a wall clock
        utc_offset=None,
        source=CaptureTimeSource.EXIF,
    )
    new = NewAsset(
        owner_id=owner_id,
        content_hash=ContentHash(uuid.uuid4().hex * 2),
        file_name="photo.jpg",
        size=5,
        media_type=media_type,
        state=state,
        facts=Facts(media_type=media_type, capture_time=captured, exif={}),
    )
    asset_id = await assets.add_asset(tx, new)
    assert asset_id is not None
    return asset_id


def torn(**changes: Any) -> Problem:
    members = {
        "code": "media.damaged",
        "step": "render",
        "reason": "the picture is torn",
        "tool": "pillow",
        "tool_version": "13.0.0",
    }
    return Problem(**{**members, **changes})


async def listed(tx: Tx, owner_id: UserId, **wanted: Any) -> Sequence[ListedProblem]:
    return (await problems.page(tx, owner_id, ProblemFilter(**wanted), limit=100)).items


async def only(tx: Tx, owner_id: UserId) -> ListedProblem:
    (found,) = await listed(tx, owner_id)
    return found


async def ignore(tx: Tx, owner_id: UserId, asset_id: AssetId, step: str = "render", *, ignored: bool = True) -> int:
    return await problems.set_ignored(tx, owner_id, [(asset_id, step)], ignored=ignored)


async def render_jobs(db: Database) -> Sequence[Job]:
    async with db.session() as session:
        return await list_jobs(session, JobFilter(queue=render_asset.QUEUE), before=None, limit=5000)


def library(db: Database, woken: list[str] | None = None, repositories: Sequence[Repository] = ()) -> Library:
    owned = {
        each.id: OwnedRepository(repository=each, owner_id=UserId(uuid.uuid4()), is_default=True)
        for each in repositories
    }
    return Library(db=db, repositories=owned, wake_queue=(woken if woken is not None else []).append)


def attempt() -> JobContext:
    return JobContext(job_id=JobId(1), attempt=1, max_attempts=3, owner_id=None, report=lambda *_: None)


async def run(
    db: Database,
    versions: Mapping[str, str],
    formats: Sequence[str] = (),
    woken: list[str] | None = None,
    repositories: Sequence[Repository] = (),
) -> Mapping[str, object]:
    async def found() -> Mapping[str, str]:
        return versions

    shelf = library(db, woken, repositories)
    job = RetryProblems(library=shelf, versions=found, formats=formats)
    return await job.work(attempt(), retry_problems.Args())
