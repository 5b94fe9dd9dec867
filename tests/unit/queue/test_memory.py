"""The memory that running jobs declare stays under its cap, and nobody waits for ever."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.queue import memory
from lumilio.queue.memory import MemoryBudget


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Jobs:
    """Jobs that hold memory until they are told to end."""

    def __init__(self, budget: MemoryBudget) -> None:
        self.running: list[str] = []
        self._budget = budget
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, megabytes: int) -> None:
        async def hold() -> None:
            async with self._budget.reserve(megabytes):
                self.running.append(name)
                await self._ends[name].wait()
                self.running.remove(name)

        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(hold(), name=name)
        await _settle()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await _settle()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])
        await _settle()


async def test_jobs_run_together_as_long_as_they_fit() -> None:
    jobs = Jobs(MemoryBudget(100))
    for name, size in (("a", 60), ("b", 40), ("c", 1)):
        await jobs.ask(name, size)
    assert jobs.running == ["a", "b"]
    await jobs.end("b")
    assert jobs.running == ["a", "c"]


async def test_small_jobs_pass_a_large_one_that_does_not_fit_yet() -> None:
    jobs = Jobs(MemoryBudget(100))
    await jobs.ask("running", 50)
    await jobs.ask("large", 90)
    await jobs.ask("small", 30)
    assert jobs.running == ["running", "small"]


async def test_a_large_job_that_has_waited_long_is_not_passed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PATIENCE", -1.0)
    jobs = Jobs(MemoryBudget(100))
    await jobs.ask("first", 50)
    await jobs.ask("large", 90)
    await jobs.ask("small", 30)
    assert jobs.running == ["first"]
    await jobs.end("first")
    assert jobs.running == ["large"]
    await jobs.end("large")
    assert jobs.running == ["small"]


async def test_a_waiting_job_that_is_cancelled_lets_those_behind_it_go() -> None:
    budget = MemoryBudget(100)
    jobs = Jobs(budget)
    await jobs.ask("running", 60)
    await jobs.ask("large", 100)
    await jobs.ask("other", 50)
    await jobs.cancel("large")
    await jobs.end("running")
    assert jobs.running == ["other"]
    await jobs.end("other")
    assert budget.free == 100


async def test_a_job_that_is_cancelled_just_as_it_may_start_gives_its_memory_back() -> None:
    budget = MemoryBudget(100)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(budget.reserve(100))
        waiting = asyncio.create_task(_hold(budget, 100), name="waiting")
        await _settle()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert budget.free == 100


async def _hold(budget: MemoryBudget, megabytes: int) -> None:
    async with budget.reserve(megabytes):
        await asyncio.Event().wait()


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30), st.randoms(use_true_random=False))
def test_whatever_happens_the_cap_holds_and_all_memory_comes_back(
    steps: list[tuple[int, bool]], chance: random.Random
) -> None:
    async def play() -> None:
        budget = MemoryBudget(100)
        tasks: list[asyncio.Task[None]] = []
        for size, cancels in steps:
            if cancels and tasks:
                tasks.pop(chance.randrange(len(tasks))).cancel()
            tasks.append(asyncio.create_task(_hold(budget, size), name=f"{size} MB"))
            await _settle()
            assert 0 <= budget.free <= 100
        for task in tasks:
            task.cancel()
        await _settle()
        await _settle()
        assert budget.free == 100

    asyncio.run(play())
