"""The measurements that every contender goes through. Rates are jobs a second, latencies milliseconds."""

import asyncio
import gc
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from lumilio.db import DatabaseAddress
from tests.benchmarks.queue_contender import Contender, Queue, Server

BULK = 1000
"""Jobs in one call."""
PATIENCE = 300.0
"""Seconds after which a measurement has failed."""
IDLE_CONCURRENCY = 10
_WARM_UP = 20
_GAP = (0.02, 0.03)

Sample = dict[str, float]
During = Callable[[DatabaseAddress], AbstractAsyncContextManager[object]]


@dataclass(slots=True, kw_only=True)
class Claims:
    """How jobs are to be run. The last ``tail`` of them are timed by themselves too; ``during`` is open meanwhile."""

    concurrency: int
    jobs: int
    tail: int = 0
    during: During = lambda _address: nullcontext()


class _Runs:
    """Counts the jobs that run and remembers when the first, the first of the tail and the last did."""

    def __init__(self, jobs: int, tail: int) -> None:
        self.done = asyncio.Event()
        self.first = self.turn = self.last = 0.0
        self._jobs, self._turn = jobs, jobs - tail
        self._count = 0

    def __call__(self, _number: int) -> None:
        self._count += 1
        if self._count == 1:
            self.first = time.perf_counter()
        if self._count == self._turn:
            self.turn = time.perf_counter()
        if self._count == self._jobs:
            self.last = time.perf_counter()
            self.done.set()


async def enqueue(server: Server, contender: Contender, template: str, *, bulk: int, seconds: float) -> Sample:
    """Jobs that are enqueued ``bulk`` at a time by one client, for so many seconds; nobody works on them."""
    async with (
        server.copy(template) as address,
        contender.open(address, concurrency=1, ran=_forget) as queue,
    ):
        await _enqueue_once(queue, 0, bulk)
        await server.settle(address)
        gc.collect()
        jobs = 0
        async with server.spending() as spent:
            began = time.perf_counter()
            while time.perf_counter() < began + seconds:
                await _enqueue_once(queue, jobs, bulk)
                jobs += bulk
            took = time.perf_counter() - began
    return {"jobs_per_s": jobs / took, **spent.per_job(jobs)}


async def claim(server: Server, contender: Contender, template: str, claims: Claims) -> Sample:
    """Run no-op jobs that wait already: the rate from the first that runs to the last, CPU from start to stop."""
    runs = _Runs(claims.jobs, claims.tail)
    async with server.copy(template) as address:
        async with contender.open(address, concurrency=claims.concurrency, ran=runs) as queue:
            waiting = await _unfinished(server, contender, address)
            for first in range(0, claims.jobs, BULK):
                await queue.enqueue_many(range(first, min(first + BULK, claims.jobs)))
            await server.settle(address)
            gc.collect()
            async with claims.during(address), server.spending() as spent, _working(queue):
                await runs.done.wait()
        left = await _unfinished(server, contender, address)
    if left > waiting:
        raise SystemExit(f"{contender.name} left {left - waiting} of {claims.jobs} jobs unfinished")
    sample = {"jobs_per_s": (claims.jobs - 1) / (runs.last - runs.first), **spent.per_job(claims.jobs)}
    if claims.tail:
        sample["tail_jobs_per_s"] = claims.tail / (runs.last - runs.turn)
    return sample


async def idle(server: Server, contender: Contender, template: str, *, jobs: int) -> Sample:
    """From the call that enqueues a job to its start, by a worker that has nothing else to do."""
    began = [0.0] * (_WARM_UP + jobs)
    waits: list[float] = []
    ran = asyncio.Event()

    def note(number: int) -> None:
        waits.append(time.perf_counter() - began[number])
        ran.set()

    async with (
        server.copy(template) as address,
        contender.open(address, concurrency=IDLE_CONCURRENCY, ran=note) as queue,
        _working(queue),
        server.spending() as spent,
    ):
        for number in range(len(began)):
            await asyncio.sleep(random.uniform(*_GAP))
            began[number] = time.perf_counter()
            await queue.enqueue(number)
        while len(waits) < len(began):
            ran.clear()
            await ran.wait()
    waits = sorted(wait * 1000 for wait in waits[_WARM_UP:])
    cuts = statistics.quantiles(waits, n=100)
    return {"p50_ms": statistics.median(waits), "p99_ms": cuts[98], **spent.per_job(len(began))}


@asynccontextmanager
async def _working(queue: Queue) -> AsyncIterator[None]:
    """A worker runs meanwhile; whatever it raises ends the block."""
    stopping = asyncio.Event()
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        group.create_task(queue.work(stopping))
        yield
        stopping.set()


async def _enqueue_once(queue: Queue, first: int, bulk: int) -> None:
    if bulk == 1:
        await queue.enqueue(first)
    else:
        await queue.enqueue_many(range(first, first + bulk))


async def _unfinished(server: Server, contender: Contender, address: DatabaseAddress) -> int:
    async with server.connected(address.database or "") as connection:
        return int(await connection.fetchval(contender.unfinished))


def _forget(_number: int) -> None:
    """No job runs where only enqueuing is measured."""
