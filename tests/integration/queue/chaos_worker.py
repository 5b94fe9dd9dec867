"""A worker that is killed at random: ``python -m … SOCKET_DIRECTORY USER DATABASE RUNS_FILE``.

Writes ``job attempt begin`` and ``job attempt end`` lines, each with one write, to its own file.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import DatabaseUnavailable
from lumilio.log import configure_logging
from lumilio.queue.kinds import JobContext
from tests.integration.queue.work import Args, kind_of, working

MAX_ATTEMPTS = 200
"""More often than any job can be unlucky."""


@asynccontextmanager
async def _opened(address: DatabaseAddress) -> AsyncIterator[Database]:
    """Open the database as soon as it is there: a supervisor would start the process again until then."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                db = await stack.enter_async_context(open_database(address, pool_size=4))
                break
            except DatabaseUnavailable:
                await asyncio.sleep(0.1)
        yield db


async def main(host: str, user: str, database: str, runs: str) -> None:
    """Work until killed."""
    descriptor = os.open(runs, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def work(context: JobContext, _args: Args) -> None:
        os.write(descriptor, b"%d %d begin\n" % (context.job_id, context.attempt))
        await asyncio.sleep(0)
        os.write(descriptor, b"%d %d end\n" % (context.job_id, context.attempt))

    address = DatabaseAddress(host=host, user=user, database=database)
    async with (
        _opened(address) as db,
        working(db, kind_of(work, max_attempts=MAX_ATTEMPTS), slots=50, heartbeat=0.5, rescue_after=3, poll=0.5),
    ):
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logging("error", "json")
    uvloop.run(main(*sys.argv[1:]))
