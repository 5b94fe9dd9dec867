"""What running jobs say of themselves, written a second at a time: the latest of each, all in one statement."""

import asyncio
from dataclasses import dataclass

from lumilio.db import Database
from lumilio.errors import DatabaseUnavailable
from lumilio.log import printable
from lumilio.model import JobId
from lumilio.queue.outage import Outage

_MESSAGE_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class _Said:
    fraction: float | None
    message: str | None


class ProgressBoard:
    """Collects reports of one worker's jobs; ``interval`` is seconds between two writes."""

    def __init__(self, *, db: Database, worker_id: int, interval: float = 1.0) -> None:
        self.name = "queue progress"
        self._db = db
        self._worker_id = worker_id
        self._interval = interval
        self._said: dict[tuple[JobId, int], _Said] = {}
        self._attention = asyncio.Event()
        self._outage = Outage(self.name)

    def report(self, job_id: JobId, attempt: int, fraction: float | None, message: str | None) -> None:
        """Note what a job says; what is over its bounds is cut. What a job that has ended said is not kept."""
        share = None if fraction is None else min(1.0, max(0.0, fraction))
        text = None if message is None else printable(message)[:_MESSAGE_CHARACTERS]
        self._said[(job_id, attempt)] = _Said(share, text)
        self._attention.set()

    async def run(self) -> None:
        """Write until cancelled. While the database is away the latest of each job waits."""
        while True:
            await self._attention.wait()
            self._attention.clear()
            try:
                await self._write()
                self._outage.ends()
            except DatabaseUnavailable as exc:
                await asyncio.sleep(self._outage.begins(exc))
                self._attention.set()
            await asyncio.sleep(self._interval)

    async def _write(self) -> None:
        said = sorted(self._said.items(), key=lambda item: item[0])  # everybody locks jobs in this order
        async with self._db.session() as session:
            await session.execute(
                "jobs.report_progress",
                self._worker_id,
                [job_id for (job_id, _), _ in said],
                [attempt for (_, attempt), _ in said],
                [told.fraction for _, told in said],
                [told.message for _, told in said],
            )
        for key, told in said:
            if self._said.get(key) is told:
                del self._said[key]
