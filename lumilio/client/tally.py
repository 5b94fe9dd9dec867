"""What became of each file, and the sums that the progress display and the summary show."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from lumilio.client.library import SidecarOutcome
from lumilio.client.upload import Transfer
from lumilio.model import SidecarKind

_FAILURES_KEPT = 20


class Outcome(StrEnum):
    """What the import did with a file."""

    SENT = "sent"
    DUPLICATE = "duplicate"
    TRASHED = "trashed"
    WOULD_SEND = "would_send"
    SKIPPED = "skipped"
    LINK = "link"
    SPECIAL = "special"
    FAILED = "failed"


class Processing(StrEnum):
    """What the daemon made of a file that it has."""

    READY = "ready"
    UNSUPPORTED = "unsupported"
    PROBLEM = "problem"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettled:
    """The import is done with one path. ``size`` in bytes; ``code`` and ``reason`` tell of a failure."""

    path: str
    outcome: Outcome
    size: int = 0
    content_hash: str | None = None
    task_id: str | None = None
    asset_id: str | None = None
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProcessed:
    """The daemon is done with one file. ``lost`` means that it is not in the library although it was sent."""

    path: str
    state: Processing
    content_hash: str
    task_id: str
    asset_id: str | None = None
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarSettled:
    """The import is done with a sidecar. ``refused``: it cannot be read, here or there; its file is in the library."""

    path: str
    kind: SidecarKind
    outcome: SidecarOutcome
    asset_id: str
    code: str = ""
    reason: str = ""


Event = FileSettled | FileProcessed | SidecarSettled


@dataclass(slots=True, kw_only=True)
class Tally:
    """Running sums; bytes are those of whole files. ``expected_*`` grow until ``counted``."""

    expected_files: int = 0
    expected_bytes: int = 0
    counted: bool = False
    done_bytes: int = 0
    sent_bytes: int = 0
    sent: int = 0
    duplicates: int = 0
    trashed: int = 0
    would_send: int = 0
    would_send_bytes: int = 0
    skipped: int = 0
    links: int = 0
    special: int = 0
    failed: int = 0
    ready: int = 0
    unsupported: int = 0
    problems: int = 0
    lost: int = 0
    pending: int = 0
    sidecars_sent: int = 0
    sidecars_unchanged: int = 0
    sidecars_unreadable: int = 0
    sidecars_pending: int = 0
    transfers: set[Transfer] = field(default_factory=set)
    failures: list[Event] = field(default_factory=list)

    @property
    def done_files(self) -> int:
        """Files that are settled, without what is left out: skipped ones, links and special files."""
        return self.sent + self.duplicates + self.trashed + self.would_send + self.failed

    @property
    def moved_bytes(self) -> int:
        """``done_bytes`` and what is on its way."""
        return self.done_bytes + sum(transfer.sent for transfer in self.transfers)

    @property
    def all_there(self) -> bool:
        """No file failed and none was lost."""
        return self.failed == 0 and self.lost == 0

    def record(self, event: Event) -> None:
        """Add one event."""
        match event:
            case FileSettled():
                self._settle(event)
            case FileProcessed():
                self._process(event)
            case SidecarSettled():
                self._attach(event)
            case _:
                assert_never(event)

    def _settle(self, event: FileSettled) -> None:
        self.done_bytes += event.size
        match event.outcome:
            case Outcome.SENT:
                self.sent += 1
                self.sent_bytes += event.size
            case Outcome.DUPLICATE:
                self.duplicates += 1
            case Outcome.TRASHED:
                self.trashed += 1
            case Outcome.WOULD_SEND:
                self.would_send += 1
                self.would_send_bytes += event.size
            case Outcome.SKIPPED:
                self.skipped += 1
            case Outcome.LINK:
                self.links += 1
            case Outcome.SPECIAL:
                self.special += 1
            case Outcome.FAILED:
                self.failed += 1
                self._keep(event)
            case _:
                assert_never(event.outcome)

    def _process(self, event: FileProcessed) -> None:
        match event.state:
            case Processing.READY:
                self.ready += 1
            case Processing.UNSUPPORTED:
                self.unsupported += 1
            case Processing.PROBLEM:
                self.problems += 1
            case Processing.LOST:
                self.lost += 1
                self._keep(event)
            case _:
                assert_never(event.state)

    def _attach(self, event: SidecarSettled) -> None:
        match event.outcome:
            case SidecarOutcome.SENT:
                self.sidecars_sent += 1
            case SidecarOutcome.UNCHANGED:
                self.sidecars_unchanged += 1
            case SidecarOutcome.REFUSED:
                self.sidecars_unreadable += 1
            case _:
                assert_never(event.outcome)

    def _keep(self, event: Event) -> None:
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append(event)
