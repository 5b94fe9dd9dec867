"""Which jobs speak of which staged files."""

from collections.abc import Sequence

from lumilio.db import Tx
from lumilio.model import UploadId


async def jobs_of(tx: Tx, upload_ids: Sequence[UploadId]) -> tuple[set[UploadId], set[UploadId]]:
    """Of these uploads: those with a job that may still run, and those whose job was given up."""
    by_text = {str(upload_id): upload_id for upload_id in upload_ids}
    live: set[UploadId] = set()
    given_up: set[UploadId] = set()
    for row in await tx.rows("uploads.jobs", list(by_text)):
        upload_id = by_text[row["upload_id"]]
        if row["live"]:
            live.add(upload_id)
        elif row["given_up"]:
            given_up.add(upload_id)
    return live, given_up
