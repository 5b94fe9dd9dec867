"""Clear away what interrupted work left in staging and temp. Files of live jobs stay."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from lumilio.catalog import uploads
from lumilio.errors import RepositoryOffline, StagedFileMissing
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.model import RepositoryId
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import JobSpec
from lumilio.storage import quarantine, staging

KIND = "sweep_staging"
QUEUE = "files"
MARGIN = timedelta(minutes=10)
"""The job of a whole file may just be being committed: a file server's clock that is off must not take it away."""
GIVEN_UP = "its job was given up; the log and the job's errors say why"
UNKNOWN = "no job is known for it; if the library lacks these bytes, import this file again"


class Args(BaseModel):
    """Only files last written before ``older_than`` are looked at."""

    repository_id: UUID
    older_than: AwareDatetime


def spec(args: Args) -> JobSpec:
    """A sweep that a crash interrupted runs again, but does not stand for one that looks at newer files."""
    key = f"{args.repository_id}:{args.older_than.isoformat()}"
    return JobSpec(kind=KIND, queue=QUEUE, args=args, key=key, max_attempts=3)


def specs(library: Library, *, older_than: datetime) -> Sequence[JobSpec]:
    """A sweep of every repository that is attached here."""
    return [spec(Args(repository_id=known_id, older_than=older_than)) for known_id in library.repositories]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepStaging:
    """The job kind with what it uses."""

    library: Library

    async def work(self, _job: JobContext, args: Args) -> None:
        """A part that no job knows was never acknowledged. A whole file without a live job is set aside, never removed:

        its job may have been given up or forgotten, or the database may be another one than that which knew it.
        """
        repository = self.library.repository(RepositoryId(args.repository_id))
        try:
            await staging.clear_temp(repository, args.older_than)
            waiting = await staging.list_staged(repository)
        except RepositoryOffline:
            return
        parts = [file.upload_id for file in waiting if not file.whole and file.changed < args.older_than]
        whole = [file.upload_id for file in waiting if file.whole and file.changed < args.older_than - MARGIN]
        if not parts and not whole:
            return
        async with self.library.db.session() as session:
            live, given_up = await uploads.jobs_of(session, [*parts, *whole])
        for upload_id in parts:
            if upload_id not in live | given_up:
                await staging.discard_part(repository, upload_id)
        for upload_id in whole:
            if upload_id in live:
                continue
            reason = GIVEN_UP if upload_id in given_up else UNKNOWN
            with suppress(StagedFileMissing):  # its job has just ended
                await quarantine.quarantine(repository, upload_id, reason)
                get_log().warning("upload.set_aside", upload_id=upload_id, reason=reason)
