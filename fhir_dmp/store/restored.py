"""When a backup was last put back here: what may be used once only may have been used since that backup was made.

Decisions ig/decisions/0008 and 0009. A note in `meta`, written by the restore before anything opens the store. Sheets of access codes say
in which time they were issued, and serve in that time alone; a name tells times apart, whatever clocks say.
"""

import os
from typing import NamedTuple

from fhir_dmp.store.connection import Connection, repeated

RESTORED = "restored"


class Restored(NamedTuple):
    """era: name of the time since then, "" where nothing was ever restored. at_ms: UTC."""

    era: str = ""
    at_ms: int = 0


async def note(connection: Connection, at_ms: int) -> None:
    """A backup is being put back: another time begins, whatever the backup says."""
    said = {"era": os.urandom(8).hex(), "at": at_ms}
    await repeated(lambda: connection.database["meta"].update_one({"_id": RESTORED}, {"$set": said}, upsert=True))


async def is_whole(connection: Connection) -> bool:
    """Whether everything that a restore leaves undone was done, or nothing was ever restored."""
    found = await repeated(lambda: connection.database["meta"].find_one({"_id": RESTORED})) or {}
    return found.get("whole") == found.get("era")


async def undone(connection: Connection) -> None:
    """Note that rows came back from the journal of acts: dossiers that they join may be one by half."""
    await repeated(lambda: connection.database["meta"].update_one({"_id": RESTORED}, {"$set": {"whole": ""}}, upsert=True))


async def whole(connection: Connection) -> None:
    """Note that it is done."""
    steps = [{"$set": {"whole": "$era"}}]
    await repeated(lambda: connection.database["meta"].update_one({"_id": RESTORED}, steps))


async def forget_marks(connection: Connection) -> None:
    """The next replay applies the whole journal of acts: rows came back that it tells of."""
    await repeated(lambda: connection.database["meta"].delete_many({"_id": {"$regex": "^acts "}}, hint="_id_"))


async def last(connection: Connection) -> Restored:
    """The last restore of this store."""
    found = await repeated(lambda: connection.database["meta"].find_one({"_id": RESTORED}))
    return Restored(found.get("era", ""), found.get("at", 0)) if found else Restored()
