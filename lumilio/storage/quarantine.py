"""Setting bytes aside that cannot become an asset, each with its reason, and taking them back for another try."""

from pathlib import Path

from lumilio.errors import StagedFileMissing
from lumilio.model import ContentHash, UploadId
from lumilio.storage.disk import run_blocking, storage_errors, write_atomically
from lumilio.storage.hashing import is_file_of
from lumilio.storage.place import finish_move, move
from lumilio.storage.repository import Repository
from lumilio.storage.staging import staged_path


async def quarantine(repository: Repository, upload_id: UploadId, reason: str | None = None) -> Path:
    """Move a staged file that cannot be committed to ``staging/failed``, a reason in a text file beside it.

    Raises StagedFileMissing, RepositoryOffline, DiskFull, StorageError.
    """
    with storage_errors("quarantining", staged_path(repository, upload_id)):
        return await run_blocking(_quarantine, repository, upload_id, reason)


def _quarantine(repository: Repository, upload_id: UploadId, reason: str | None) -> Path:
    source, target = staged_path(repository, upload_id), repository.failed / str(upload_id)
    try:
        move(source, target, private=True)
    except FileExistsError:
        finish_move(source, target)
    except FileNotFoundError as exc:
        repository.check_online()
        if not target.exists():
            raise StagedFileMissing(f"staged file {str(source)!r} is gone; upload it again") from exc
    if reason is not None:
        write_atomically(target.with_suffix(".txt"), f"{reason}\n".encode(errors="replace"), scratch=repository.temp)
    return target


async def take_back(repository: Repository, upload_id: UploadId, *, content_hash: ContentHash, size: int) -> bool:
    """Make a file that was set aside wait in staging again, for another try; False when it is not there.

    One that has other bytes by now stays where it is: somebody edited it. May be repeated.
    Raises RepositoryOffline, DiskFull, StorageError.
    """
    with storage_errors("taking back", staged_path(repository, upload_id)):
        return await run_blocking(_take_back, repository, upload_id, content_hash, size)


def _take_back(repository: Repository, upload_id: UploadId, content_hash: ContentHash, size: int) -> bool:
    repository.check_online()
    source, target = repository.failed / str(upload_id), staged_path(repository, upload_id)
    if not is_file_of(source, size, content_hash):
        return False
    try:
        move(source, target, private=True)
    except FileExistsError:
        finish_move(source, target)
    source.with_suffix(".txt").unlink(missing_ok=True)
    return True
