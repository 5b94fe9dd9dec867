"""Where the daemon is, and how the command line proves who it is.

A running daemon writes ``daemon.json`` (mode 0600) into its data directory: its URL and a bearer token of the local
administrator. Who may read that file needs no password; everybody else names the URL and logs in.
"""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lumilio.errors import ClientError
from lumilio.model import DAEMON_FILE, SYSTEM_CONFIG

SYSTEM_DATA = Path("/var/lib/lumilio")
"""``data.directory`` of a configuration that does not name one."""

_START = "start it with `make run` or `systemctl start lumilio`, or name a running one with --url or --data"
_LARGEST_FILE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user name and its password, kept in memory to log in again when a token has expired."""

    username: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Base URL of a daemon without a trailing slash, and what authenticates there."""

    url: str
    token: str = ""


def parse_url(text: str) -> str:
    """Check a daemon's base URL. Raises ClientError."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    else:
        usable = usable and not (parts.query or parts.fragment or parts.username)
    if not usable:
        raise ClientError(f"{text!r} is not the URL of a daemon; write it as http://host:8420")
    return url


def nearby_data() -> Path | None:
    """What a command without a word about it means: LUMILIO_DATA, else ./data when Lumilio made it."""
    named = os.environ.get("LUMILIO_DATA")
    if named:
        return Path(named)
    local = Path("data")
    return local if (local / "secrets" / "token-key").exists() else None


def data_directory(data: Path | None, *, working: Path, system_config: Path = SYSTEM_CONFIG) -> Path:
    """The data directory whose daemon is meant.

    In this order: ``data``, the environment's LUMILIO_DATA, ``data`` below the working directory when a daemon has
    written its file there, the directory that the system's configuration names. Raises ClientError when none applies.
    """
    if data is not None:
        return data
    if named := os.environ.get("LUMILIO_DATA"):
        return Path(named)
    local = working / "data"
    if _exists(local / DAEMON_FILE):
        return local
    if not _exists(system_config):
        raise ClientError(f"no daemon is running here; {_START}")
    try:
        section = tomllib.loads(system_config.read_text(encoding="utf-8")).get("data", {})
    except (OSError, ValueError) as exc:
        raise ClientError(f"{str(system_config)!r} cannot be read ({exc}); name the daemon with --url") from exc
    named = section.get("directory") if isinstance(section, dict) else None
    return Path(named) if isinstance(named, str) and named else SYSTEM_DATA


def read_address(data: Path) -> Address:
    """What the daemon of this data directory wrote about itself. Raises ClientError that says what to do."""
    path = data / DAEMON_FILE
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_LARGEST_FILE))
    except FileNotFoundError as exc:
        raise ClientError(f"no daemon is running on {str(data)!r}; {_START}") from exc
    except PermissionError as exc:
        raise ClientError(
            f"{str(path)!r} belongs to another user; run this as the user of the daemon, or log in with --url"
        ) from exc
    except (OSError, ValueError) as exc:
        raise ClientError(f"{str(path)!r} cannot be read ({exc}); restart the daemon, or log in with --url") from exc
    match content:
        case {"url": str(url), "token": str(token)} if token:
            return Address(url=parse_url(url), token=token)
        case _:
            raise ClientError(f"{str(path)!r} holds no url and token; restart the daemon, or log in with --url")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # there, but in a directory that this user may not enter: reading it explains
