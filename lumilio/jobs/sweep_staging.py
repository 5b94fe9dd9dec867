"""Remove what interrupted work left in staging and temp. Files that a job refers to, live or finished, stay."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from stat import S_ISREG
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from lumilio.catalog import uploads
from lumilio.errors import RepositoryOffline
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.model import RepositoryId
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import JobSpec
from lumilio.storage import staging
from lumilio.storage.disk import storage_errors
from lumilio.storage.repository import Repository

KIND = "sweep_staging"
QUEUE = "files"


class Args(BaseModel):
    """Only files last written before ``older_than`` are looked at."""

    repository_id: UUID
    older_than: AwareDatetime


def spec(args: Args) -> JobSpec:
    """A sweep that a crash interrupted runs again, but does not stand for one that looks at newer files."""
    key = f"{args.repository_id}:{args.older_than.isoformat()}"
    return JobSpec(kind=KIND, queue=QUEUE, args=args, key=key, max_attempts=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStaging:
    """The job kind with what it uses."""

    library: Library

    async def work(self, _job: JobContext, args: Args) -> None:
        """A file without a job was never acknowledged; one whose job was given up is set aside instead."""
        repository = self.library.repository(RepositoryId(args.repository_id))
        try:
            await asyncio.to_thread(repository.check_online)
        except RepositoryOffline:
            return
        await asyncio.to_thread(_clear_temp, repository, args.older_than)
        waiting = await staging.list_staged(repository)
        old = [file.upload_id for file in waiting if file.changed < args.older_than]
        if not old:
            return
        async with self.library.db.session() as session:
            live, given_up = await uploads.jobs_of(session, old)
        removed = 0
        for upload_id in old:
            if upload_id in given_up:
                await staging.quarantine(
                    repository, upload_id, "its job was given up; the log and the job's errors say why"
                )
            elif upload_id not in live:
                await staging.discard_upload(repository, upload_id)
                removed += 1
        if removed:
            get_log().info("staging.swept", repository_id=repository.id, count=removed)


def _clear_temp(repository: Repository, older_than: datetime) -> None:
    """Half-written files of a killed daemon; nobody will ever give them a name."""
    with storage_errors("clearing", repository.temp):
        for path in repository.temp.glob(".*"):
            with suppress(FileNotFoundError):
                status = path.lstat()
                if S_ISREG(status.st_mode) and datetime.fromtimestamp(status.st_ctime, UTC) < older_than:
                    path.unlink()
