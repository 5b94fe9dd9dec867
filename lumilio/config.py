"""The configuration: one TOML file becomes frozen settings, or one ConfigError that lists every fault.

Each field's description and default also make ``etc/lumilio.toml``, which a test keeps equal to ``default_toml()``.
Secrets are named by file, never written here.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qs, urlsplit

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from lumilio.cron import check_cron
from lumilio.errors import ConfigError
from lumilio.model import SYSTEM_CONFIG

SECRET_BEARING = frozenset({"url"})
"""Keys whose refused value is not repeated: it may hold the very password for which it was refused."""


class Section(BaseModel):
    """One table of the file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)


class ServerSettings(Section):
    """The HTTP server"""

    host: str = Field(default="0.0.0.0", description="Address to listen on; 127.0.0.1 for this machine only.")  # noqa: S104
    port: int = Field(default=8420, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    request_timeout_seconds: int = Field(
        default=60, ge=1, le=3600, description="A client that sends nothing for this long is disconnected."
    )


class DataSettings(Section):
    """Where Lumilio keeps what is its own"""

    directory: str = Field(
        default="/var/lib/lumilio",
        min_length=1,
        description="Database cluster, secrets and the default repository lie below this directory.",
    )
    repository: str = Field(
        default="",
        description="Root of the default repository, made at the first start; empty: library/ below the directory.",
    )


class DatabaseSettings(Section):
    """PostgreSQL"""

    url: str = Field(
        default="",
        description="A server to use, PostgreSQL 15 or newer with pgvector 0.8 or newer, such as "
        "postgresql://lumilio@host/lumilio; empty: a private embedded cluster.",
    )
    password_file: str = Field(default="", description="File that holds the password for database.url.")
    pool_size: int = Field(default=16, ge=4, le=200, description="Most connections in use at once.")
    command_timeout_seconds: int = Field(default=60, ge=1, le=3600, description="A statement may take this long.")
    start_timeout_seconds: int = Field(
        default=60, ge=1, le=3600, description="The embedded cluster may need this long to recover and start."
    )
    shared_buffers_mb: int = Field(
        default=128, ge=16, le=65536, description="PostgreSQL's shared memory, embedded cluster only."
    )

    @field_validator("url")
    @classmethod
    def _is_postgres_without_password(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            parameters = parse_qs(parts.query, keep_blank_values=True)
            password = parts.password
        except ValueError as exc:
            raise ValueError(f"a URL that begins with postgresql://, but: {exc}") from exc
        if url and parts.scheme not in {"postgresql", "postgres"}:
            raise ValueError("a URL that begins with postgresql://")
        if password is not None or "password" in parameters:
            raise ValueError("a URL without a password; write it to a file and name that in database.password_file")
        return url

    @model_validator(mode="after")
    def _password_has_a_server(self) -> Self:
        if self.password_file and not self.url:
            raise ValueError("password_file only together with url: the embedded cluster has no password")
        return self


class IngestSettings(Section):
    """Incoming files"""

    max_file_mb: int = Field(default=51200, ge=1, description="Largest file that is accepted, in MiB.")
    max_batch_files: int = Field(default=100, ge=1, le=10000, description="Most files in one batch request.")
    reserve_mb: int = Field(
        default=1024, ge=0, description="Uploads are refused while the repository's disk has less free MiB than this."
    )
    orphan_hours: int = Field(
        default=24, ge=1, le=8760, description="Staged files that no job refers to are set aside after this time."
    )


class QueueSettings(Section):
    """The job queue"""

    process_asset_slots: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Files processed at once; 0: two more than there are processors, at least 5.",
    )
    poll_seconds: float = Field(
        default=2.0, ge=0.1, le=60, description="How often to look for jobs without being woken."
    )
    heartbeat_seconds: float = Field(default=5.0, ge=0.5, le=300, description="How often a worker shows life.")
    rescue_after_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="The jobs of a worker without a sign of life for this long are given to others.",
    )
    memory_mb: int = Field(
        default=1536,
        ge=256,
        le=1048576,
        description="What all jobs that run at once may need together, in MB; one that does not fit waits.",
    )
    keep_completed_hours: int = Field(default=24, ge=1, le=8760, description="Completed jobs are kept this long.")
    keep_failed_days: int = Field(
        default=30, ge=1, le=3650, description="Discarded and cancelled jobs are kept, and can be retried, this long."
    )

    @model_validator(mode="after")
    def _rescue_outlasts_heartbeats(self) -> Self:
        if self.rescue_after_seconds < 3 * self.heartbeat_seconds:
            raise ValueError(
                f"rescue_after_seconds = {self.rescue_after_seconds} to be at least three times "
                f"heartbeat_seconds = {self.heartbeat_seconds}"
            )
        return self


class ScheduleSettings(Section):
    """Periodic work, as cron expressions in local time (minute hour day month weekday); empty: never"""

    sweep_staging: str = Field(default="17 * * * *", description="Set aside what interrupted uploads left behind.")
    retry_problems: str = Field(
        default="23 4 * * *", description="Try failed files again where a tool has another version."
    )

    @field_validator("*")
    @classmethod
    def _is_cron(cls, expression: str) -> str:
        if expression:
            check_cron(expression)
        return expression


class DecoderSettings(Section):
    """Child processes that decode untrusted files"""

    processes: int = Field(default=0, ge=0, le=64, description="How many; 0: one for each processor.")
    memory_mb: int = Field(default=768, ge=256, le=65536, description="Memory that one child may allocate, in MiB.")
    timeout_seconds: int = Field(default=60, ge=1, le=3600, description="A file may take this long.")
    recycle_after: int = Field(default=500, ge=1, le=100000, description="A child is replaced after this many files.")
    exiftool_processes: int = Field(default=2, ge=1, le=16, description="How many exiftools run at once.")
    exiftool_timeout_seconds: int = Field(default=30, ge=1, le=3600, description="exiftool may take this long.")


class VideoSettings(Section):
    """Web versions of recordings that browsers cannot play as they are"""

    encoder: Literal["software", "auto", "vaapi", "qsv", "nvenc"] = Field(
        default="software",
        description="What encodes video: software, or hardware if it works; auto tries all hardware first.",
    )
    jobs: int = Field(default=1, ge=1, le=16, description="Web versions made at once.")
    threads: int = Field(default=0, ge=0, le=64, description="Threads of one encoder; 0: all processors but one.")
    memory_mb: int = Field(default=1024, ge=512, le=65536, description="Memory that one encoder may allocate, in MiB.")


class AuthSettings(Section):
    """Logins"""

    access_token_minutes: int = Field(default=15, ge=1, le=1440, description="How long an access token is valid.")
    refresh_token_days: int = Field(default=30, ge=1, le=365, description="How long a login lasts without use.")
    login_attempts_per_minute: int = Field(
        default=10, ge=1, le=1000, description="Failed logins allowed for one account, and for one address."
    )


class LogSettings(Section):
    """Logs, always on standard error"""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )
    style: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: readable on a terminal, JSON elsewhere."
    )


class DaemonSettings(Section):
    """Start and stop"""

    shutdown_timeout_seconds: int = Field(
        default=25, ge=1, le=600, description="Running work may finish for this long when the daemon is told to stop."
    )


class Config(Section):
    """All settings."""

    server: ServerSettings = ServerSettings()
    data: DataSettings = DataSettings()
    database: DatabaseSettings = DatabaseSettings()
    ingest: IngestSettings = IngestSettings()
    queue: QueueSettings = QueueSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    decoders: DecoderSettings = DecoderSettings()
    video: VideoSettings = VideoSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    daemon: DaemonSettings = DaemonSettings()

    @property
    def data_directory(self) -> Path:
        """Absolute path of ``data.directory``."""
        return Path(self.data.directory).absolute()

    @property
    def repository_root(self) -> Path:
        """Absolute path of the default repository."""
        return Path(self.data.repository).absolute() if self.data.repository else self.data_directory / "library"


def load_config(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Read the file (None: the system's file when it exists, else the defaults) and lay overrides over it.

    Raises ConfigError with one line a fault: file, key, value and what was expected.
    """
    source = path if path is not None else SYSTEM_CONFIG
    values: dict[str, Any] = {}
    if path is not None or source.exists():
        values = _read_toml(source)
    for section, entries in (overrides or {}).items():
        table = values.setdefault(section, {})
        if isinstance(table, dict):
            table.update(entries)
    try:
        config = Config.model_validate(values)
    except ValidationError as exc:
        raise ConfigError("\n".join(_fault(source, values, overrides or {}, error) for error in exc.errors())) from None
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: {exc.strerror}; make one with: lumilio config init {path}") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc


def _fault(
    file: Path, values: Mapping[str, Any], overrides: Mapping[str, Mapping[str, Any]], error: ErrorDetails
) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    is_option = len(location) == 2 and location[1] in overrides.get(location[0], {})
    source = "command line" if is_option else str(file)
    if error["type"] == "extra_forbidden":
        known = Config.model_fields
        if len(location) > 1 and (section := known.get(location[0])) and section.annotation is not None:
            known = section.annotation.model_fields
        return f"{source}: {key}: unknown key; known here: {', '.join(sorted(known))}"
    found: Any = values
    for part in location:
        found = found.get(part) if isinstance(found, Mapping) else None
    expected = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "model_type":
        expected = f"a table: [{key}]"
    shown = "" if isinstance(found, Mapping) or location[-1] in SECRET_BEARING else f" {found!r}:"
    return f"{source}: {key}:{shown} expected {expected}"


def default_toml() -> str:
    """The text of ``etc/lumilio.toml``: every key with its default and what it means."""
    lines = [
        "# Configuration of Lumilio. Every key is shown with its default; delete what you do not change.",
        "# `lumilio check` tells whether this file is right, `lumilio config show` what is in effect.",
    ]
    for name, section in Config().model_dump().items():
        model = type(getattr(Config(), name))
        lines += ["", f"# {model.__doc__}", f"[{name}]"]
        for key, value in section.items():
            lines += [f"# {model.model_fields[key].description}", tomli_w.dumps({key: value}).strip()]
    return "\n".join(lines) + "\n"
