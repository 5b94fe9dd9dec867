"""What PostgreSQL allows: pgbench calls the statement of Lumilio's worker, ``jobs.exchange``, and nothing else.

Each call claims as many jobs as fit a batch and reports those of the call before, behind the same watermark. Its answer
is one row in place of one for each job, and the statement is planned once: PostgreSQL by itself plans it again for each
call whenever it takes that for cheaper, which costs some 230 µs of CPU a call.
"""

import asyncio
import re
from asyncio.subprocess import PIPE
from pathlib import Path

from lumilio.db import DatabaseAddress, named_queries
from lumilio.tools.postgres_binaries import cluster_binaries, program_environment
from tests.benchmarks.queue_cells import BULK, PATIENCE, Sample
from tests.benchmarks.queue_contender import Server
from tests.benchmarks.queue_lumilio import QUEUE, Lumilio

ANSWER = """
SELECT
    coalesce(array_agg(id), '{}')::text AS ids,
    coalesce(array_agg(attempt), '{}')::text AS attempts,
    array_fill(NULL::text, ARRAY[count(*)::integer])::text AS results,
    ARRAY['-infinity', coalesce(max(run_at), '-infinity'), '-infinity', '-infinity']::text AS run_ats,
    ARRAY[0, coalesce(max(id), 0), 0, 0]::text AS mark_ids,
    coalesce(sum(length(kind) + length(args) + max_attempts + priority), 0) + count(owner_id) AS touched
FROM claimed
\\gset
"""
_MARKER = "-- answer\n"
_FIRST = {
    "worker_id": "77",
    "queue": QUEUE,
    "ids": "{}",
    "attempts": "{}",
    "results": "{}",
    "slots": "",
    "priorities": "{0,1,2,3}",
    "run_ats": "{-infinity,-infinity,-infinity,-infinity}",
    "mark_ids": "{0,0,0,0}",
}
"""What the first call is told, in the order of the parameters of ``jobs.exchange``."""


async def exchange(server: Server, template: str, script: Path, *, batch: int, calls: int) -> Sample:
    """So many calls by one client; the last batch is claimed and not reported."""
    jobs = batch * calls
    async with server.copy(template) as address:
        async with Lumilio().open(address, concurrency=1, ran=lambda _number: None) as queue:
            for first in range(0, jobs, BULK):
                await queue.enqueue_many(range(first, min(first + BULK, jobs)))
        await server.settle(address)
        async with server.spending() as spent:
            rate = await _calls_a_second(address, script, batch, calls)
        async with server.connected(address.database or "") as connection:
            left = int(await connection.fetchval(Lumilio.unfinished))
    if left != batch:
        raise SystemExit(f"pgbench left {left} of {jobs} jobs unfinished, not the last {batch}")
    return {"jobs_per_s": rate * batch, **spent.per_job(jobs)}


def write_script(path: Path) -> None:
    """The named query as a script of pgbench. Raises SystemExit when it has no place for another answer."""
    query, marker, _ = named_queries()["jobs.exchange"].partition(_MARKER)
    if not marker:
        raise SystemExit(f"the query jobs.exchange has no line {_MARKER.strip()!r} before its last SELECT")
    names = list(_FIRST)
    statement = re.sub(r"\$(\d+)", lambda match: f":{names[int(match[1]) - 1]}", re.sub(r"--.*", "", query))
    path.write_text(statement + ANSWER)


async def _calls_a_second(address: DatabaseAddress, script: Path, batch: int, calls: int) -> float:
    variables = [f"--define={name}={value}" for name, value in (_FIRST | {"slots": str(batch)}).items()]
    process = await asyncio.create_subprocess_exec(
        cluster_binaries().program("pgbench"),
        *[f"--host={address.host}", f"--username={address.user}", "--no-vacuum", "--protocol=prepared"],
        *[f"--file={script}", f"--transactions={calls}", *variables, address.database or ""],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=program_environment() | {"PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},
    )
    async with asyncio.timeout(PATIENCE):
        output, errors = await process.communicate()
    match = re.search(rb"^tps = ([0-9.]+)", output, re.MULTILINE)
    if process.returncode or match is None:
        raise SystemExit(f"pgbench ended with {process.returncode}:\n{errors.decode()[-2000:]}")
    return float(match[1])
