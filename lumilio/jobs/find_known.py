"""Which bytes an owner has already: asked before a file is sent. Read only, and as strict as the upload itself."""

import asyncio
from collections.abc import Mapping, Sequence

from lumilio.catalog import assets, locations
from lumilio.catalog.assets import KnownFile
from lumilio.catalog.locations import Location
from lumilio.errors import PathInvalid, RepositoryOffline
from lumilio.jobs.library import Library
from lumilio.model import AssetId, ContentHash, RepositoryId, UserId
from lumilio.storage.repository import Repository


async def find_known(
    library: Library, owner_id: UserId, hashes: Sequence[ContentHash]
) -> Mapping[ContentHash, KnownFile]:
    """The assets with these bytes whose file is there, or on a disk that is away: offline is not lost.

    One whose file is gone is left out, so that it is sent again, which repairs it.
    """
    async with library.db.session() as session:
        known = await assets.known_files(session, owner_id, hashes)
        places = await locations.locations_of_many(session, [file.asset_id for file in known])
    intact = await asyncio.to_thread(_intact, library, known, places)
    return {file.content_hash: file for file in intact}


def _intact(
    library: Library, known: Sequence[KnownFile], places: Mapping[AssetId, Sequence[Location]]
) -> list[KnownFile]:
    online: dict[RepositoryId, Repository | None] = {}
    return [
        file
        for file in known
        if any(_holds(library, online, place, file.size) for place in places.get(file.asset_id, ()))
    ]


def _holds(library: Library, online: dict[RepositoryId, Repository | None], place: Location, size: int) -> bool:
    if place.repository_id not in online:
        online[place.repository_id] = _online(library, place.repository_id)
    repository = online[place.repository_id]
    if repository is None:
        return True
    try:
        return repository.resolve(place.current_path).stat().st_size == size
    except (FileNotFoundError, NotADirectoryError, PathInvalid):
        return False


def _online(library: Library, repository_id: RepositoryId) -> Repository | None:
    try:
        repository = library.repository(repository_id)
        repository.check_online()
    except RepositoryOffline:
        return None
    return repository
