"""kill -9 before every system call that changes or opens a file, and what the retry makes of it."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from lumilio.model import DuplicateNames, RepoPath, UploadId
from lumilio.storage.commit import Committed, commit
from lumilio.storage.hashing import digest
from lumilio.storage.place import NoReplace, rename_without_replacing
from lumilio.storage.repository import Repository, open_repository
from lumilio.storage.staging import (
    StagedFile,
    acknowledge,
    discard,
    discard_upload,
    list_staged,
    receive,
    staged_path,
)
from lumilio.storage.trash import move_to_trash, restore, trash_path

CHECKOUT = Path(__file__).parents[3]
WANTED = RepoPath("inbox/2024/05/IMG.jpg")
STEPS = 40
ENTRY = uuid4()

VICTIM = """
import asyncio, errno, json, os, signal, sys
from pathlib import Path
from uuid import UUID
from lumilio.model import ContentHash, DuplicateNames, RepoPath, UploadId
from lumilio.storage.commit import commit
from lumilio.storage.place import NoReplace, rename_without_replacing
from lumilio.storage.repository import open_repository
from lumilio.storage.staging import acknowledge, receive
from lumilio.storage.trash import move_to_trash, restore

CALLS = {"open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.utime", "os.rmdir", "os.scandir", "renameat2"}

def refuse(source, target):
    raise OSError(errno.EOPNOTSUPP, "not supported")

def rename(source, target):
    sys.audit("renameat2")
    rename_without_replacing(source, target)

async def stream():
    for _ in range(3):
        yield b"x" * 1_000_000

async def act(work):
    calls = NoReplace(link=os.link if work["link"] else refuse, rename=rename if work["rename"] else refuse)
    repository = await open_repository(Path(work["root"]))
    left = work["step"]
    def count(event, arguments):
        nonlocal left
        if event in CALLS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    path, digest = RepoPath(work["path"]), ContentHash(work["hash"])
    match work["action"]:
        case "receive":
            upload_id = UploadId(UUID(work["entry"]))
            await receive(repository, upload_id, stream(), size_limit=None, reserve_bytes=0)
            await acknowledge(repository, upload_id)
        case "commit":
            policy = DuplicateNames(work["policy"])
            await commit(repository, Path(work["staged"]), path, policy=policy, content_hash=digest, calls=calls)
        case "trash":
            await move_to_trash(repository, path, UUID(work["entry"]), calls=calls)
        case "restore":
            await restore(repository, path, content_hash=digest, calls=calls)

results = []
for work in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        asyncio.run(act(work))
        os._exit(0)
    results.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if results[-1] == 0:
        break
print(json.dumps(results))
"""


def refuse(_source: Path, _target: Path) -> None:
    raise OSError(errno.EOPNOTSUPP, "not supported")


Filesystem = tuple[bool, bool]
FILESYSTEMS = pytest.mark.parametrize(
    "filesystem",
    [(True, True), (False, True), (True, False), (False, False)],
    ids=["linux", "no links", "no rename", "neither"],
)


def calls_of(filesystem: Filesystem) -> NoReplace:
    link, rename = filesystem
    return NoReplace(link=os.link if link else refuse, rename=rename_without_replacing if rename else refuse)


def kill_at_every_step(works: list[dict[str, object]], filesystem: Filesystem) -> int:
    """Run works in processes of their own, each to die before its step-th call, until one lives; return how many."""
    link, rename = filesystem
    for step, work in enumerate(works, start=1):
        work |= {"step": step, "link": link, "rename": rename}
    child = subprocess.run(
        [sys.executable, "-c", VICTIM],
        input=json.dumps(works),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        cwd=CHECKOUT,
    )
    codes = json.loads(child.stdout)
    assert len(codes) > 3, child.stderr
    assert codes == [-9] * (len(codes) - 1) + [0], child.stderr
    return len(codes)


async def staged(repository: Repository, data: bytes) -> StagedFile:
    async def stream() -> AsyncIterator[bytes]:
        yield data

    part = await receive(repository, UploadId(uuid4()), stream(), size_limit=None, reserve_bytes=0)
    assert await acknowledge(repository, part.upload_id)
    return replace(part, path=staged_path(repository, part.upload_id))


def files(folder: Path) -> list[bytes]:
    """The contents of all files below that are not empty and not Lumilio's own parts, sorted."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lumilio-part"))
    return sorted(data for data in (path.read_bytes() for path in found) if data)


async def copies(template: Repository, count: int) -> list[Repository]:
    """The same repository many times over: quicker than to make each with all its fsyncs."""
    roots = [template.root.with_name(f"{template.root.name} {number}") for number in range(count)]
    return [await open_repository(Path(shutil.copytree(template.root, root))) for root in roots]


async def recommit(repository: Repository, upload: StagedFile, policy: DuplicateNames, calls: NoReplace) -> Committed:
    path = staged_path(repository, upload.upload_id)
    return await commit(repository, path, WANTED, policy=policy, content_hash=upload.content_hash, calls=calls)


@FILESYSTEMS
@pytest.mark.parametrize("policy", [DuplicateNames.RENAME, DuplicateNames.OVERWRITE])
async def test_a_commit_killed_anywhere_is_healed_by_its_retry(
    repository: Repository, policy: DuplicateNames, filesystem: Filesystem
) -> None:
    calls = calls_of(filesystem)
    old = await staged(repository, b"the old photo")
    await recommit(repository, old, DuplicateNames.RENAME, calls)
    await discard(old)
    new = await staged(repository, b"the new one")
    cases = await copies(repository, STEPS)
    works: list[dict[str, object]] = [
        {
            "action": "commit",
            "root": str(case.root),
            "path": WANTED,
            "hash": new.content_hash,
            "staged": str(staged_path(case, new.upload_id)),
            "policy": policy.value,
        }
        for case in cases
    ]
    for case in cases[: kill_at_every_step(works, filesystem)]:
        assert b"the old photo" in files(case.root / "inbox") + files(case.root / ".lumilio/trash")
        first = await recommit(case, new, policy, calls)
        assert await recommit(case, new, policy, calls) == first
        await discard_upload(case, new.upload_id)
        assert (case.root / first.path).read_bytes() == b"the new one"
        if policy is DuplicateNames.RENAME:
            assert files(case.root / "inbox") == [b"the new one", b"the old photo"]
        else:
            assert files(case.root / "inbox") == [b"the new one"]
            assert first.displaced is not None
            assert (case.root / first.displaced.trashed).read_bytes() == b"the old photo"


@FILESYSTEMS
@pytest.mark.parametrize("action", ["trash", "restore"])
async def test_a_move_to_the_trash_or_back_killed_anywhere_is_healed_by_its_retry(
    repository: Repository, action: str, filesystem: Filesystem
) -> None:
    calls = calls_of(filesystem)
    original = repository.root / WANTED
    original.parent.mkdir(parents=True)
    original.write_bytes(b"photo")
    content_hash = digest(original)
    trashed = trash_path(ENTRY, WANTED)
    path = WANTED
    if action == "restore":
        path = await move_to_trash(repository, WANTED, ENTRY)
    cases = await copies(repository, STEPS)
    works: list[dict[str, object]] = [
        {"action": action, "root": str(case.root), "path": path, "hash": content_hash, "entry": str(ENTRY)}
        for case in cases
    ]
    for case in cases[: kill_at_every_step(works, filesystem)]:
        if action == "trash":
            assert await move_to_trash(case, WANTED, ENTRY, calls=calls) == trashed
            assert files(case.root / ".lumilio/trash") == [b"photo"]
            assert files(case.root / "inbox") == []
        else:
            restored = await restore(case, trashed, content_hash=content_hash, calls=calls)
            assert (case.root / restored.path).read_bytes() == b"photo"
            assert files(case.root / ".lumilio/trash") == []
            assert set(files(case.root / "inbox")) == {b"photo"}


async def test_an_upload_killed_anywhere_leaves_a_part_or_a_whole_file_and_never_takes_one_for_the_other(
    repository: Repository,
) -> None:
    cases = await copies(repository, STEPS)
    works: list[dict[str, object]] = [
        {"action": "receive", "root": str(case.root), "path": WANTED, "hash": "", "entry": str(ENTRY)} for case in cases
    ]
    found = []
    for case in cases[: kill_at_every_step(works, (True, True))]:
        for entry in await list_staged(case):
            found.append(entry.whole)
            assert not entry.whole or entry.path.read_bytes() == b"x" * 3_000_000
    assert set(found) == {False, True}
