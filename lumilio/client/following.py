"""Follow the tasks of sent files until the daemon has processed them."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from lumilio.client.library import TASK_LIMIT, Presence, TaskReport, TaskState, check_hashes, read_tasks
from lumilio.client.session import Session
from lumilio.client.tally import FileProcessed, Processing
from lumilio.model import ContentHash

MOST_FOLLOWED = 50_000
"""Tasks that are followed at once, about 20 MB; sending waits for the daemon when it is that far behind."""

_POLL_SECONDS = 0.5
_IN_TURN = 25
_UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A file that the daemon has accepted."""

    path: str
    content_hash: ContentHash
    task_id: str


class Following:
    """Tasks that are not finished yet, oldest first.

    ``patience`` seconds without any task finishing, after ``close``, ends the wait: the files are stored, and what
    keeps the daemon busy is not this import's to judge.
    """

    def __init__(self, session: Session, patience: float, processed: Callable[[FileProcessed], None]) -> None:
        self._session = session
        self._patience = patience
        self._processed = processed
        self._waiting: dict[str, Followed] = {}
        self._round: Iterator[str] = iter(())
        self._closed = False
        self._stirred = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    @property
    def count(self) -> int:
        """Tasks that are still waited for."""
        return len(self._waiting)

    async def add(self, followed: Followed) -> None:
        """Follow one more task, when there is room."""
        await self._room.wait()
        self._waiting[followed.task_id] = followed
        if len(self._waiting) >= MOST_FOLLOWED:
            self._room.clear()
        self._stirred.set()

    def close(self) -> None:
        """No more tasks will be added."""
        self._closed = True
        self._stirred.set()

    async def run(self) -> None:
        """Poll until closed and empty, or out of patience. Raises ClientError when the daemon stays away."""
        loop = asyncio.get_running_loop()
        progressed = loop.time()
        while self._waiting or not self._closed:
            if not self._waiting:
                self._stirred.clear()
                await self._stirred.wait()
                progressed = loop.time()
                continue
            finished = await self._poll()
            if finished or not self._closed:
                progressed = loop.time()
            elif loop.time() - progressed > self._patience:
                return
            if self._waiting and finished < TASK_LIMIT // 2:
                await asyncio.sleep(_POLL_SECONDS)

    async def _poll(self) -> int:
        """Read a page: mostly the oldest tasks, the rest in turn, so that stuck ones hide none behind them."""
        ids = list(islice(self._waiting, TASK_LIMIT - _IN_TURN))
        oldest = set(ids)
        ids.extend(task_id for task_id in self._in_turn() if task_id not in oldest)
        reports = await read_tasks(self._session, ids)
        forgotten = [self._waiting[task_id] for task_id in ids if task_id not in reports]
        for report in reports.values():
            if report.task_id in self._waiting and report.state in (TaskState.COMPLETED, TaskState.FAILED):
                self._finish(_judged(self._waiting[report.task_id], report))
        if forgotten:
            await self._look_up(forgotten)
        return sum(task_id not in self._waiting for task_id in ids)

    def _in_turn(self) -> list[str]:
        chosen = list(islice((task_id for task_id in self._round if task_id in self._waiting), _IN_TURN))
        if not chosen:
            self._round = iter(list(self._waiting))
            chosen = list(islice(self._round, _IN_TURN))
        return chosen

    async def _look_up(self, forgotten: list[Followed]) -> None:
        """A task may be pruned before it was read; the library still knows the bytes."""
        verdicts = await check_hashes(self._session, [followed.content_hash for followed in forgotten])
        for followed in forgotten:
            verdict = verdicts[followed.content_hash]
            there = verdict.presence is not Presence.UNKNOWN
            self._finish(
                FileProcessed(
                    path=followed.path,
                    state=Processing.READY if there else Processing.LOST,
                    content_hash=followed.content_hash,
                    task_id=followed.task_id,
                    asset_id=verdict.asset_id,
                    reason="" if there else "the daemon no longer knows the file; import it again",
                )
            )

    def _finish(self, event: FileProcessed) -> None:
        del self._waiting[event.task_id]
        self._room.set()
        self._processed(event)


def _judged(followed: Followed, report: TaskReport) -> FileProcessed:
    """Stored and shown, stored only, or not stored at all: an asset id means that the bytes are in the library."""
    if report.state is TaskState.FAILED and report.asset_id is None:
        state = Processing.LOST
    elif report.asset_state == _UNSUPPORTED and not report.problem_code:
        state = Processing.UNSUPPORTED
    elif report.problem_code or report.state is TaskState.FAILED:
        state = Processing.PROBLEM
    else:
        state = Processing.READY
    return FileProcessed(
        path=followed.path,
        state=state,
        content_hash=followed.content_hash,
        task_id=followed.task_id,
        asset_id=report.asset_id,
        code=report.problem_code,
        reason=report.reason,
    )
