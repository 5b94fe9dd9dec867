"""Which daemon a command speaks to, and as whom: the options that the commands share, and what they lead to."""

import argparse
import getpass
import sys
from dataclasses import dataclass
from pathlib import Path

from lumilio.client.discovery import Login, data_directory, parse_url
from lumilio.errors import ClientError

WHICH_DAEMON = """\
the daemon is the one of --url, else of --data, else of the environment's LUMILIO_DATA, else of ./data, else of the
data directory that /etc/lumilio/lumilio.toml names. All but --url read the daemon's own token and need no password.
"""
"""For the epilog of a command that takes these options."""

_LONGEST_PASSWORD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Which daemon, as the command line names it: a URL with a login, or a data directory (None: found)."""

    url: str | None
    data: Path | None
    username: str
    password_file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a Session needs: a URL with a login, or a data directory."""

    url: str = ""
    data: Path | None = None
    login: Login | None = None


def add_daemon_options(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    """Add the options that ``access_of`` reads, as a group that may get more."""
    daemon = parser.add_argument_group("which daemon")
    where = daemon.add_mutually_exclusive_group()
    where.add_argument("--url", help="URL of the daemon; log in with --username and a password")
    where.add_argument("--data", type=Path, metavar="DIR", help="data directory of a daemon on this machine")
    daemon.add_argument("--username", default="admin", help="user to log in as, with --url (default: admin)")
    daemon.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password (default: ask)")
    return daemon


def add_patience(parser: argparse.ArgumentParser, waited_for: str) -> None:
    """Add ``--patience``, the seconds after which a Session gives up."""
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help=f"how long {waited_for} is waited for (default: 300)",
    )


def access_of(args: argparse.Namespace) -> Access:
    """What the command line says."""
    return Access(url=args.url, data=args.data, username=args.username, password_file=args.password_file)


def find_credentials(access: Access) -> Credentials:
    """Look for the daemon, and ask for the password where one is needed and a terminal is there.

    Raises ClientError.
    """
    if access.url is None:
        return Credentials(data=data_directory(access.data, working=Path.cwd()))
    url = parse_url(access.url)
    return Credentials(url=url, login=Login(username=access.username, password=_password(access, url)))


def _password(access: Access, url: str) -> str:
    if access.password_file is not None:
        try:
            with access.password_file.open(encoding="utf-8") as file:
                return file.read(_LONGEST_PASSWORD).rstrip("\r\n")
        except (OSError, ValueError) as exc:
            raise ClientError(f"password file {str(access.password_file)!r} cannot be read: {exc}") from exc
    if not sys.stdin.isatty():
        raise ClientError("no terminal to ask for the password; give it with --password-file")
    return getpass.getpass(f"password of {access.username} at {url}: ")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
