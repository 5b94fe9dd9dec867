"""Send one file: streamed from disk, with its digest, again after a lost connection, never twice without need."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from lumilio.client.digest import Candidate, CandidateFile, FileChanged, FileUnreadable
from lumilio.client.discovery import Address
from lumilio.client.exchange import ASKED_TO_WAIT, Answer, ConnectionLost, waiting_reason
from lumilio.client.library import Presence, check_hashes, not_understood, text
from lumilio.client.session import Session
from lumilio.client.tree import sent_name
from lumilio.errors import ClientError

STALL_SECONDS = 120.0
"""No byte taken and no answer given for this long is a lost connection; the daemon's fsync of a big file fits in."""

_CHUNK = 256 * 1024
_LOST_CONNECTIONS = 4
_LOST_PAUSE = 0.25
_SERVER_FAULTS = 3
_HASH_MISMATCH = "request.hash_mismatch"
_NOT_OF_THE_FILE = frozenset({403, 404, 405})


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The library has the bytes. ``duplicate`` means that it had them before this file was sent."""

    duplicate: bool
    trashed: bool = False
    task_id: str | None
    asset_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The daemon will not take this file, and why."""

    code: str
    reason: str


class Transfer:
    """How many bytes of one file are on their way, for the progress display."""

    def __init__(self) -> None:
        self.sent = 0


class _FileBody(aiohttp.payload.Payload):
    """Exactly the bytes that were hashed, a chunk in memory at a time."""

    def __init__(self, file: CandidateFile, size: int, advanced: Callable[[int], None], file_name: str) -> None:
        super().__init__(file, content_type="application/octet-stream")
        self.set_content_disposition("form-data", quote_fields=False, name="file", filename=file_name)
        self._size = size
        self._file = file
        self._advanced = advanced
        self.failure: FileChanged | FileUnreadable | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Required by the base class; a file is never held as text."""
        raise TypeError("a file body is streamed")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Stream the file. What goes wrong on this side is kept in ``failure``, for aiohttp wraps it."""
        left = self._size or 0
        while left:
            try:
                chunk = await self._file.read(min(_CHUNK, left))
            except (FileChanged, FileUnreadable) as exc:
                self.failure = exc
                raise
            await writer.write(chunk)
            left -= len(chunk)
            if not self._file.closed:
                self._advanced(len(chunk))


class Uploader:
    """Sends files to one repository of one daemon; None is the daemon's default repository."""

    def __init__(self, session: Session, repository_id: str | None) -> None:
        self._session = session
        self._repository_id = repository_id

    async def deliver(self, candidate: Candidate, transfer: Transfer) -> Receipt | Refusal:
        """Send until the daemon has answered about this file.

        Raises FileChanged, FileUnreadable, and ClientError when the daemon stays away or lets nobody in.
        """
        patience = self._session.patience()
        lost = faults = 0
        while True:
            transfer.sent = 0
            try:
                answer = await self._send(candidate, transfer)
            except ConnectionLost as exc:
                lost += 1
                if receipt := await self._arrived(candidate):
                    return receipt
                if lost == _LOST_CONNECTIONS:
                    return Refusal(code="client.connection_lost", reason=f"{exc}, {lost} times")
                await asyncio.sleep(_LOST_PAUSE * 2**lost)
                continue
            if answer.status in ASKED_TO_WAIT:
                await patience.wait(waiting_reason(answer), answer.retry_after)
                continue
            if answer.status >= 500 and faults < _SERVER_FAULTS:
                faults += 1
                await patience.wait(answer.reason, answer.retry_after)
                continue
            return _outcome(answer)

    async def _arrived(self, candidate: Candidate) -> Receipt | None:
        """After a lost connection: had the daemon everything when only its answer was lost?"""
        verdict = (await check_hashes(self._session, [candidate.content_hash]))[candidate.content_hash]
        if verdict.presence is Presence.UNKNOWN:
            return None
        return Receipt(duplicate=False, task_id=verdict.task_id, asset_id=verdict.asset_id)

    async def _send(self, candidate: Candidate, transfer: Transfer) -> Answer:
        headers = {"X-Content-Hash": str(candidate.content_hash)}
        if modified := candidate.modified:
            headers["X-File-Modified"] = modified.isoformat().replace("+00:00", "Z")

        async def exchange(address: Address) -> Answer:
            transfer.sent = 0
            loop = asyncio.get_running_loop()
            with contextlib.closing(CandidateFile(candidate)) as file:
                await file.open()
                async with asyncio.timeout(STALL_SECONDS) as deadline:

                    def advanced(count: int) -> None:
                        transfer.sent += count
                        deadline.reschedule(loop.time() + STALL_SECONDS)

                    part = _FileBody(file, candidate.size, advanced, sent_name(candidate.path))
                    try:
                        return await self._session.post(address, "/assets", self._form(part), headers)
                    except aiohttp.ClientError:
                        if part.failure is not None:
                            raise part.failure from None
                        raise

        return await self._session.authenticated(exchange)

    def _form(self, part: _FileBody) -> aiohttp.MultipartWriter:
        form = aiohttp.MultipartWriter("form-data")
        if self._repository_id is not None:
            field = form.append(self._repository_id)
            field.set_content_disposition("form-data", name="repository_id")
        form.append_payload(part)
        return form


def _outcome(answer: Answer) -> Receipt | Refusal:
    """Raises FileChanged when the daemon received other bytes than were hashed, ClientError for no valid answer."""
    if answer.code == _HASH_MISMATCH:
        raise FileChanged
    if answer.status in _NOT_OF_THE_FILE:
        raise ClientError(f"the daemon refuses files: {answer.reason} ({answer.code})")
    if answer.status >= 400:
        return Refusal(code=answer.code, reason=answer.reason)
    task_id, asset_id = text(answer.body, "task_id"), text(answer.body, "asset_id")
    if answer.status == 202 and task_id:
        return Receipt(duplicate=False, task_id=task_id, asset_id=asset_id)
    if answer.body.get("status") == "duplicate":
        trashed = answer.body.get("trashed") is True
        return Receipt(duplicate=True, trashed=trashed, task_id=task_id, asset_id=asset_id)
    raise not_understood("status")
