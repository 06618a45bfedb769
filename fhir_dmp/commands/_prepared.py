"""What a command does before its own work: it may be the first thing that is done after a restore, of whatever kind."""

from dataclasses import replace

from fhir_dmp.commands import Failed
from fhir_dmp.commands.serve import own_address
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import restoring
from fhir_dmp.interactions import merged
from fhir_dmp.settings import Settings
from fhir_dmp.store import acts_waiting
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.resources import Store


async def replayed(store: Store, settings: Settings) -> None:
    """Apply the protective acts that the database does not know."""
    if not await store.acts.seems_known():
        await restoring.replayed(store, settings.data)
        await acts_waiting.keep(store)


async def joined(store: Store, settings: Settings) -> frozenset[int]:
    """The same, and join dossiers that were joined; those of which that was not possible, see `check`."""
    await replayed(store, settings)
    left = await restoring.joined_again(store, replace(settings, base_url=settings.base_url or own_address(settings)))
    if left is None:
        raise Failed("nobody can tell which dossiers were joined before the last restore: start the server, its log says why")
    return left


async def check(reads: Reader, dossier: int, left: frozenset[int]) -> None:
    """409 for a dossier that would be given away, or destroyed, without what was joined to it. left: as `joined` gives it."""
    if left and not left.isdisjoint(await merged.every(reads, dossier)):
        raise FhirError("conflict", "what was joined to it before the last restore is not joined again: repeat that `$merge` first")
