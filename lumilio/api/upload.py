"""Receiving files: multipart, streamed, one at a time or many."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import PurePosixPath

from aiohttp import BodyPartReader, MultipartReader, web

from lumilio import metrics
from lumilio.api.context import REQUEST_ID, Context, answer, caller_of, chunks_of, context_of
from lumilio.api.middleware import problem
from lumilio.api.schemas import BatchResult, BatchResults, Upload
from lumilio.errors import (
    HashMismatch,
    LumilioError,
    MediaTypeUnsupported,
    MediaUnsupported,
    PayloadTooLarge,
    RequestError,
)
from lumilio.jobs.accept_upload import accept_upload
from lumilio.media.detect import MEDIA_EXTENSIONS, sniff
from lumilio.model import RepositoryId, UploadId, parse_content_hash
from lumilio.storage import staging
from lumilio.storage.staging import StagedFile
from lumilio.tools.tokens import Caller

HEAD_BYTES = 4096
MAX_FIELD_BYTES = 1024
MIB = 1 << 20


async def upload_asset(request: web.Request) -> web.Response:
    """Store one file: the multipart field `file`, after an optional field `repository_id`."""
    repository_id: RepositoryId | None = None
    async for part in _parts(request):
        if part.name == "repository_id":
            repository_id = await _repository_id(part, context_of(request).config.server.request_timeout_seconds)
        elif part.name == "file":
            upload = await _receive(request, part, repository_id, sole=True)
            return answer(upload, status=202 if upload.status == "processing" else 200)
        else:
            raise RequestError(f"unexpected field {part.name!r}; send 'file', before it 'repository_id' if you like")
    raise RequestError("no file came; send a multipart field 'file'")


async def upload_batch(request: web.Request) -> web.Response:
    """Store several files, each a field `file`; one that is refused does not stop the others."""
    limit = context_of(request).config.ingest.max_batch_files
    repository_id: RepositoryId | None = None
    results: list[BatchResult] = []
    async for part in _parts(request):
        if part.name == "repository_id":
            repository_id = await _repository_id(part, context_of(request).config.server.request_timeout_seconds)
            continue
        if len(results) >= limit:
            raise PayloadTooLarge(
                f"more than {limit} files in one request; what came before is kept, send the rest anew"
            )
        results.append(await _receive_one_of_many(request, part, repository_id))
    return answer(BatchResults(results=results))


async def _receive_one_of_many(
    request: web.Request, part: BodyPartReader, repository_id: RepositoryId | None
) -> BatchResult:
    name = _file_name(part)
    try:
        upload = await _receive(request, part, repository_id, sole=False)
    except LumilioError as exc:
        await _drain(request, part)
        return BatchResult(http_status=exc.status, file_name=name, error=problem(exc, request[REQUEST_ID]))
    return BatchResult(http_status=202 if upload.status == "processing" else 200, file_name=name, upload=upload)


async def _drain(request: web.Request, part: BodyPartReader) -> None:
    timeout = context_of(request).config.server.request_timeout_seconds
    async for _chunk in chunks_of(part.read_chunk, timeout):
        pass


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    if request.content_type != "multipart/form-data":
        raise MediaTypeUnsupported(f"{request.content_type!r} instead of multipart/form-data")
    timeout = context_of(request).config.server.request_timeout_seconds
    try:
        reader = await request.multipart()
        while True:
            async with asyncio.timeout(timeout):
                part = await reader.next()
            if part is None:
                return
            if isinstance(part, MultipartReader):
                raise RequestError("a multipart field inside a field is not understood")
            yield part
    except TimeoutError as exc:
        raise RequestError(f"nothing was received for {timeout} s; send the file again") from exc
    except ValueError as exc:
        raise RequestError(f"the multipart body is malformed: {exc}") from exc


async def _repository_id(part: BodyPartReader, timeout: float) -> RepositoryId:
    async with asyncio.timeout(timeout):
        text = bytes(await part.read_chunk(MAX_FIELD_BYTES)).decode("utf-8", "replace").strip()
    try:
        return RepositoryId(uuid.UUID(text))
    except ValueError as exc:
        raise RequestError(f"{text!r} is not a repository id") from exc


def _file_name(part: BodyPartReader) -> str:
    """The last component of the name that the client gave, free of what text columns cannot hold."""
    given = (part.filename or "").replace("\\", "/").encode("utf-8", "replace").decode("utf-8")
    return PurePosixPath(given.replace("\0", "")).name


async def _receive(
    request: web.Request, part: BodyPartReader, repository_id: RepositoryId | None, *, sole: bool
) -> Upload:
    context, caller = context_of(request), caller_of(request)
    name = _file_name(part)
    if not name:
        raise RequestError("the field 'file' needs a file name")
    stated = part.headers.get("X-Content-Hash") or (request.headers.get("X-Content-Hash") if sole else None)
    expected = parse_content_hash(stated) if stated else None
    modified = _modified(
        part.headers.get("X-File-Modified") or (request.headers.get("X-File-Modified") if sole else None)
    )
    repository = context.library.upload_target(caller.user_id, repository_id)
    await asyncio.to_thread(repository.check_online)
    staged = await staging.receive(
        repository,
        UploadId(uuid.uuid4()),
        _media_only(name, chunks_of(part.read_chunk, context.config.server.request_timeout_seconds)),
        size_limit=_size_limit(context, repository.config.size_limit),
        reserve_bytes=context.config.ingest.reserve_mb * MIB,
    )
    if expected is not None and staged.content_hash != expected:
        await staging.discard(staged)
        metrics.UPLOADS.labels("hash_mismatch").inc()
        raise HashMismatch(f"the received bytes have BLAKE3 {staged.content_hash}, not {expected}; nothing was kept")
    metrics.UPLOADED_BYTES.inc(staged.size)
    return await _accept(context, caller, staged, name, modified)


async def _accept(
    context: Context,
    caller: Caller,
    staged: StagedFile,
    name: str,
    modified: datetime | None,
) -> Upload:
    accepted = await accept_upload(context.library, staged, owner_id=caller.user_id, file_name=name, modified=modified)
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
    return modified


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
