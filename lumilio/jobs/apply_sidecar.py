"""The flow of a sidecar: read it, keep it whole, and let it tell its part of the asset's facts."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, assert_never
from xml.parsers import expat

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from lumilio.catalog import sidecars
from lumilio.catalog.sidecars import SidecarFile
from lumilio.errors import MediaDamaged, NotFound, ToolTimedOut
from lumilio.jobs.derive_facts import derive
from lumilio.jobs.library import Library
from lumilio.media.sidecar import TELLING, read_takeout
from lumilio.model import AssetId, SidecarKind, UserId
from lumilio.storage.disk import run_blocking
from lumilio.tools.exiftool import ExifTool

_DEEPEST = 48
"""Of elements and members within one another; exiftool hangs on 100,000."""
_MOST_NAMES = 4096
"""Of different elements and attributes: exiftool takes 19 s for the 180,000 that fit into 4 MiB."""
_TOLD_FAULTS = 3


async def apply_sidecar(
    library: Library,
    exiftool: ExifTool,
    owner_id: UserId,
    asset_id: AssetId,
    kind: SidecarKind,
    file: SidecarFile,
) -> bool:
    """Keep a sidecar and derive the asset's facts anew; False when the asset has this very sidecar already.

    Raises NotFound for another owner's asset, MediaDamaged for what cannot be read as its kind, ToolMissing and
    ToolError of exiftool.
    """
    async with library.db.session() as session:
        if await sidecars.is_kept(session, asset_id, kind, file):
            return False
    tags = await _tags_of(exiftool, kind, file)
    async with library.db.transaction() as tx:
        if not await sidecars.lock_asset(tx, asset_id, owner_id):
            raise NotFound(f"asset {str(asset_id)!r} does not exist")
        await sidecars.put_sidecar(tx, asset_id, kind, file, tags)
        await derive(tx, asset_id)
    return True


async def drop_sidecar(library: Library, owner_id: UserId, asset_id: AssetId, kind: SidecarKind) -> None:
    """Forget a sidecar and what it told. Raises NotFound."""
    async with library.db.transaction() as tx:
        found = await sidecars.lock_asset(tx, asset_id, owner_id)
        if not found or not await sidecars.remove_sidecar(tx, asset_id, kind):
            raise NotFound(f"asset {str(asset_id)!r} has no {kind.value} sidecar")
        await derive(tx, asset_id)


async def _tags_of(exiftool: ExifTool, kind: SidecarKind, file: SidecarFile) -> Mapping[str, object]:
    match kind:
        case SidecarKind.XMP:
            return await _xmp_tags(exiftool, file.content)
        case SidecarKind.TAKEOUT:
            return await run_blocking(_takeout_members, file.content)
        case _:
            assert_never(kind)


async def _xmp_tags(exiftool: ExifTool, content: bytes) -> Mapping[str, object]:
    await run_blocking(_check_xml, content)
    path = await run_blocking(_temporary_copy, content)
    try:
        tags = await exiftool.read(path, name_hint="sidecar.xmp")
    except ToolTimedOut as exc:
        raise MediaDamaged(f"the file is not XMP that can be read: {exc}") from exc
    finally:
        _remove(path)
    if tags.get("File:FileType") != "XMP" or "ExifTool:Error" in tags:
        reason = tags.get("ExifTool:Error", f"exiftool takes it for {tags.get('File:FileType')}")
        raise MediaDamaged(f"the file is not XMP: {reason}")
    return tags


def _temporary_copy(content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(prefix="sidecar-", suffix=".xmp", delete=False) as file:
        file.write(content)
    return Path(file.name)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _check_xml(content: bytes) -> None:
    """Well-formed XML without a document type, which is where entities come from, and without what no XMP needs.

    Raises MediaDamaged.
    """

    def refuse(reason: str) -> None:
        raise MediaDamaged(f"the file is not XMP: {reason}")

    depth = 0
    names: set[str] = set()

    def open_element(name: str, attributes: list[str]) -> None:
        nonlocal depth
        depth += 1
        names.add(name)
        names.update(attributes[::2])
        if depth > _DEEPEST:
            refuse(f"more than {_DEEPEST} elements within one another")
        if len(names) > _MOST_NAMES:
            refuse(f"more than {_MOST_NAMES} different elements")

    def close_element(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.StartElementHandler = open_element
    parser.EndElementHandler = close_element
    parser.StartDoctypeDeclHandler = lambda *_: refuse("it has a document type, and XMP has none")
    try:
        parser.Parse(content.rstrip(b"\0 \r\n\t"), True)
    except (expat.ExpatError, ValueError, LookupError) as exc:
        raise MediaDamaged(f"the file is not XMP: {exc}") from exc


class _Member(BaseModel):
    """Members that are not named are kept as they are."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")


class _Moment(_Member):
    timestamp: StrictStr | StrictInt | None = None


class _Position(_Member):
    latitude: StrictFloat | StrictInt | None = None
    longitude: StrictFloat | StrictInt | None = None
    altitude: StrictFloat | StrictInt | None = None


class _Person(_Member):
    name: StrictStr | None = None


class _Takeout(_Member):
    """What Google writes about a photo, as far as Lumilio reads it."""

    title: StrictStr | None = None
    description: StrictStr | None = None
    photoTakenTime: _Moment | None = None
    creationTime: _Moment | None = None
    geoData: _Position | None = None
    geoDataExif: _Position | None = None
    people: Annotated[list[_Person], Field(max_length=1000)] | None = None
    favorited: StrictBool | None = None


def _takeout_members(content: bytes) -> Mapping[str, object]:
    """What is of another type than Google's is left out, and the rest counts.

    Raises MediaDamaged, also when nothing remains that tells of a picture.
    """
    members = read_takeout(content)
    try:
        _Takeout.model_validate(members)
    except ValidationError as exc:
        faults = exc.errors(include_url=False, include_input=False)
        for place in reversed(dict.fromkeys(_place_of(fault["loc"]) for fault in faults)):
            _leave_out(members, place)
        if not any(members.get(name) for name in TELLING):
            told = "; ".join(
                f"{'.'.join(str(each) for each in fault['loc'])[:80]}: {fault['msg']}"
                for fault in faults[:_TOLD_FAULTS]
            )
            raise MediaDamaged(f"the file is not from Google Takeout: {told}") from exc
    return members


def _place_of(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where in the document a fault lies; pydantic adds which type of several it tried."""
    return loc[: 3 if loc[0] == "people" else 2]


def _leave_out(members: dict[str, object], place: tuple[int | str, ...]) -> None:
    *path, last = place
    holder: Any = members
    for step in path:
        holder = holder[step]
    del holder[last]
