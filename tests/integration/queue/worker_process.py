"""A worker as a process of its own, to be killed: ``python -m … SOCKET_DIRECTORY USER DATABASE MODE``.

Prints ``started N`` for each job it begins. MODE ``hang`` never finishes one, ``work`` finishes all.
"""

import asyncio
import sys

from lumilio.db import DatabaseAddress, open_database
from lumilio.log import configure_logging
from lumilio.queue.kinds import JobContext
from tests.integration.queue.work import Args, kind_of, working


async def main(host: str, user: str, database: str, mode: str) -> None:
    """Work until killed."""

    async def work(_context: JobContext, args: Args) -> None:
        print("started", args.n, flush=True)
        if mode == "hang":
            await asyncio.Event().wait()

    address = DatabaseAddress(host=host, user=user, database=database)
    async with open_database(address, pool_size=3) as db, working(db, kind_of(work), slots=3):
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logging("warning", "json")
    asyncio.run(main(*sys.argv[1:]))
