"""Send sidecars after the files that they describe, once the daemon has told which assets these are."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from lumilio.client.following import MOST_FOLLOWED
from lumilio.client.library import SidecarAnswer, SidecarOutcome, send_sidecar
from lumilio.client.session import Session
from lumilio.client.sidecars import SIDECAR_BYTES
from lumilio.client.tally import Event, FileProcessed, FileSettled, SidecarSettled
from lumilio.client.tree import Beside, Found, sent_name
from lumilio.model import SidecarKind

_AT_ONCE = 2
_TOO_LARGE = "client.sidecar_too_large"
_UNREADABLE = "client.file_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A file whose asset is known, with what describes it."""

    asset_id: str
    sidecars: tuple[Beside, ...]


class Attaching:
    """Sidecars of files on their way. Those of as many files as are followed wait at once; beyond that the walk waits.

    Two files with the same bytes are one asset, and the sidecar that comes first is its own.
    """

    def __init__(self, session: Session, settled: Callable[[SidecarSettled], None]) -> None:
        self._session = session
        self._settled = settled
        self._room = asyncio.Semaphore(MOST_FOLLOWED)
        self._expected: dict[str, tuple[Beside, ...]] = {}
        self._awaiting: dict[str, list[str]] = {}
        self._due: asyncio.Queue[_Due | None] = asyncio.Queue()
        self._attached: set[tuple[str, SidecarKind]] = set()

    @property
    def count(self) -> int:
        """Sidecars that wait for their files to be processed."""
        return sum(len(self._expected[path]) for paths in self._awaiting.values() for path in paths)

    async def expect(self, found: Found) -> None:
        """Remember what describes a file until that is settled, when there is room."""
        if found.sidecars:
            await self._room.acquire()
            self._expected[found.path] = found.sidecars

    def waits_for(self, task_id: str) -> bool:
        """Whether the end of a task is what sidecars wait for."""
        return task_id in self._awaiting

    def hear(self, event: Event) -> None:
        """What became of a file decides over its sidecars: sent at once, later, or never."""
        match event:
            case FileSettled():
                if event.path not in self._expected:
                    return
                if event.asset_id is None and event.task_id is not None:
                    self._awaiting.setdefault(event.task_id, []).append(event.path)
                else:
                    self._release(event.path, event.asset_id)
            case FileProcessed():
                for path in self._awaiting.pop(event.task_id, ()):
                    self._release(path, event.asset_id)
            case _:
                pass

    def close(self) -> None:
        """No more files will be settled or processed."""
        self._due.put_nowait(None)

    async def run(self) -> None:
        """Send until closed and empty. Raises ClientError when the daemon stays away."""
        async with asyncio.TaskGroup() as group:
            for number in range(_AT_ONCE):
                group.create_task(self._send_some(), name=f"import.attacher.{number}")

    def _release(self, path: str, asset_id: str | None) -> None:
        sidecars = self._expected.pop(path)
        if asset_id is None:
            self._room.release()
        else:
            self._due.put_nowait(_Due(asset_id=asset_id, sidecars=sidecars))

    async def _send_some(self) -> None:
        while (due := await self._due.get()) is not None:
            for beside in due.sidecars:
                if (due.asset_id, beside.kind) not in self._attached:
                    self._attached.add((due.asset_id, beside.kind))
                    await self._send(due.asset_id, beside)
            self._room.release()
        self._due.put_nowait(None)  # for the next one

    async def _send(self, asset_id: str, beside: Beside) -> None:
        try:
            content = await asyncio.to_thread(_read, beside.path)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            answer = SidecarAnswer(outcome=SidecarOutcome.REFUSED, code=_UNREADABLE, reason=reason)
        else:
            if len(content) > SIDECAR_BYTES:
                reason = f"larger than {SIDECAR_BYTES >> 20} MiB"
                answer = SidecarAnswer(outcome=SidecarOutcome.REFUSED, code=_TOO_LARGE, reason=reason)
            else:
                answer = await send_sidecar(self._session, asset_id, beside.kind, sent_name(beside.path), content)
        self._settled(
            SidecarSettled(
                path=beside.path,
                kind=beside.kind,
                outcome=answer.outcome,
                asset_id=asset_id,
                code=answer.code,
                reason=answer.reason,
            )
        )


def _read(path: str) -> bytes:
    """At most one byte more than a sidecar may have. Neither a link nor a pipe is followed or waited for."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        return file.read(SIDECAR_BYTES + 1)
