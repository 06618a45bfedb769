"""Packages of dossiers over HTTP: made in the background for whoever asked, opened by their receiver alone; taken, and acknowledged.

https://hl7.org/fhir/R4/async.html ; ig/decisions: proofs and hosts
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import BinaryIO

from fhir_dmp.consent.access import REFUSED
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import hosts, package_export, package_import, transfer
from fhir_dmp.exchange.background import Background
from fhir_dmp.exchange.import_job import sender
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.package import Receipt
from fhir_dmp.exchange.rules import HOST
from fhir_dmp.interactions import export_dossier
from fhir_dmp.interactions.context import Context, admit
from fhir_dmp.store.records import Job
from fhir_dmp.store.resources import Store

PIECE = 256 * 1024
making = Background("package", "package")
taking = Background("takeover", "takeover")


async def start(context: Context, patient: str, recipient: str, reason: str) -> str:
    """Begin to make one; the id of the job. 403 for who may not, 422 for a receiver that is not known."""
    number = await export_dossier.permitted(context, patient)
    await transfer.receivable(context, number, recipient)
    making.admit()
    await transfer.trace(context, patient, recipient)

    async def work(job: Job) -> dict[str, object]:
        # The file is encrypted already.
        with tempfile.TemporaryFile() as file:
            await package_export.write(context, number, recipient, file, reason)
            file.seek(0)
            content = await context.store.contents.write(_pieces(file), int(job.detail["dossier"]))
        return {"content": content.id.hex(), "octets": content.size}

    return (await making.begin(context, work, patient=patient)).id


async def stop() -> None:
    """End what still runs, before the store closes."""
    await asyncio.gather(making.stop(), taking.stop())


async def forget_old(store: Store) -> None:
    """Remove jobs whose life is over, with the packages that were made or sent."""
    for kind in (making, taking):
        await kind.forget_old(store)


async def package_of(context: Context, id: str) -> tuple[bytes, int, str] | None:
    """(content, octets, patient) of a finished package; None while it is being made. One that failed is refused with the reason.

    403 for who may not have it exported any more.
    """
    job = await making.done(context, id)
    if job is not None:
        await export_dossier.permitted(context, job.detail["patient"])
    return (bytes.fromhex(job.detail["content"]), job.detail["octets"], job.detail["patient"]) if job is not None else None


async def forget(context: Context, id: str) -> None:
    """Forget a package that was asked for, by a token that could ask for it."""
    admit(context, None, "r")
    await making.remove(context, id)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


# ---- taking


async def take(context: Context, source: str, package: AsyncIterator[bytes]) -> str:
    """Keep a package that another host sends, and begin to take its dossier over; the id of the job. Nothing is shown before all of it
    was verified and stored; one that was taken before brings nothing new.
    """
    rules = await sender(context, source)
    if rules.kind != HOST:
        raise FhirError("business-rule", f"source `{source[:64]}` is no host: packages of dossiers come from hosts")
    await hosts.card_of(rules.source)
    taking.admit()
    dossier = context.store.new_dossier()
    content = await context.store.contents.write(package, dossier)
    acting = context_of(context.store, context.settings, rules, context.base_url)

    async def work(job: Job) -> dict[str, object]:
        with tempfile.TemporaryFile() as file:
            async for piece in context.store.contents.read(content.id):
                file.write(piece)
            file.seek(0)
            done = await package_import.read(acting, rules, file)
        return {"new": done.new, "receipt": done.receipt, "counts": done.counts, "unproved": done.unproved}

    return (await taking.begin(context, work, source=source, dossier=dossier, octets=content.size)).id


async def taken(context: Context, id: str) -> dict:
    """How far a takeover is, as Parameters: at its end what came, and the receipt for the host that gave it. 422 and the reason when the
    package was not taken.
    """
    done = await taking.done(context, id)
    job = done or await taking.found(context, id)
    told = [("state", "valueCode", "in-progress" if done is None else "completed"), ("source", "valueString", job.source)]
    told.append(("bytes", "valueDecimal", job.detail["octets"]))
    if done is not None:
        told += [("versions", "valueInteger", done.detail["new"]), ("receipt", "valueString", done.detail["receipt"])]
        told.append(("unproved", "valueInteger", done.detail.get("unproved", 0)))
    listed = [{"name": name, kind: value} for name, kind, value in told]
    for type_name, count in (done.detail["counts"] if done is not None else {}).items():
        listed.append({"name": "count", "part": [{"name": "type", "valueCode": type_name}, {"name": "number", "valueInteger": count}]})
    return {"resourceType": "Parameters", "parameter": listed}


async def acknowledged(context: Context, text: str) -> Receipt:
    """Close a dossier here by the receipt of the host that took it over, which that host brings itself, or an administrator of this one."""
    admit(context, None, "u")
    actor = context.actor
    staff = actor.kind == "operator" and actor.role == "admin"
    if actor.kind != "host" and not staff:
        raise FhirError("forbidden", REFUSED)
    recipient = await hosts.signer_of(text)
    if not staff and actor.host not in (recipient.id, recipient.rules.get("host"), recipient.rules["card"]["host"]):
        raise FhirError("forbidden", REFUSED)
    return await transfer.settled(context, text, recipient.id)
