"""``.lumilio/repository.toml``: what makes a directory a repository, and how it is kept."""

import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import tomli_w
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, Strict, ValidationError

from lumilio.errors import RepositoryInvalid
from lumilio.model import DuplicateNames, RepositoryId, StorageStrategy
from lumilio.storage.disk import storage_errors
from lumilio.storage.ignore import DEFAULT_IGNORE

_FILE_BYTES = 1024 * 1024
"""A larger file was not written by Lumilio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryConfig:
    """The settings of a repository; ``created`` is aware, ``size_limit`` is bytes a file, None for no limit."""

    id: RepositoryId
    name: str
    created: datetime
    strategy: StorageStrategy = StorageStrategy.DATE
    duplicate_names: DuplicateNames = DuplicateNames.RENAME
    ignore: tuple[str, ...] = DEFAULT_IGNORE
    size_limit: int | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: UUID
    name: Annotated[str, Strict(), Field(min_length=1, max_length=200)]
    created: Annotated[AwareDatetime, Strict()]
    strategy: StorageStrategy = StorageStrategy.DATE
    duplicate_names: DuplicateNames = DuplicateNames.RENAME
    ignore: list[Annotated[str, Strict(), Field(min_length=1)]] = list(DEFAULT_IGNORE)
    size_limit: Annotated[int, Strict(), Field(gt=0)] | None = None


def read_config(path: Path) -> RepositoryConfig:
    """Read a repository's configuration; blocks.

    Raises FileNotFoundError when there is none, RepositoryInvalid with file, key, value and what was expected,
    StorageError when the disk refuses.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise FileNotFoundError(str(path)) from exc
    except OSError as exc:
        with storage_errors("reading", path):
            raise exc
    if len(data) > _FILE_BYTES:
        raise RepositoryInvalid(f"{path}: larger than {_FILE_BYTES} bytes; restore it from a backup")
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise RepositoryInvalid(f"{path}: not a TOML document: {exc}; restore it from a backup") from exc
    return _parsed(path, document)


def encode_config(config: RepositoryConfig) -> bytes:
    """The configuration as TOML. Raises RepositoryInvalid for settings that ``read_config`` would refuse."""
    document: dict[str, object] = {
        "id": str(config.id),
        "name": config.name,
        "created": config.created,
        "strategy": config.strategy.value,
        "duplicate_names": config.duplicate_names.value,
        "ignore": list(config.ignore),
    }
    if config.size_limit is not None:
        document["size_limit"] = config.size_limit
    _parsed(Path("repository.toml"), document)
    try:
        return tomli_w.dumps(document).encode()
    except UnicodeEncodeError as exc:
        raise RepositoryInvalid(f"repository name or ignore pattern is not valid UTF-8: {exc.object!r}") from exc


def _parsed(path: Path, document: dict[str, object]) -> RepositoryConfig:
    try:
        parsed = _File.model_validate(document)
    except ValidationError as exc:
        raise RepositoryInvalid("\n".join(_faults(path, exc))) from exc
    return RepositoryConfig(
        id=RepositoryId(parsed.id),
        name=parsed.name,
        created=parsed.created,
        strategy=parsed.strategy,
        duplicate_names=parsed.duplicate_names,
        ignore=tuple(parsed.ignore),
        size_limit=parsed.size_limit,
    )


def _faults(path: Path, error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"])
        match fault["type"]:
            case "missing":
                faults.append(f"{path}: {key}: is missing; restore it from a backup")
            case "extra_forbidden":
                known = ", ".join(_File.model_fields)
                faults.append(f"{path}: {key} = {fault['input']!r}: unknown key; expected one of {known}")
            case _:
                expected = fault["msg"][0].lower() + fault["msg"][1:]
                faults.append(f"{path}: {key} = {fault['input']!r}: {expected}")
    return faults
