"""What an import asks the daemon about files: which bytes it has, and how far the processing of new ones came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from lumilio.client.exchange import ASKED_TO_WAIT, ConnectionLost, waiting_reason
from lumilio.client.session import Session
from lumilio.errors import ClientError
from lumilio.model import ContentHash, SidecarKind

CHECK_LIMIT = 1000
"""Most hashes in one ``POST /assets/check``."""
TASK_LIMIT = 100
"""Most ids in one ``GET /tasks``."""

_Member = TypeVar("_Member", bound=StrEnum)


class Presence(StrEnum):
    """Whether the library has some bytes: stored, received and being processed, or never seen."""

    KNOWN = "known"
    PROCESSING = "processing"
    UNKNOWN = "unknown"


class TaskState(StrEnum):
    """How far a task came."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class SidecarOutcome(StrEnum):
    """What became of a file that describes another one."""

    SENT = "sent"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The daemon's answer for one hash."""

    content_hash: str
    presence: Presence
    trashed: bool
    asset_id: str | None
    task_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """One task; ``problem_code`` and ``reason`` are empty when all is well."""

    task_id: str
    state: TaskState
    asset_id: str | None
    asset_state: str
    problem_code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarAnswer:
    """What came of sending a sidecar; ``code`` and ``reason`` tell of a refusal."""

    outcome: SidecarOutcome
    code: str = ""
    reason: str = ""


async def probe_library(session: Session) -> None:
    """Learn that the daemon is there and lets us import. Raises ClientError at once when not."""
    await session.probe("/assets/check", {"hashes": ["0" * 64]})


async def check_hashes(session: Session, hashes: Sequence[ContentHash]) -> dict[ContentHash, Verdict]:
    """Ask which of at most CHECK_LIMIT hashes the library has; every one gets a verdict. Raises ClientError."""
    answer = await session.request("POST", "/assets/check", payload={"hashes": list(hashes)})
    verdicts = [
        Verdict(
            content_hash=text(item, "content_hash") or "",
            presence=_member(Presence, item, "status"),
            trashed=item.get("trashed") is True,
            asset_id=text(item, "asset_id"),
            task_id=text(item, "task_id"),
        )
        for item in documents(answer.body, "results")
    ]
    by_hash = {ContentHash(verdict.content_hash): verdict for verdict in verdicts}
    if not by_hash.keys() >= set(hashes):
        raise not_understood("results")
    return by_hash


async def read_tasks(session: Session, task_ids: Sequence[str]) -> dict[str, TaskReport]:
    """Read the state of at most TASK_LIMIT tasks; those that the daemon does not know are absent.

    Raises ClientError.
    """
    answer = await session.request("GET", "/tasks", query=[("id", task_id) for task_id in task_ids])
    reports = []
    for item in documents(answer.body, "items"):
        problem = item.get("problem")
        details = problem if isinstance(problem, dict) else {}
        reports.append(
            TaskReport(
                task_id=text(item, "task_id") or "",
                state=_member(TaskState, item, "state"),
                asset_id=text(item, "asset_id"),
                asset_state=text(item, "asset_state") or "",
                problem_code=text(details, "code") or "",
                reason=text(details, "reason") or "",
            )
        )
    return {report.task_id: report for report in reports}


async def send_sidecar(
    session: Session, asset_id: str, kind: SidecarKind, file_name: str, content: bytes
) -> SidecarAnswer:
    """Give an asset a sidecar; sent once more it is unchanged. Raises ClientError when the daemon stays away."""
    patience = session.patience()
    while True:
        try:
            answer = await session.put(f"/assets/{asset_id}/sidecars/{kind}", content, [("file_name", file_name)])
        except ConnectionLost as exc:
            await patience.wait(str(exc))
            continue
        if answer.status in ASKED_TO_WAIT:
            await patience.wait(waiting_reason(answer), answer.retry_after)
        elif answer.status >= 400:
            return SidecarAnswer(outcome=SidecarOutcome.REFUSED, code=answer.code, reason=answer.reason)
        else:
            taken = answer.status == 201
            return SidecarAnswer(outcome=SidecarOutcome.SENT if taken else SidecarOutcome.UNCHANGED)


def text(item: Mapping[str, object], key: str) -> str | None:
    """A member that is a string or a number, as text; None when it is absent or null."""
    value = item.get(key)
    return None if value is None else str(value)


def documents(body: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """A member that is a list of JSON objects. Raises ClientError."""
    items = body.get(key)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise not_understood(key)
    return items


def not_understood(what: str) -> ClientError:
    """For an answer that lacks what it should hold."""
    return ClientError(f"the daemon's answer is not understood ({what!r}); use a lumilio of the daemon's version")


def _member(kind: type[_Member], item: Mapping[str, object], key: str) -> _Member:
    try:
        return kind(str(item.get(key)))
    except ValueError as exc:
        raise not_understood(key) from exc
