"""What `lumilio check` tries: everything that the daemon needs, and what to do about what is missing."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lumilio import assembly, daemon
from lumilio.config import Config
from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import LumilioError
from lumilio.migrate import check_server, pending_migrations
from lumilio.storage.repository import SENTINEL, validate_repository
from lumilio.tools import exiftool, fence, ffmpeg, imaging, libraw
from lumilio.tools.postgres import cluster_binaries, vector_cpu_problem

MIB = 1 << 20
WATCHES_WANTED = 65536
"""Directories that inotify should be able to watch: the default of current kernels on small machines is 8192."""

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was tried; ``remedy`` says what to do, or is empty."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


async def diagnose(config: Config) -> list[Finding]:
    """Try everything, in the order in which a person would look."""
    return [
        Finding(name="configuration", verdict="ok", detail=f"data directory {config.data_directory}"),
        *await _permitted("database", _database(config)),
        await _exiftool(),
        _library("ffmpeg", ffmpeg.version, "videos and audio are stored but not processed"),
        _library("libraw", libraw.version, "RAW photos are stored but not processed"),
        _library("pillow", imaging.version, "photos are stored but not processed"),
        _fence(),
        *await _permitted("repository", _repository(config)),
        *await _permitted("disk space", _space(config)),
        _inotify(),
    ]


async def _permitted(name: str, probe: Coroutine[None, None, list[Finding]]) -> list[Finding]:
    """What the probe finds, or that this user may not even look."""
    try:
        return await probe
    except OSError as exc:
        remedy = "run this as the user that Lumilio runs as"
        return [Finding(name=name, verdict="failed", detail=f"{exc.filename}: {exc.strerror}", remedy=remedy)]


async def _database(config: Config) -> list[Finding]:
    findings = []
    if not config.database.url:
        problem = vector_cpu_problem()
        if problem:
            findings.append(Finding(name="processor", verdict="failed", detail=problem))
        try:
            binaries = await asyncio.to_thread(cluster_binaries)
        except LumilioError as exc:
            return [*findings, Finding(name="postgresql", verdict="failed", detail=str(exc))]
        if not (config.data_directory / "postgres" / "data").exists():
            detail = f"embedded PostgreSQL {binaries.version}; the cluster is made at the first start"
            return [*findings, Finding(name="postgresql", verdict="ok", detail=detail)]
    try:
        async with _reachable_database(config) as db:
            await check_server(db)
            number = int(await db.value("schema.server_version"))
            vector = await db.value("schema.available_vector")
            pending = await pending_migrations(db)
    except LumilioError as exc:
        return [*findings, Finding(name="database", verdict="failed", detail=str(exc))]
    detail = f"PostgreSQL {number // 10000}.{number % 10000}, pgvector {vector}"
    findings.append(Finding(name="database", verdict="ok", detail=detail))
    if pending:
        detail = f"{len(pending)} migrations are pending"
        findings.append(
            Finding(name="schema", verdict="warning", detail=detail, remedy="run: lumilio migrate, or start the daemon")
        )
    else:
        findings.append(Finding(name="schema", verdict="ok", detail="up to date"))
    return findings


@asynccontextmanager
async def _reachable_database(config: Config) -> AsyncIterator[Database]:
    """The configured server, the cluster of a daemon that runs, or the cluster started for this check only."""
    if not config.database.url and _daemon_runs(config.data_directory):
        socket = (config.data_directory / "postgres" / "run").resolve()
        address = DatabaseAddress(host=str(socket), user="lumilio", database="lumilio")
        async with open_database(address, pool_size=4) as db:
            yield db
    else:
        async with assembly.open_configured_database(config) as (db, _cluster):
            yield db


def _daemon_runs(directory: Path) -> bool:
    try:
        with daemon.only_daemon(directory):
            return False
    except LumilioError:
        return True


async def _exiftool() -> Finding:
    try:
        return Finding(name="exiftool", verdict="ok", detail=await exiftool.version())
    except LumilioError as exc:
        detail = f"{exc}; without it uploads wait unprocessed"
        return Finding(
            name="exiftool", verdict="failed", detail=detail, remedy="apt-get install libimage-exiftool-perl"
        )


def _library(name: str, version: Callable[[], str], loss: str) -> Finding:
    try:
        return Finding(name=name, verdict="ok", detail=version())
    except LumilioError as exc:
        return Finding(name=name, verdict="failed", detail=str(exc), remedy=f"without it {loss}; reinstall Lumilio")


def _fence() -> Finding:
    """What keeps a decoder that a hostile file has taken over from everything but that file."""
    if fence.is_complete():
        return Finding(name="fence", verdict="ok", detail=fence.describe())
    remedy = "a kernel from 6.12 on with Landlock has all of it; decoders are limited and killable without it too"
    return Finding(name="fence", verdict="warning", detail=fence.describe(), remedy=remedy)


async def _repository(config: Config) -> list[Finding]:
    root = config.repository_root
    if not (root / SENTINEL).exists():
        if not root.exists() or not any(root.iterdir()):
            return [Finding(name="repository", verdict="ok", detail=f"{root} is made at the first start")]
        return [Finding(name="repository", verdict="warning", detail=f"{root} is not a repository yet")]
    faults = await validate_repository(root)
    if not faults:
        return [Finding(name="repository", verdict="ok", detail=str(root))]
    return [
        Finding(
            name="repository",
            verdict="warning" if fault.repairable else "failed",
            detail=f"{fault.path}: {fault.reason}",
            remedy="it is made again at the next start" if fault.repairable else "",
        )
        for fault in faults
    ]


async def _space(config: Config) -> list[Finding]:
    place = config.repository_root
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free // MIB
    detail = f"{free} MiB free for {config.repository_root}"
    if free < config.ingest.reserve_mb:
        remedy = f"free some, or lower ingest.reserve_mb ({config.ingest.reserve_mb}); until then uploads are refused"
        return [Finding(name="disk space", verdict="failed", detail=detail, remedy=remedy)]
    if not os.access(place, os.W_OK):
        return [Finding(name="disk space", verdict="failed", detail=f"{place} is not writable for this user")]
    return [Finding(name="disk space", verdict="ok", detail=detail)]


def _inotify() -> Finding:
    try:
        limit = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text(encoding="ascii"))
    except (OSError, ValueError) as exc:
        return Finding(name="inotify", verdict="warning", detail=f"limit unknown: {exc}")
    detail = f"{limit} directories can be watched"
    if limit < WATCHES_WANTED:
        remedy = f"sysctl fs.inotify.max_user_watches={WATCHES_WANTED}, if your folders are more"
        return Finding(name="inotify", verdict="warning", detail=detail, remedy=remedy)
    return Finding(name="inotify", verdict="ok", detail=detail)
