"""Access by the regulation of emergency calls: nobody writes a reason, so it is reviewed, and told, by itself; once an hour for each asker.

Code de la santé publique L1111-17, R1111-48; obligations `review`, `notify-holder`, `notify-medecin-traitant` of consent.decide
"""

from collections.abc import Awaitable, Callable

from fhir_dmp.consent import notices as words
from fhir_dmp.consent.decide import Decision
from fhir_dmp.fhir.instants import MINUTE
from fhir_dmp.interactions import enforcement, notices, reviewing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import Known
from fhir_dmp.interactions.request_ledger import Ledger
from fhir_dmp.store import outbox
from fhir_dmp.store.failures import Conflict

WHY, ONCE_MS = "accès de régulation médicale", 60 * MINUTE
TOLD = Decision("permit", "regulation", (words.HOLDER, words.TRAITANT))


async def of_reading(context: Context, *, alone: bool) -> None:
    """Before something is shown: it waits for the host's physician, and holder and médecin traitant are told of the access.

    alone: it tells of one resource alone. Of that nobody is told: it may be hidden from him, and so may be that it was read.
    """
    ledger = context.enforcer.ledger
    shown = _patients(ledger)
    for part in ledger.apart.values():
        shown |= _patients(part[2])
    for met in ledger.regulated.values():
        if met.patient not in shown:
            continue
        await _once(context, met, b"regulation", lambda inside, met=met: _reviewed(inside, met))
        if not alone and met.patient in _patients(ledger):
            await _once(context, met, b"regulation told", lambda inside, met=met: _told(inside, met))


def _patients(ledger: Ledger) -> set[str]:
    """Of whom a request shows something, if only how much there is."""
    return {ledger.patient, *ledger.disclosed, *ledger.asked}


async def _once(context: Context, met: Known, kind: bytes, act: Callable[[Context], Awaitable[None]]) -> None:
    """Do something once for each dossier, person and hour."""
    said = f"{met.number} {met.request.person} {met.now_ms // ONCE_MS}".encode()
    hashed = (context.store.vault.hash64(kind + half + said) for half in (b"\0a", b"\0b"))
    name = b"".join(one.to_bytes(8, signed=True) for one in hashed)

    async def work(transaction) -> None:
        # What its holder is told goes with the dossier, or the dossier is given away and nobody reads it here.
        try:
            await transaction.enter([] if context.sandbox else [met.number])
        except Conflict:
            raise enforcement.refused() from None
        if await outbox.mark(transaction, name, met.number, met.now_ms):
            await act(context.inside(transaction))

    if not await outbox.marked(context.store, name):
        await context.store.transact(work, claims=[name])


async def _reviewed(inside: Context, met: Known) -> None:
    await reviewing.store(inside, [reviewing.pending(met, reviewing.EMERGENCY, why=WHY)])


async def _told(inside: Context, met: Known) -> None:
    await notices.of_act(inside, met, TOLD, code=words.EMERGENCY, words=words.REGULATION)
