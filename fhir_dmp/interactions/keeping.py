"""Protective acts of a request: noted in the transaction that does them, and in their journal before anything is acknowledged.

See fhir_dmp/store/acts.py and acts_waiting.py.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fhir_dmp.store import acts_waiting

if TYPE_CHECKING:
    from fhir_dmp.interactions.context import Context


async def acted(inside: "Context", kind: str, keys: Iterable[bytes]) -> None:
    """Note an act in its transaction. kind, keys: see Acts.keep. inside: the context of the transaction."""
    found = await acts_waiting.add(inside.transaction, kind, keys, inside.now_ms())
    inside.enforcer.ledger.acts |= found


def is_so(context: "Context", dossier: int) -> None:
    """What is asked for was done before, perhaps by an act that could not be kept then: it is acknowledged now."""
    if context.enforcer is not None:
        context.enforcer.ledger.acts |= {dossier}


async def keep(context: "Context") -> None:
    """Keep the acts of this request, now committed, with all that waits in their dossiers; 503 when that cannot be."""
    if context.enforcer is not None and (dossiers := context.enforcer.ledger.acts):
        context.enforcer.ledger.acts = frozenset()
        await acts_waiting.keep(context.store, dossiers)
