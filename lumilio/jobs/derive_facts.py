"""Read the facts of a stored asset anew out of what is known of it already: exiftool's output, sidecars, its name."""

from lumilio.catalog import facts
from lumilio.db import Tx
from lumilio.media.facts import facts_from_exif
from lumilio.model import AssetId


async def derive(tx: Tx, asset_id: AssetId, *, discard_edits: bool = False) -> bool:
    """Inside the caller's transaction; False when the asset does not exist any more.

    A capture time that a person set stays, unless ``discard_edits``.
    """
    asset = await facts.get_for_facts(tx, asset_id)
    if asset is None:
        return False
    read = facts_from_exif(
        asset.exif, asset.media_type, name=asset.file_name, modified=asset.modified, sidecars=asset.sidecars
    )
    await facts.update_facts(tx, asset, read, discard_edits=discard_edits)
    return True
