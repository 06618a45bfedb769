"""Giving dossiers away: packages for another host, and the closing that waits for its receipt.

ig/decisions: host to host; R1111-40 CSP
"""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.consent.dossier import TRANSFER, Dossier
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, package_export
from fhir_dmp.exchange.opening import judged
from fhir_dmp.exchange.package import Manifest, Receipt
from fhir_dmp.exchange.package_import import acknowledged
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import closing, enforcement, export_dossier, keeping, merged, tracing
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.policy import recompute
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.store import joining, quarantine
from fhir_dmp.store.joining import rights_of
from fhir_dmp.store.reading import Reader
from fhir_dmp.store.transaction import Transaction
from fhir_dmp.store.vault import dossier_row

SUFFIX = ".dmp"


def as_host(context: Context, data: Path, recipient: str) -> Context:
    """The context of this host when it gives a dossier away, traced and sealed."""
    actor = Actor(kind="host", host=recipient, issuer="export", subject=recipient, expires=float("inf"), software="fhir-dmp export")
    recorder = context.recorder or Recorder(context.store, context.base_url)
    acting = replace(context, actor=actor, recorder=recorder, seals=context.seals or SealKeys(data))
    return replace(acting, enforcer=judged(acting))


async def dossiers(context: Context) -> AsyncIterator[str]:
    """Logical ids of all Patients here, but for those whose dossier goes on in another one."""
    async for row in context.store.scan(types=("Patient",), bodies=False):
        policy = (await context.store.policies({row.dossier})).get(row.dossier)
        if policy is None or not policy.joined:
            yield context.store.vault.seal_id(row.key)


async def give(context: Context, patient: str, recipient: str, path: Path, reason: str = "") -> Manifest:
    """Write the package of one dossier, whole or not at all, and trace it. context: as_host, or of somebody who may export."""
    await announce(context, patient, recipient)
    return await write(context, patient, recipient, path, reason)


async def announce(context: Context, patient: str, recipient: str) -> None:
    """Ask the rules, and trace that a dossier is given. 403 when it may not be, 422 for a host that is not known here."""
    number = context.store.vault.dossier_of_patient(patient)
    met = await enforcement.known(context, number, patient=patient)
    enforcement.settle(met.decide("export"))
    await receivable(context, number, recipient)
    await trace(context, patient, recipient)


async def receivable(context: Context, number: int, recipient: str) -> None:
    """422 for a receiver that is not known; 409 for a dossier that this host does not give to it, or not now."""
    card = await hosts.card_of(recipient)
    policy = (await context.store.policies({number})).get(number)
    if policy is not None and policy.joined:
        raise FhirError("conflict", export_dossier.JOINED)
    if policy is not None and policy.given and card.host == context.store.record.identity:
        # It would come back as if that host had given it.
        raise FhirError("conflict", "the dossier was given to another host, which is in charge of it: there is no copy to be kept")
    _not_given(policy, card.host)
    await _whole(context.store, number)


def _not_given(policy: Dossier | None, host: str) -> None:
    """409 where another host than this one is in charge by its receipt: what was hidden there since is not here."""
    if policy is not None and policy.given not in ("", TRANSFER, host):
        raise FhirError("conflict", "the dossier was given to another host, which is in charge of it: that one gives it away")


async def _whole(reads: Reader, number: int) -> None:
    """409 while a dossier is being joined to this one, or parted from it: what is staged would be met by nobody where it comes to."""
    if await joining.between(reads, number):
        raise FhirError("conflict", "another dossier is being joined to this one, or parted from it: that comes first")


async def _nothing_waits(context: Context, number: int) -> None:
    """409 while something waits in quarantine for a dossier, or one that was joined to it: no package has it, and nobody takes it here once
    the dossier is given away. To whoever asks for the package it is not said: something may wait that is hidden from him.
    """
    if await quarantine.waits_for(context.store, await merged.every(context.reads, number)):
        said = "what sources sent for this dossier waits in quarantine here"
        raise FhirError("conflict", f"{said}: `fhir-dmp quarantine` imports it, or drops it; then the dossier is exported again")


async def write(context: Context, patient: str, recipient: str, path: Path, reason: str = "") -> Manifest:
    """Write the package of a dossier that was announced. Of many that were, only the first waits for their traces to be in the journal."""
    number = context.store.vault.dossier_of_patient(patient)
    draft = path.with_suffix(".part")
    try:
        with private(draft) as file:
            manifest = await package_export.write(context, number, recipient, file, reason)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return manifest


def private(path: Path) -> BinaryIO:
    """A new file that its owner alone may read."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


async def trace(context: Context, patient: str, recipient: str) -> None:
    """Nothing leaves before it is traced."""
    asked = f"Patient/{patient}/$export-dossier?recipient={recipient}"
    await context.recorder.record([tracing.trace(context, "export", patient=patient, query=asked)])


async def settled(context: Context, text: str, recipient: str) -> Receipt:
    """Close a dossier that another host has acknowledged. 409 when it changed here since its package was made, or something waits for it.

    That is looked at in the transaction that closes it: what is acknowledged at the same moment is in the package, or nothing is closed.
    """
    card = await hosts.card_of(recipient)
    if card.host == context.store.record.identity:
        raise FhirError("conflict", "a dossier is not given away by a copy that its own host kept: nothing is closed")
    receipt = await acknowledged(text, card)
    if receipt.given_by != context.store.record.identity:
        raise FhirError("business-rule", "the receipt acknowledges what another host gave")
    number = context.store.vault.dossier_of_patient(receipt.patient)

    async def still(inside: Context) -> None:
        _not_given(await inside.transaction.stored_policy(number), card.host)
        await _whole(inside.transaction, number)
        await _nothing_waits(inside, number)
        if await package_export.current_state(inside, number) != receipt.until:
            raise FhirError("conflict", "the dossier changed since its package was made: export it again, the new host takes what is new")

    policy = (await context.store.policies({number})).get(number)
    if policy is not None and policy.status is Status.CLOSED:  # it was closed before it was given away

        async def given(transaction: Transaction) -> None:
            inside = context.inside(transaction)
            await still(inside)
            await recompute(inside, number, given=receipt.host, at_ms=context.now_ms())
            await keeping.acted(inside, "rights", [dossier_row(number)])

        await context.store.transact(given, claims=[rights_of(context.store.vault, number)])
        await keeping.keep(context)
        return receipt
    url = Url("Patient", receipt.patient, ("$close",), (), False)
    await closing.run(context, url, Given((("reason", "transfer"),)), "close", closing.CLOSING, to=receipt.host, still=still)
    return receipt
