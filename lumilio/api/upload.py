"""Receiving files: multipart, streamed, one at a time or many."""

import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import PurePosixPath

from aiohttp import BodyPartReader, web

from lumilio import metrics
from lumilio.api.context import REQUEST_ID, Context, answer, caller_of, context_of
from lumilio.api.middleware import problem
from lumilio.api.multipart import chunks_of, file_name_of, parts_of, text_of
from lumilio.api.schemas import BatchResult, BatchResults, Upload
from lumilio.catalog import repositories
from lumilio.errors import (
    HashMismatch,
    LumilioError,
    MediaUnsupported,
    NotFound,
    PayloadTooLarge,
    RepositoryOffline,
    RequestError,
)
from lumilio.jobs.accept_upload import accept_upload
from lumilio.media.detect import HEAD_BYTES, MEDIA_EXTENSIONS, sniff
from lumilio.model import RepositoryId, UploadId, UserId, parse_content_hash
from lumilio.storage import staging
from lumilio.storage.disk import run_blocking
from lumilio.storage.repository import Repository
from lumilio.storage.staging import StagedFile
from lumilio.tools.tokens import Caller

MIB = 1 << 20
EARLIEST, LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""What nanoseconds since 1970 in 64 bits can tell. A file time outside is a broken clock's and counts as unknown."""


async def upload_asset(request: web.Request) -> web.Response:
    """Store one file: the multipart field `file`, after an optional field `repository_id`."""
    timeout = context_of(request).config.server.request_timeout_seconds
    repository_id: RepositoryId | None = None
    async with aclosing(parts_of(request, timeout)) as parts:
        async for part in parts:
            if part.name == "repository_id":
                repository_id = await _repository_id(part, timeout)
            elif part.name == "file":
                upload = await _receive_sole(request, part, parts, repository_id)
                return answer(upload, status=202 if upload.status == "processing" else 200)
            else:
                raise RequestError(
                    f"unexpected field {part.name!r}; send 'file', before it 'repository_id' if you like"
                )
    raise RequestError("no file came; send a multipart field 'file'")


async def upload_batch(request: web.Request) -> web.Response:
    """Store several files, each a field `file`; one that is refused does not stop the others."""
    context = context_of(request)
    limit, timeout = context.config.ingest.max_batch_files, context.config.server.request_timeout_seconds
    repository_id: RepositoryId | None = None
    results: list[BatchResult] = []
    async with aclosing(parts_of(request, timeout)) as parts:
        async for part in parts:
            if part.name == "repository_id" and not results:
                repository_id = await _repository_id(part, timeout)
                continue
            if len(results) >= limit:
                raise PayloadTooLarge(
                    f"more than {limit} files in one request; what came before is kept, send the rest anew"
                )
            results.append(await _receive_one_of_many(request, part, repository_id))
    if not results:
        raise RequestError("no file came; send multipart fields 'file'")
    return answer(BatchResults(results=results))


async def _receive_sole(
    request: web.Request,
    part: BodyPartReader,
    parts: AsyncIterator[BodyPartReader],
    repository_id: RepositoryId | None,
) -> Upload:
    """A field after the file would be lost without a word, so the body is read to its end before anything is kept."""
    stated = part.headers.get("X-Content-Hash") or request.headers.get("X-Content-Hash")
    modified = _modified(part.headers.get("X-File-Modified") or request.headers.get("X-File-Modified"))
    staged = await _stage(request, part, repository_id, stated)
    try:
        following = await anext(parts, None)
        if following is not None:
            message = f"field {following.name!r} after the file; 'repository_id' comes first"
            raise RequestError(f"{message}, several files go to assets/batch")
    except BaseException:
        await staging.discard(staged)
        raise
    return await _accept(request, staged, file_name_of(part), modified)


async def _receive_one_of_many(
    request: web.Request, part: BodyPartReader, repository_id: RepositoryId | None
) -> BatchResult:
    name = file_name_of(part)
    try:
        if part.name != "file":
            raise RequestError(f"unexpected field {part.name!r}; send 'file'")
        modified = _modified(part.headers.get("X-File-Modified"))
        staged = await _stage(request, part, repository_id, part.headers.get("X-Content-Hash"))
        upload = await _accept(request, staged, name, modified)
    except LumilioError as exc:
        await _drain(request, part)
        return BatchResult(http_status=exc.status, file_name=name, error=problem(exc, request[REQUEST_ID]))
    return BatchResult(http_status=202 if upload.status == "processing" else 200, file_name=name, upload=upload)


async def _drain(request: web.Request, part: BodyPartReader) -> None:
    """Read over a refused part, so that the next one can be read. Raises PayloadTooLarge for one without end."""
    config = context_of(request).config
    left = config.ingest.max_file_mb * MIB
    async for chunk in chunks_of(part, config.server.request_timeout_seconds):
        left -= len(chunk)
        if left < 0:
            raise PayloadTooLarge(f"a file of more than {config.ingest.max_file_mb} MiB; what came before it is kept")


async def _repository_id(part: BodyPartReader, timeout: float) -> RepositoryId:
    text = await text_of(part, timeout)
    try:
        return RepositoryId(uuid.UUID(text))
    except ValueError as exc:
        raise RequestError(f"{text!r} is not a repository id") from exc


async def _stage(
    request: web.Request, part: BodyPartReader, repository_id: RepositoryId | None, stated: str | None
) -> StagedFile:
    context, caller = context_of(request), caller_of(request)
    name = file_name_of(part)
    if not name:
        raise RequestError("the field 'file' needs a file name")
    expected = parse_content_hash(stated) if stated else None
    repository = await _target(context, caller, repository_id)
    await run_blocking(repository.check_online)
    staged = await staging.receive(
        repository,
        UploadId(uuid.uuid4()),
        _media_only(name, chunks_of(part, context.config.server.request_timeout_seconds)),
        size_limit=_size_limit(context, repository.config.size_limit),
        reserve_bytes=context.config.ingest.reserve_mb * MIB,
    )
    if expected is not None and staged.content_hash != expected:
        await staging.discard(staged)
        metrics.UPLOADS.labels("hash_mismatch").inc()
        raise HashMismatch(f"the received bytes have BLAKE3 {staged.content_hash}, not {expected}; nothing was kept")
    metrics.UPLOADED_BYTES.inc(staged.size)
    return staged


async def _target(context: Context, caller: Caller, repository_id: RepositoryId | None) -> Repository:
    """Where the upload goes. Raises NotFound, RepositoryOffline for one that was not there when the daemon started."""
    try:
        return context.library.upload_target(caller.user_id, repository_id)
    except NotFound:
        async with context.library.db.session() as session:
            known = await repositories.list_repositories(session)
        if any(_is_meant(row, caller.user_id, repository_id) for row in known):
            raise RepositoryOffline("the repository is not attached; connect its disk") from None
        raise


def _is_meant(row: repositories.RepositoryRow, owner_id: UserId, repository_id: RepositoryId | None) -> bool:
    return row.owner_id == owner_id and (row.is_default if repository_id is None else row.id == repository_id)


async def _accept(request: web.Request, staged: StagedFile, name: str, modified: datetime | None) -> Upload:
    library, owner_id = context_of(request).library, caller_of(request).user_id
    accepted = await accept_upload(library, staged, owner_id=owner_id, file_name=name, modified=modified)
    duplicate = accepted.asset_id is not None
    metrics.UPLOADS.labels("duplicate" if duplicate else "accepted").inc()
    return Upload(
        status="duplicate" if duplicate else "processing",
        file_name=name,
        size=staged.size,
        content_hash=staged.content_hash,
        task_id=str(accepted.job_id) if accepted.job_id is not None else None,
        asset_id=accepted.asset_id,
        trashed=accepted.trashed,
    )


def _size_limit(context: Context, repository_limit: int | None) -> int:
    largest = context.config.ingest.max_file_mb * MIB
    return min(largest, repository_limit) if repository_limit is not None else largest


def _modified(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        modified = datetime.fromisoformat(text)
    except ValueError as exc:
        raise RequestError(f"X-File-Modified {text!r} is not a date and time such as 2024-05-01T12:00:00Z") from exc
    if modified.tzinfo is None:
        raise RequestError(f"X-File-Modified {text!r} has no UTC offset; end it with Z or +02:00")
    return modified if EARLIEST <= modified < LATEST else None


async def _media_only(name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Refuse what is media neither by content nor by name, after its first bytes. Raises MediaUnsupported."""
    known_name = PurePosixPath(name).suffix.lower() in MEDIA_EXTENSIONS
    head = b""
    decided = known_name
    async for chunk in chunks:
        if not decided:
            head += chunk
            if len(head) < HEAD_BYTES:
                continue
            chunk, decided = head, _require_media(name, head)
        yield chunk
    if not decided and _require_media(name, head):
        yield head


def _require_media(name: str, head: bytes) -> bool:
    if sniff(head[:HEAD_BYTES]) is None:
        raise MediaUnsupported(f"{name!r} is neither photo, video nor audio")
    return True
