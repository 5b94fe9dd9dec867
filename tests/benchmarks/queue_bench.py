"""The rounds of the comparison: every measurement of every contender, in turns."""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lumilio.db import DatabaseAddress
from tests.benchmarks.measuring import wait_until_idle
from tests.benchmarks.queue_cells import BULK, Claims, Sample, claim, enqueue, idle
from tests.benchmarks.queue_contender import Contender, Server
from tests.benchmarks.queue_lumilio import Lumilio
from tests.benchmarks.queue_pgbench import exchange, write_script

CONCURRENCIES = (1, 10, 50)
PRESSED = 50
"""The concurrency under which Lumilio is measured with many jobs behind and beside an old snapshot."""
_PROBE = 500
_BEHIND = "lumilio_behind"

Samples = dict[str, dict[str, list[Sample]]]
"""By measurement and contender, one for each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """``seconds`` is about what one measurement takes; the others are numbers of jobs."""

    seconds: float = 4.0
    idle: int = 300
    pressed: int = 100_000
    tail: int = 20_000
    behind: int = 1_000_000


QUICK = Sizes(seconds=0.5, idle=50, pressed=20_000, tail=4_000, behind=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``script`` is where pgbench's goes, None to do without; ``wait_idle`` seconds may be waited before measuring."""

    sizes: Sizes
    script: Path | None
    wait_idle: float


class Bench:
    """``prepare`` once, then ``round`` by round; ``samples`` grow."""

    def __init__(self, server: Server, contenders: Sequence[Contender], plan: Plan) -> None:
        self.samples: Samples = {}
        self._server = server
        self._contenders = contenders
        self._sizes = plan.sizes
        self._script = plan.script
        self._patience = plan.wait_idle
        self._lumilio = any(isinstance(contender, Lumilio) for contender in contenders)
        self._jobs: dict[tuple[str, int], int] = {}

    async def prepare(self) -> None:
        """Make the databases that are copied, and find how many jobs each measurement takes."""
        for contender in self._contenders:
            await contender.install(await self._server.create(_template(contender.name)))
            for concurrency in CONCURRENCIES:
                self._jobs[contender.name, concurrency] = await self._calibrated(contender, concurrency)
        if self._script:
            write_script(self._script)
            if not self._lumilio:
                await Lumilio().install(await self._server.create(_template("lumilio")))
            for batch in CONCURRENCIES:
                probe = await exchange(self._server, _template("lumilio"), self._script, batch=batch, calls=_PROBE)
                self._jobs["pgbench", batch] = int(probe["jobs_per_s"] * self._sizes.seconds)
        if self._lumilio:
            await self._fill(await self._server.create(_BEHIND, _template("lumilio")))

    async def round(self, number: int) -> None:
        """Somebody else goes first in each round."""
        first = number % max(1, len(self._contenders))
        order = [*self._contenders[first:], *self._contenders[:first]]
        await self._enqueue(order)
        for concurrency in CONCURRENCIES:
            await self._claim(order, concurrency)
        await self._idle(order)
        if self._lumilio:
            await self._press()

    async def _enqueue(self, order: Sequence[Contender]) -> None:
        seconds = self._sizes.seconds / 2
        for name, bulk in (("enqueue_single", 1), ("enqueue_bulk", BULK)):
            self._wait_until_idle()
            for each in order:
                sample = await enqueue(self._server, each, _template(each.name), bulk=bulk, seconds=seconds)
                self._note(name, each.name, sample)

    async def _claim(self, order: Sequence[Contender], concurrency: int) -> None:
        self._wait_until_idle()
        for each in order:
            claims = Claims(concurrency=concurrency, jobs=self._jobs[each.name, concurrency])
            sample = await claim(self._server, each, _template(each.name), claims)
            self._note(f"claim_{concurrency}", each.name, sample)
        if self._script:
            calls = self._jobs["pgbench", concurrency] // concurrency
            sample = await exchange(
                self._server, _template("lumilio"), self._script, batch=concurrency, calls=max(2, calls)
            )
            self._note(f"claim_{concurrency}", "pgbench", sample)

    async def _idle(self, order: Sequence[Contender]) -> None:
        self._wait_until_idle()
        for each in order:
            sample = await idle(self._server, each, _template(each.name), jobs=self._sizes.idle)
            self._note("idle", each.name, sample)

    async def _press(self) -> None:
        """Lumilio alone: the same jobs with nothing else, with many jobs behind them, and beside an old snapshot."""
        self._wait_until_idle()
        jobs, tail = self._sizes.pressed, self._sizes.tail
        template = _template("lumilio")
        plain = Claims(concurrency=PRESSED, jobs=jobs, tail=tail)
        self._note("pressed", "lumilio", await claim(self._server, Lumilio(), template, plain))
        first = Lumilio(run_at=datetime.now(UTC) - timedelta(days=1))
        self._note("pressed_many_behind", "lumilio", await claim(self._server, first, _BEHIND, plain))
        beside = Claims(concurrency=PRESSED, jobs=jobs, tail=tail, during=self._old_snapshot)
        self._note("pressed_old_snapshot", "lumilio", await claim(self._server, Lumilio(), template, beside))

    @asynccontextmanager
    async def _old_snapshot(self, address: DatabaseAddress) -> AsyncIterator[None]:
        async with (
            self._server.connected(address.database or "") as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            await connection.fetchval("SELECT 1 FROM jobs LIMIT 1")
            yield

    async def _fill(self, address: DatabaseAddress) -> None:
        async with Lumilio().open(address, concurrency=1, ran=lambda _number: None) as queue:
            for first in range(0, self._sizes.behind, BULK):
                await queue.enqueue_many(range(first, first + BULK))
        await self._server.settle(address)

    async def _calibrated(self, contender: Contender, concurrency: int) -> int:
        """Jobs for about the wanted seconds. A short probe is slower than what follows, so a longer one confirms it."""
        jobs = _PROBE
        while True:
            claims = Claims(concurrency=concurrency, jobs=jobs)
            sample = await claim(self._server, contender, _template(contender.name), claims)
            wanted = int(sample["jobs_per_s"] * self._sizes.seconds)
            if wanted <= 4 * jobs:
                return max(wanted, _PROBE)
            jobs = wanted

    def _wait_until_idle(self) -> None:
        if self._patience:
            wait_until_idle(self._patience)

    def _note(self, name: str, contender: str, sample: Sample) -> None:
        self.samples.setdefault(name, {}).setdefault(contender, []).append(sample)
        told = {key: round(value, 3) for key, value in sample.items()}
        print(json.dumps({"measured": name, "contender": contender, **told}), file=sys.stderr, flush=True)


def _template(contender: str) -> str:
    return f"{contender}_template"
