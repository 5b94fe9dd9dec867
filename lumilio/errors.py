"""The exceptions of Lumilio, one tree.

Every class carries a stable ``code`` (what API clients and scripts compare), the HTTP ``status`` it becomes, and
``retryable``: whether trying the same thing again may succeed without anybody changing the input.

LumilioError                        internal.error
├── ConfigError                     config.invalid
├── DatabaseError                   database.error
│   ├── DatabaseUnavailable         database.unavailable
│   ├── ClusterFailed               database.cluster_failed
│   ├── ClusterVersionMismatch      database.cluster_version
│   ├── ExtensionMissing            database.extension_missing
│   ├── MigrationFailed             database.migration_failed
│   └── SchemaTooNew                database.schema_too_new
├── StorageError                    storage.error
│   ├── RepositoryInvalid           repository.invalid
│   ├── RepositoryOffline           repository.offline
│   ├── RepositoryNested            repository.nested
│   ├── StagedFileMissing           storage.staged_file_missing
│   ├── OriginalMissing             storage.original_missing
│   ├── PathOccupied                storage.path_occupied
│   ├── PathInvalid                 storage.path_invalid
│   └── DiskFull                    storage.disk_full
├── MediaError                      media.error               (the file's fault: never retried by itself)
│   ├── MediaUnsupported            media.unsupported
│   ├── MediaDamaged                media.damaged
│   └── MediaOverBudget             media.over_budget
├── ToolError                       tool.error                (a program's or our fault: retried)
│   ├── ToolMissing                 tool.missing
│   ├── ToolTimedOut                tool.timed_out
│   └── DecoderCrashed              tool.decoder_crashed
├── QueueError                      queue.error
│   ├── JobKindUnknown              queue.kind_unknown
│   ├── JobTimedOut                 queue.timed_out
│   └── JobArgsInvalid              queue.args_invalid
├── RequestError                    request.invalid
│   ├── Unauthenticated             auth.unauthenticated
│   ├── CredentialsInvalid          auth.credentials_invalid
│   ├── Forbidden                   auth.forbidden
│   ├── NotFound                    request.not_found
│   ├── MethodNotAllowed            request.method_not_allowed
│   ├── Conflict                    request.conflict
│   ├── PayloadTooLarge             request.too_large
│   ├── MediaTypeUnsupported        request.media_type_unsupported
│   ├── HashMismatch                request.hash_mismatch
│   ├── NotReady                    request.not_ready
│   └── TooManyRequests             request.too_many
└── ClientError                     client.error              (the CLI's view of a daemon that refused or is away)

``JobSnoozed``, ``JobDiscarded`` and ``JobCancelled`` are flow control of the queue, not failures, and stand outside the
tree.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar


class LumilioError(Exception):
    """An expected failure. ``details`` are extra members for the API's problem document and the log."""

    code: ClassVar[str] = "internal.error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.details: Mapping[str, object] = details or {}


class ConfigError(LumilioError):
    """The configuration is unusable; the message lists every fault, one a line."""

    code = "config.invalid"


class DatabaseError(LumilioError):
    """PostgreSQL refused something that should have worked."""

    code = "database.error"


class DatabaseUnavailable(DatabaseError):
    """PostgreSQL is not reachable at present."""

    code = "database.unavailable"
    status = 503
    retryable = True


class ClusterFailed(DatabaseError):
    """The embedded cluster could not be created or started."""

    code = "database.cluster_failed"


class ClusterVersionMismatch(DatabaseError):
    """The data directory was written by another major version of PostgreSQL."""

    code = "database.cluster_version"


class ExtensionMissing(DatabaseError):
    """A PostgreSQL extension is absent, too old or not runnable on this processor."""

    code = "database.extension_missing"


class MigrationFailed(DatabaseError):
    """A migration failed, or an applied one was edited afterwards."""

    code = "database.migration_failed"


class SchemaTooNew(DatabaseError):
    """The database was migrated by a newer Lumilio."""

    code = "database.schema_too_new"


class StorageError(LumilioError):
    """A file operation failed."""

    code = "storage.error"
    retryable = True


class RepositoryInvalid(StorageError):
    """The directory is not a usable repository."""

    code = "repository.invalid"
    status = 422
    retryable = False


class RepositoryOffline(StorageError):
    """The repository's sentinel is not there: unplugged, unmounted or moved. Nothing in it counts as deleted."""

    code = "repository.offline"
    status = 503


class RepositoryNested(StorageError):
    """A repository may not lie inside another one."""

    code = "repository.nested"
    status = 409
    retryable = False


class StagedFileMissing(StorageError):
    """The staged bytes of a job are gone."""

    code = "storage.staged_file_missing"
    retryable = False


class OriginalMissing(StorageError):
    """No location of the asset holds its bytes at present."""

    code = "storage.original_missing"
    status = 503


class PathOccupied(StorageError):
    """Something lies where a file should go, and the policy does not allow another name."""

    code = "storage.path_occupied"
    status = 409
    retryable = False


class PathInvalid(StorageError):
    """The path leaves its repository, or cannot be represented."""

    code = "storage.path_invalid"
    status = 400
    retryable = False


class DiskFull(StorageError):
    """The filesystem has no space left, or less than the configured reserve."""

    code = "storage.disk_full"
    status = 507


class MediaError(LumilioError):
    """A property of the file itself prevents its processing."""

    code = "media.error"
    status = 422


class MediaUnsupported(MediaError):
    """The content is of no type that Lumilio keeps."""

    code = "media.unsupported"
    status = 415


class MediaDamaged(MediaError):
    """The content cannot be decoded."""

    code = "media.damaged"


class MediaOverBudget(MediaError):
    """Decoding would need more memory than one decoder may use."""

    code = "media.over_budget"


class ToolError(LumilioError):
    """An external program failed in a way that is not the file's fault."""

    code = "tool.error"
    retryable = True


class ToolMissing(ToolError):
    """An external program is not installed."""

    code = "tool.missing"
    status = 503


class ToolTimedOut(ToolError):
    """An external program or decoder did not answer in time and was killed."""

    code = "tool.timed_out"


class DecoderCrashed(ToolError):
    """A decoder child died while it worked on a file."""

    code = "tool.decoder_crashed"


class QueueError(LumilioError):
    """A job could not be run."""

    code = "queue.error"


class JobKindUnknown(QueueError):
    """No job kind of that name is registered here; a newer daemon may know it."""

    code = "queue.kind_unknown"
    retryable = True


class JobTimedOut(QueueError):
    """An attempt took longer than its kind may take."""

    code = "queue.timed_out"
    retryable = True


class JobArgsInvalid(QueueError):
    """The stored arguments of a job do not fit its kind."""

    code = "queue.args_invalid"


class RequestError(LumilioError):
    """A request cannot be served as it was sent."""

    code = "request.invalid"
    status = 400


class Unauthenticated(RequestError):
    """No valid access token came with the request."""

    code = "auth.unauthenticated"
    status = 401


class CredentialsInvalid(RequestError):
    """User name and password do not belong together."""

    code = "auth.credentials_invalid"
    status = 401


class Forbidden(RequestError):
    """The caller is known and may not do this."""

    code = "auth.forbidden"
    status = 403


class NotFound(RequestError):
    """Nothing of that name exists for this caller."""

    code = "request.not_found"
    status = 404


class MethodNotAllowed(RequestError):
    """The path exists, the method does not."""

    code = "request.method_not_allowed"
    status = 405


class Conflict(RequestError):
    """The state of the thing does not allow the request."""

    code = "request.conflict"
    status = 409


class PayloadTooLarge(RequestError):
    """The body, or a file in it, is over its limit."""

    code = "request.too_large"
    status = 413


class MediaTypeUnsupported(RequestError):
    """The body is not of the media type that the route takes."""

    code = "request.media_type_unsupported"
    status = 415


class HashMismatch(RequestError):
    """The received bytes do not have the digest that the client stated; nothing was kept."""

    code = "request.hash_mismatch"


class NotReady(RequestError):
    """What was asked for is being made; ask again later."""

    code = "request.not_ready"
    status = 503
    retryable = True


class TooManyRequests(RequestError):
    """The caller has to wait."""

    code = "request.too_many"
    status = 429
    retryable = True


class ClientError(LumilioError):
    """The daemon is not reachable, or refused what the command line asked for."""

    code = "client.error"


class JobSnoozed(Exception):
    """Raised by a job's work: run it again after ``delay``; this attempt does not count."""

    def __init__(self, delay: timedelta, reason: str) -> None:
        super().__init__(reason)
        self.delay = delay
        self.reason = reason


class JobDiscarded(Exception):
    """Raised by a job's work: never run it again, for this reason."""


class JobCancelled(Exception):
    """Raised by a job's work: nobody wants it any more, for this reason; not a failure."""
