"""``sql/schema.sql``: what the migrations make, to read and review. ``python -m tests.schema_dump`` writes it anew."""

import subprocess
from pathlib import Path

from lumilio.db import DatabaseAddress
from lumilio.tools.postgres import cluster_binaries
from tests.database import TEMPLATE, running_test_cluster

SCHEMA = Path(__file__).parents[1] / "sql/schema.sql"
_TIMEOUT = 60.0
_LEFT_OUT = ("--", "SET ", "SELECT pg_catalog", "\\", "COMMENT ON EXTENSION")
_HEADER = "-- What all migrations make of an empty database. Written by `python -m tests.schema_dump`; do not edit.\n"


def dump_schema(address: DatabaseAddress) -> str:
    """The schema of a database without what differs between servers: settings, versions and blank lines."""
    done = subprocess.run(
        [
            cluster_binaries().program("pg_dump"),
            *("--schema-only", "--no-owner", "--no-privileges", "--exclude-table=schema_migrations"),
            f"--host={address.host}",
            f"--username={address.user}",
            f"--dbname={address.database}",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    kept = [line for line in done.stdout.splitlines() if not line.startswith(_LEFT_OUT)]
    blocks = [block.strip("\n") for block in "\n".join(kept).split("\n\n")]
    return _HEADER + "".join(f"\n{block}\n" for block in blocks if block)


def main() -> None:
    """Write ``sql/schema.sql``."""
    with running_test_cluster() as cluster:
        SCHEMA.write_text(dump_schema(cluster.address(TEMPLATE)), encoding="utf-8")


if __name__ == "__main__":
    main()
