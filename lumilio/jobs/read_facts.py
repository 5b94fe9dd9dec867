"""What a file is and says: its first bytes, exiftool's word, and the problem if one of them fails."""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lumilio.errors import MediaDamaged, MediaError, MediaUnsupported, ToolError
from lumilio.media.completeness import shortfall
from lumilio.media.detect import read_head, refine, sniff
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import guess_by_name
from lumilio.media.motion import find_video
from lumilio.model import Facts, MediaKind, MediaType, Problem
from lumilio.storage.disk import run_blocking
from lumilio.tools.exiftool import ExifTool

FACTS_STEP = "facts"
DETECT_STEP = "detect"
COMPLETE_STEP = "complete"
READING_STEPS = (FACTS_STEP, DETECT_STEP, COMPLETE_STEP)
"""What ``read_file`` may find wrong, whether or not the file can be decoded after that."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The beginning of a file, its size in bytes, and when it was written last: aware."""

    head: bytes
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReading:
    """What was found out about a file without decoding it."""

    facts: Facts
    media_type: MediaType
    problems: tuple[Problem, ...] = ()


async def look(path: Path) -> Opening:
    """Read the first bytes. Raises FileNotFoundError and StorageError's kin as ``run_blocking`` does."""
    return await run_blocking(_look, path)


async def read_file(
    exiftool: ExifTool,
    path: Path,
    opening: Opening,
    *,
    name: str,
    modified: datetime,
    last_try: bool,
) -> FileReading:
    """Facts, type and time by content.

    A file that exiftool cannot read is without facts and has a problem, in the last try also when that may be
    exiftool's own fault. Raises ToolError before that, ToolMissing whenever exiftool is not installed, and
    MediaUnsupported for what is neither photo, video nor audio.
    """
    exif: dict[str, object] = {}
    problems: list[Problem] = []
    try:
        exif = await exiftool.read(path, name_hint=name)
    except (ToolError, MediaError) as exc:
        if exc.retryable and not last_try:
            raise
        problems.append(Problem(code=exc.code, step=FACTS_STEP, reason=str(exc), tool="exiftool"))
    file_type = exif.get("File:FileType")
    found = refine(sniff(opening.head), str(file_type) if file_type else None, name)
    media_type = found or guess_by_name(name)
    if media_type is None:
        raise MediaUnsupported(f"{name!r} is neither photo, video nor audio")
    if found is None:
        reason = f"the content is not that of a {media_type.format} file" if opening.size else "the file is empty"
        problems.append(Problem(code=MediaDamaged.code, step=DETECT_STEP, reason=reason, tool="exiftool"))
    facts = facts_from_exif(exif, media_type, name=name, modified=modified)
    if found is not None and (missing := await run_blocking(shortfall, path, media_type)) is not None:
        problems.append(Problem(code=MediaDamaged.code, step=COMPLETE_STEP, reason=missing))
    if media_type.kind is MediaKind.PHOTO:
        facts = replace(facts, motion=await run_blocking(find_video, path, exif, opening.size))
    return FileReading(facts=facts, media_type=media_type, problems=tuple(problems))


def _look(path: Path) -> Opening:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        return Opening(
            head=read_head(file),
            size=status.st_size,
            modified=_EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000),
        )
