"""Real repositories in temporary directories."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from lumilio.model import UploadId
from lumilio.storage.creation import create_repository
from lumilio.storage.repository import Repository
from lumilio.storage.staging import StagedFile, acknowledge, receive, staged_path

Stage = Callable[[bytes], Awaitable[StagedFile]]


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    return await create_repository(tmp_path / "photos", name="Photos")


@pytest.fixture
def stage(repository: Repository) -> Stage:
    async def stage(data: bytes) -> StagedFile:
        part = await receive(repository, UploadId(uuid4()), stream(data), size_limit=None, reserve_bytes=0)
        assert await acknowledge(repository, part.upload_id)
        return replace(part, path=staged_path(repository, part.upload_id))

    return stage
