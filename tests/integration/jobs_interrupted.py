"""Job kinds whose dependencies can be stopped at every step: by an error, a cancellation, a kill, or for a while.

As a program, ``python -m … SOCKET_DIRECTORY USER DATABASE LIBRARY OWNER``, it reads the arguments of one job a line and
processes the first until step 1, the second until step 2 and so on, in a process each that kills itself there.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from lumilio.db import Database, DatabaseAddress, Tx, open_database
from lumilio.jobs.library import Library, OwnedRepository
from lumilio.jobs.process_asset import MAX_ATTEMPTS, Args, ProcessAsset
from lumilio.jobs.render_asset import RenderAsset, Renderer
from lumilio.log import configure_logging
from lumilio.model import JobId, UserId
from lumilio.queue.kinds import JobContext
from lumilio.storage.repository import Repository, open_repository
from lumilio.tools.decoders import DecoderPool
from lumilio.tools.exiftool import ExifTool

Act = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """At a step: go on."""


class Steps:
    """The steps of one attempt, in order; ``act`` happens at the one of number ``at``, from 1, or of that name."""

    def __init__(self, *, at: int | str = 0, act: Act = nothing) -> None:
        self.reached: list[str] = []
        self._at = at
        self._act = act

    async def reach(self, name: str) -> None:
        self.reached.append(name)
        if self._at in (len(self.reached), name):
            await self._act()


class SteppedDatabase(Database):
    """A database that says when it is used."""

    def __init__(self, inner: Database, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Tx]:
        await self._steps.reach("session begins")
        async with self._inner.session() as session:
            yield session
        await self._steps.reach("session ended")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        await self._steps.reach("transaction begins")
        async with self._inner.transaction() as tx:
            yield tx
            await self._steps.reach("inside the transaction")
        await self._steps.reach("transaction committed")


class SteppedExifTool(ExifTool):
    """An exiftool that says when it is used."""

    def __init__(self, inner: ExifTool, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    async def read(self, path: Path, *, name_hint: str) -> dict[str, object]:
        await self._steps.reach("facts are wanted")
        facts = await self._inner.read(path, name_hint=name_hint)
        await self._steps.reach("facts are read")
        return facts


class SteppedDecoders(DecoderPool):
    """Decoders that say when they are used."""

    def __init__(self, inner: DecoderPool, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    async def run(self, function: Callable[..., Any], *args: Any, timeout: float) -> Any:  # type: ignore[override]
        await self._steps.reach("a decoder is wanted")
        result = await self._inner.run(function, *args, timeout=timeout)
        await self._steps.reach("a decoder is done")
        return result


class Workshop:
    """What processing needs, real, and shared by the attempts of a test."""

    def __init__(self, db: Database, repository: Repository, owner_id: UserId) -> None:
        self.db = db
        self.repository = repository
        self.owner_id = owner_id
        self._exiftool = ExifTool(timeout=30)
        self._decoders = DecoderPool(size=2)
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._exiftool)
        await self._open.enter_async_context(self._decoders)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def library(self, db: Database | None = None) -> Library:
        """One repository, the owner's default."""
        owned = OwnedRepository(repository=self.repository, owner_id=self.owner_id, is_default=True)
        return Library(db=db or self.db, repositories={self.repository.id: owned}, wake_queue=lambda _queue: None)

    def rendering(self) -> RenderAsset:
        """The job kind that makes derivatives anew."""
        return RenderAsset(
            library=self.library(), exiftool=self._exiftool, renderer=Renderer(decoders=self._decoders, timeout=60)
        )

    def job(self, steps: Steps) -> ProcessAsset:
        """The job kind, with steps to be stopped at."""
        return ProcessAsset(
            library=self.library(SteppedDatabase(self.db, steps)),
            exiftool=SteppedExifTool(self._exiftool, steps),
            renderer=Renderer(decoders=SteppedDecoders(self._decoders, steps), timeout=60),
        )


def _ignore(_job_id: JobId, _attempt: int, _fraction: float | None, _message: str | None) -> None:
    """Nobody looks at the progress."""


def attempt(number: int = 1) -> JobContext:
    """An attempt of a job whose row does not matter."""
    return JobContext(job_id=JobId(1), attempt=number, max_attempts=MAX_ATTEMPTS, owner_id=None, report=_ignore)


async def _process_and_die(address: DatabaseAddress, root: Path, owner: str, args: Args, step: int) -> None:
    async def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async with open_database(address, pool_size=2) as db:
        repository = await open_repository(root)
        async with Workshop(db, repository, UserId(UUID(owner))) as workshop:
            await workshop.job(Steps(at=step, act=die)).work(attempt(), args)


def main(host: str, user: str, database: str, root: str, owner: str) -> None:
    """A child for each line of standard input."""
    address = DatabaseAddress(host=host, user=user, database=database)
    for step, line in enumerate(sys.stdin, start=1):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                asyncio.run(_process_and_die(address, Path(root), owner, Args.model_validate_json(line), step))
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    configure_logging("warning", "json")
    main(*sys.argv[1:])
