"""What came after a backup, applied again before anybody is answered: by a restore, and at each start.

See fhir_dmp/store/acts.py and fhir_dmp/store/revocations.py.
"""

import logging
from pathlib import Path

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.opening import ADDRESS, judged
from fhir_dmp.identity.actor import Actor
from fhir_dmp.identity.issuers import HostIssuer
from fhir_dmp.interactions import rejoining
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.store import acts_told, acts_waiting, restored, revocations
from fhir_dmp.store.acts import Replayed
from fhir_dmp.store.resources import Store

log = logging.getLogger("fhir_dmp.exchange")


async def prepared(store: Store, settings: Settings) -> Replayed:
    """Everything that is done before anybody is answered; what was applied."""
    # A database that was restored gets back the masks, blocks and erasures it does not know.
    done = await replayed(store, settings.data)
    # Whoever did the others was cut off before the journal had them: what they hide is hidden, and shall be after a restore.
    await acts_waiting.keep(store)
    await joined_again(store, settings)
    return done


async def joined_again(store: Store, settings: Settings) -> frozenset[int] | None:
    """Make dossiers one again that a restore left half joined; those of which that was not possible, None where nobody can tell.

    A dossier that cannot be made whole keeps no other one from being served: what is not there is shown to nobody.
    """
    if await restored.is_whole(store.connection):
        return frozenset()
    address = settings.base_url or ADDRESS
    host = Actor(kind="operator", role="admin", issuer="restore", subject="fhir-dmp", expires=float("inf"), software="fhir-dmp restore")
    recorder, seals = Recorder(store, address), SealKeys(settings.data)
    context = Context(store, host, settings, address, store.clock, store.random, recorder=recorder, seals=seals)
    try:
        left = await rejoining.run(context.but(enforcer=judged(context)))
        if not left:
            await restored.whole(store.connection)
        return left
    except FhirError as error:
        log.warning("dossiers that were joined before a restore are not joined again: %s", error.message)
        return None


async def replayed(store: Store, data: Path) -> Replayed:
    """Apply the protective acts that the database does not know, and what they say of sources and keys. data: the data folder."""
    done = await store.acts.replay()
    if done.acts:
        await acts_told.copy(store, data)
    await sources.settle(store)
    if kids := await revocations.kids(store):
        HostIssuer(data).forget(kids)
    return done
