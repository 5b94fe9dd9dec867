"""The way of a file into the library: found → hashed → checked → sent → followed, and its sidecars after it.

Each stage hands on through a bounded queue, so a slow one holds up those before it and memory does not grow with the
tree. A hash is *claimed* from before the daemon is asked about it until the daemon has the bytes; another file with
the same bytes waits at the claim instead of being sent.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, assert_never

from lumilio.client.attaching import Attaching
from lumilio.client.digest import Candidate, FileChanged, FileUnreadable, Stopped, read_candidate
from lumilio.client.following import Followed, Following
from lumilio.client.library import Presence, Verdict, check_hashes
from lumilio.client.session import Session
from lumilio.client.tally import Event, FileProcessed, FileSettled, Outcome, Tally
from lumilio.client.tree import Found, Link, Skipped, Special, Unreadable, walk
from lumilio.client.upload import Receipt, Refusal, Transfer, Uploader
from lumilio.model import ContentHash

_WALK_BATCH = 256
_CHECK_BATCH = 100
_HASHERS = 2
_SETTLE_SECONDS = 1.0
_CHANGED = "client.file_changed"
_UNREADABLE = "client.file_unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to import and how. ``extensions`` None takes every file; ``patience`` in seconds."""

    roots: list[str]
    extensions: frozenset[str] | None
    repository_id: str | None = None
    jobs: int = 4
    dry_run: bool = False
    wait: bool = True
    patience: float = 300


class Pipeline:
    """One import. ``tally`` is kept up to date; ``report`` hears of every file."""

    def __init__(self, session: Session, plan: Plan, tally: Tally, report: Callable[[Event], None]) -> None:
        self._session = session
        self._plan = plan
        self._tally = tally
        self._report = report
        self._uploader = Uploader(session, plan.repository_id)
        self._following = Following(session, plan.patience, self._processed)
        self._attaching = Attaching(session, self._settle)
        self._found: asyncio.Queue[Found | None] = asyncio.Queue(_WALK_BATCH)
        self._hashed: asyncio.Queue[Candidate | None] = asyncio.Queue(_CHECK_BATCH)
        self._unknown: asyncio.Queue[ContentHash | None] = asyncio.Queue(_CHECK_BATCH)
        self._claims: dict[ContentHash, deque[Candidate]] = {}
        self._changed_once: set[str] = set()
        self._planned: set[bytes] = set()
        self._stop = threading.Event()

    async def run(self) -> None:
        """Import everything. Raises ClientError when the daemon stays away or refuses all of it."""
        try:
            async with asyncio.TaskGroup() as group:
                for stage in (self._count, self._walk, self._hash, self._check, self._upload, self._watch):
                    group.create_task(stage(), name=f"import.{stage.__name__}")
                group.create_task(self._attaching.run(), name="import.attach")
        except BaseExceptionGroup as exc:
            raise _first(exc) from exc
        finally:
            self._stop.set()

    async def _count(self) -> None:
        """A quick pass of its own: the totals that make "time left" right. Failures are the other pass's to tell."""
        entries = walk(self._plan.roots, self._plan.extensions)
        while batch := await asyncio.to_thread(list, islice(entries, _WALK_BATCH)):
            for entry in batch:
                self._tally.expected_files += isinstance(entry, Found | Unreadable)
                self._tally.expected_bytes += entry.size if isinstance(entry, Found) else 0
        self._tally.counted = True

    async def _walk(self) -> None:
        entries = walk(self._plan.roots, self._plan.extensions)
        while batch := await asyncio.to_thread(list, islice(entries, _WALK_BATCH)):
            for entry in batch:
                match entry:
                    case Found():
                        if not self._plan.dry_run:
                            await self._attaching.expect(entry)
                        await self._found.put(entry)
                    case Skipped():
                        self._settle(FileSettled(path=entry.path, outcome=Outcome.SKIPPED))
                    case Link():
                        self._settle(FileSettled(path=entry.path, outcome=Outcome.LINK))
                    case Special():
                        self._settle(FileSettled(path=entry.path, outcome=Outcome.SPECIAL))
                    case Unreadable():
                        self._fail(entry.path, _UNREADABLE, entry.reason)
                    case _:
                        assert_never(entry)
        await self._found.put(None)

    async def _hash(self) -> None:
        await _together("hasher", [self._hash_some() for _ in range(_HASHERS)])
        await self._hashed.put(None)

    async def _hash_some(self) -> None:
        while (found := await self._found.get()) is not None:
            if candidate := await self._candidate(found.path, found.size):
                await self._hashed.put(candidate)
        await self._found.put(None)  # for the next hasher

    async def _candidate(self, path: str, size: int) -> Candidate | None:
        """Hash a file; one that changes meanwhile gets a second try, then it has failed."""
        while True:
            try:
                return await asyncio.to_thread(read_candidate, path, self._stop)
            except FileUnreadable as exc:
                self._fail(path, _UNREADABLE, str(exc), size)
                return None
            except Stopped:
                return None
            except FileChanged:
                if not self._may_try_again(path, size):
                    return None
                await asyncio.sleep(_SETTLE_SECONDS)

    def _may_try_again(self, path: str, size: int) -> bool:
        if path in self._changed_once:
            self._fail(path, _CHANGED, "the file changes while it is read; import it again when it is complete", size)
            return False
        self._changed_once.add(path)
        return True

    async def _check(self) -> None:
        ended = False
        while not ended:
            batch = [await self._hashed.get()]
            while len(batch) < _CHECK_BATCH and not self._hashed.empty():
                batch.append(self._hashed.get_nowait())
            ended = batch[-1] is None
            claimed = [c.content_hash for c in batch if c is not None and self._claim(c)]
            for content_hash in await self._not_there(claimed):
                await self._unknown.put(content_hash)
        await self._unknown.put(None)

    def _claim(self, candidate: Candidate) -> bool:
        """Whether this file is the first with its bytes; others wait at the claim."""
        twins = self._claims.get(candidate.content_hash)
        if twins is not None:
            twins.append(candidate)
            return False
        self._claims[candidate.content_hash] = deque([candidate])
        return True

    async def _not_there(self, claimed: list[ContentHash]) -> list[ContentHash]:
        """Ask the daemon; settle the claims that need no sending and return those that do."""
        verdicts = await check_hashes(self._session, claimed) if claimed else {}
        unknown = []
        for content_hash in claimed:
            verdict = verdicts[content_hash]
            if verdict.presence is not Presence.UNKNOWN:
                await self._settle_present(verdict, self._claims.pop(content_hash))
            elif self._plan.dry_run:
                self._settle_planned(content_hash, self._claims.pop(content_hash))
            else:
                unknown.append(content_hash)
        return unknown

    async def _settle_present(self, verdict: Verdict, candidates: deque[Candidate]) -> None:
        outcome = Outcome.TRASHED if verdict.trashed else Outcome.DUPLICATE
        self._settle_twins(candidates, verdict.task_id, verdict.asset_id, outcome)
        if verdict.presence is Presence.PROCESSING and not self._plan.dry_run:
            await self._follow(candidates[0], verdict.task_id)

    def _settle_planned(self, content_hash: ContentHash, candidates: deque[Candidate]) -> None:
        """Nothing is sent, so the daemon will not know these bytes when they come again: remember them here."""
        brief = bytes.fromhex(content_hash[:32])
        if brief not in self._planned:
            self._planned.add(brief)
            self._settle(_settled(candidates.popleft(), Outcome.WOULD_SEND))
        self._settle_twins(candidates, None, None)

    async def _upload(self) -> None:
        await _together("uploader", [self._upload_some() for _ in range(self._plan.jobs)])
        self._following.close()

    async def _watch(self) -> None:
        """Follow what was sent; when nothing more is processed, no more sidecars become due."""
        await self._following.run()
        self._tally.sidecars_pending = self._attaching.count
        self._attaching.close()

    async def _upload_some(self) -> None:
        while (content_hash := await self._unknown.get()) is not None:
            await self._send_claimed(content_hash)
        await self._unknown.put(None)  # for the next uploader

    async def _send_claimed(self, content_hash: ContentHash) -> None:
        """Send the first file of a claim; only when it turned out to be unreadable or changed, the next one."""
        candidates = self._claims[content_hash]
        outcome: Receipt | Refusal | None = None
        while candidates and outcome is None:
            candidate = candidates[0]
            outcome = await self._send(candidate)
            candidates.popleft()
        del self._claims[content_hash]
        match outcome:
            case Receipt():
                sent = Outcome.TRASHED if outcome.trashed else Outcome.DUPLICATE if outcome.duplicate else Outcome.SENT
                self._settle(_settled(candidate, sent, outcome.task_id, outcome.asset_id))
                self._settle_twins(candidates, outcome.task_id, outcome.asset_id)
                await self._follow(candidate, outcome.task_id)
            case Refusal():
                for refused in (candidate, *candidates):
                    self._fail(refused.path, outcome.code, outcome.reason, refused.size)
            case None:
                pass
            case _:
                assert_never(outcome)

    async def _send(self, candidate: Candidate) -> Receipt | Refusal | None:
        """None when the file is not what was claimed any more; it is settled or claimed anew then."""
        transfer = Transfer()
        self._tally.transfers.add(transfer)
        try:
            return await self._uploader.deliver(candidate, transfer)
        except FileUnreadable as exc:
            self._fail(candidate.path, _UNREADABLE, str(exc), candidate.size)
        except FileChanged:
            self._tally.transfers.discard(transfer)
            await self._send_changed(candidate)
        finally:
            self._tally.transfers.discard(transfer)
        return None

    async def _send_changed(self, old: Candidate) -> None:
        if not self._may_try_again(old.path, old.size):
            return
        await asyncio.sleep(_SETTLE_SECONDS)
        candidate = await self._candidate(old.path, old.size)
        if candidate is not None and self._claim(candidate):
            for content_hash in await self._not_there([candidate.content_hash]):
                await self._send_claimed(content_hash)

    async def _follow(self, candidate: Candidate, task_id: str | None) -> None:
        if task_id is not None and (self._plan.wait or self._attaching.waits_for(task_id)):
            await self._following.add(
                Followed(path=candidate.path, content_hash=candidate.content_hash, task_id=task_id)
            )
            self._tally.pending = self._following.count

    def _processed(self, event: FileProcessed) -> None:
        self._tally.pending = self._following.count
        self._settle(event)

    def _settle_twins(
        self,
        candidates: deque[Candidate],
        task_id: str | None,
        asset_id: str | None,
        outcome: Outcome = Outcome.DUPLICATE,
    ) -> None:
        for twin in candidates:
            self._settle(_settled(twin, outcome, task_id, asset_id))

    def _fail(self, path: str, code: str, reason: str, size: int = 0) -> None:
        self._settle(FileSettled(path=path, outcome=Outcome.FAILED, size=size, code=code, reason=reason))

    def _settle(self, event: Event) -> None:
        self._tally.record(event)
        self._report(event)
        self._attaching.hear(event)


def _settled(
    candidate: Candidate, outcome: Outcome, task_id: str | None = None, asset_id: str | None = None
) -> FileSettled:
    return FileSettled(
        path=candidate.path,
        outcome=outcome,
        size=candidate.size,
        content_hash=candidate.content_hash,
        task_id=task_id,
        asset_id=asset_id,
    )


async def _together(name: str, workers: list[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for number, worker in enumerate(workers):
            group.create_task(worker, name=f"import.{name}.{number}")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The stages run side by side, and what stopped the import is the first of their errors."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
