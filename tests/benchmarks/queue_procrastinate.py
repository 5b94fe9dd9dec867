"""procrastinate as it is when not told otherwise: notified of new jobs, finished jobs kept, psycopg's pool of four.

A pool of ten or more is slower: each job that ends asks it for a connection.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector
from procrastinate.tasks import Task

from lumilio.db import DatabaseAddress
from tests.benchmarks.queue_contender import Ran


class Procrastinate:
    """Makes an app and its worker."""

    name = "procrastinate"
    unfinished = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"

    async def install(self, address: DatabaseAddress) -> None:
        """Apply its schema."""
        async with App(connector=_connector(address)).open_async() as app:
            await app.schema_manager.apply_schema_async()

    @asynccontextmanager
    async def open(
        self, address: DatabaseAddress, *, concurrency: int, ran: Ran
    ) -> AsyncIterator["ProcrastinateQueue"]:
        """An app with one task."""

        async def work(number: int) -> None:
            ran(number)

        app = App(connector=_connector(address))
        task = app.task(name="noop")(work)
        async with app.open_async():
            yield ProcrastinateQueue(app, task, concurrency)


class ProcrastinateQueue:
    """An app, which both enqueues and works."""

    def __init__(self, app: App, task: Task, concurrency: int) -> None:
        self._app = app
        self._task = task
        self._concurrency = concurrency

    async def enqueue(self, number: int) -> None:
        """One statement."""
        await self._task.defer_async(number=number)

    async def enqueue_many(self, numbers: range) -> None:
        """One statement."""
        await self._task.batch_defer_async(*[{"number": number} for number in numbers])

    async def work(self, stopping: asyncio.Event) -> None:
        """Cancelling stops it gracefully."""
        async with asyncio.TaskGroup() as group:
            worker = self._app.run_worker_async(concurrency=self._concurrency, install_signal_handlers=False)
            working = group.create_task(worker)
            await stopping.wait()
            working.cancel()


def _connector(address: DatabaseAddress) -> PsycopgConnector:
    kwargs = {"host": address.host, "user": address.user, "dbname": address.database}
    return PsycopgConnector(kwargs=kwargs)
