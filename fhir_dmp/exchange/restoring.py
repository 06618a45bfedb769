"""What came after a backup, applied again before anybody is answered: by a restore, and at each start.

See fhir_dmp/store/acts.py and fhir_dmp/store/revocations.py.
"""

from pathlib import Path

from fhir_dmp.exchange import sources
from fhir_dmp.identity.issuers import HostIssuer
from fhir_dmp.store import revocations
from fhir_dmp.store.acts import Replayed
from fhir_dmp.store.resources import Store


async def replayed(store: Store, data: Path) -> Replayed:
    """Apply the protective acts that the database does not know, and what they say of sources and keys. data: the data folder."""
    done = await store.acts.replay()
    await sources.settle(store)
    if kids := await revocations.kids(store):
        HostIssuer(data).forget(kids)
    return done
