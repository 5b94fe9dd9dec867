"""100,000 jobs while workers are killed and PostgreSQL crashes: none is lost, none is done twice in one attempt."""

import asyncio
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import DatabaseUnavailable
from lumilio.migrate import migrate
from lumilio.queue.control import depths
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import enqueue_many
from lumilio.tools.postgres import RunningCluster, run_cluster
from tests.integration.queue.chaos_worker import MAX_ATTEMPTS
from tests.integration.queue.work import Args, kind_of

JOBS = 100_000
WORKERS = 3
CHECKOUT = Path(__file__).parents[3]
LONGEST = 400.0


class Crew:
    """Worker processes, of which one is killed and replaced every now and then."""

    def __init__(self, address: DatabaseAddress, directory: Path) -> None:
        self.kills = 0
        self._address = address
        self._directory = directory
        self._started = 0
        self._processes: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> "Crew":
        for _ in range(WORKERS):
            await self._hire()
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self._processes:
            await _end(process)

    async def _hire(self) -> None:
        runs = self._directory / f"runs-{self._started}"
        self._started += 1
        self._processes.append(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.integration.queue.chaos_worker"),
                *(str(self._address.host), str(self._address.user), str(self._address.database), str(runs)),
                cwd=CHECKOUT,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                stdin=asyncio.subprocess.DEVNULL,
            )
        )

    async def rage(self, chance: random.Random) -> None:
        while True:
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            victim = self._processes.pop(chance.randrange(len(self._processes)))
            assert victim.returncode is None, "a worker ended by itself"
            await _end(victim)
            self.kills += 1
            await self._hire()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


@asynccontextmanager
async def _opened(cluster: RunningCluster) -> AsyncIterator[Database]:
    address = cluster.address
    async with open_database(
        DatabaseAddress(host=address.host, user=address.user, database=address.database), pool_size=2
    ) as db:
        yield db


async def _more_than(db: Database, threshold: int) -> bool:
    async with asyncio.timeout(10), db.session() as session:
        return sum(depth.jobs for depth in (await depths(session)).values()) > threshold


async def _outcomes(address: DatabaseAddress) -> "list[asyncpg.Record]":
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**address.connect_args())
    try:
        return await connection.fetch(
            "SELECT state, count(*) AS jobs, max(attempt) AS most FROM all_jobs GROUP BY state"
        )
    finally:
        await connection.close()


async def _never(_context: JobContext, _args: Args) -> None:
    raise AssertionError


@pytest.mark.timeout(LONGEST + 60)
async def test_nothing_is_lost_or_doubled_while_workers_are_killed_and_postgresql_crashes(tmp_path: Path) -> None:
    chance = random.Random(7)
    kind = kind_of(_never, max_attempts=MAX_ATTEMPTS)
    restarts = 0
    with tempfile.TemporaryDirectory(prefix="lumilio-chaos-") as name:
        async with AsyncExitStack() as stack, asyncio.timeout(LONGEST):
            directory = Path(name)
            crew: Crew | None = None
            for threshold in (JOBS * 2 // 3, JOBS // 3, 0):
                async with run_cluster(directory / "postgres") as cluster, _opened(cluster) as db:
                    if crew is None:
                        await migrate(db)
                        for start in range(0, JOBS, 5000):
                            async with db.transaction() as tx:
                                await enqueue_many(tx, [kind.spec(Args(n=start + n)) for n in range(5000)])
                        at = cluster.address
                        address = DatabaseAddress(host=at.host, user=at.user, database=at.database)
                        crew = await stack.enter_async_context(Crew(address, tmp_path))
                    raging = asyncio.create_task(crew.rage(chance), name="kills")
                    with suppress(DatabaseUnavailable):
                        while await _more_than(db, threshold):
                            await asyncio.sleep(0.1)
                    raging.cancel()
                    await asyncio.wait([raging])
                    if threshold:
                        os.kill(cluster.pid, 9)
                        await cluster.wait_exited()
                        restarts += 1
                    else:
                        (outcome,) = await _outcomes(address)
    lines = [line for path in tmp_path.glob("runs-*") for line in path.read_text().splitlines()]
    ends = Counter(line for line in lines if line.endswith(" end"))
    assert (outcome["state"], outcome["jobs"]) == ("completed", JOBS)
    assert len({line.split(" ")[0] for line in ends}) == JOBS
    assert max(ends.values()) == 1, "done twice in one attempt"
    assert outcome["most"] > 1, "no job was ever rescued"
    assert restarts == 2
    assert crew is not None
    assert crew.kills >= 6
