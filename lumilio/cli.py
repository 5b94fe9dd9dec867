"""The ``lumilio`` command."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from lumilio import __version__
from lumilio.errors import ConfigError, LumilioError
from lumilio.log import printable

USAGE_ERROR = 2
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    from lumilio import cli_check, cli_config, cli_import, cli_jobs, cli_problems, cli_times, cli_up, cli_worker

    parser = argparse.ArgumentParser(prog="lumilio", description="Lumilio, a library for photos, videos and audio.")
    parser.add_argument("--version", action="version", version=f"lumilio {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    cli_up.add_parsers(subparsers)
    cli_import.add_parser(subparsers)
    cli_jobs.add_parsers(subparsers)
    cli_problems.add_parsers(subparsers)
    cli_times.add_parsers(subparsers)
    cli_worker.add_parser(subparsers)
    cli_check.add_parser(subparsers)
    cli_config.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 for success, 1 for failure, 2 for wrong usage or configuration."""
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    args = build_parser().parse_args(argv)
    try:
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except LumilioError as exc:
        sys.stderr.write(f"lumilio: {printable_lines(str(exc))}\n")
        return USAGE_ERROR if isinstance(exc, ConfigError) else 1
    except ExceptionGroup as group:
        expected, unexpected = group.split(LumilioError)
        if unexpected is not None or expected is None:
            raise
        failures = _leaves(expected)
        for failure in failures:
            sys.stderr.write(f"lumilio: {printable_lines(str(failure))}\n")
        return USAGE_ERROR if all(isinstance(failure, ConfigError) for failure in failures) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        _forget_output()
        return 1
    except OSError as exc:
        if exc.errno not in _OUTPUT_ERRORS or exc.filename is not None:
            raise
        _forget_output()
        sys.stderr.write(f"lumilio: the output cannot be written: {exc.strerror}\n")
        return 1


def _nowhere() -> TextIO:
    """For an output that whoever started this has closed."""
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _forget_output() -> None:
    """The interpreter flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable_lines(text: str) -> str:
    """Several lines, each free of what could steer a terminal."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _leaves(group: "ExceptionGroup[LumilioError]") -> list[BaseException]:
    found: list[BaseException] = []
    for failure in group.exceptions:
        found += _leaves(failure) if isinstance(failure, ExceptionGroup) else [failure]
    return found


if __name__ == "__main__":
    sys.exit(main())
