"""Notices: written with the act they tell of, sent once it is committed; the one at two weeks of a document that waits.

Code de la santé publique L1111-17, R1111-48; https://hl7.org/fhir/R4/communication.html

A notice is a Communication of the dossier. A mail beside it says only that there is one: no fact of the dossier leaves by mail.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fhir_dmp.consent import notices
from fhir_dmp.consent.decide import Decision
from fhir_dmp.consent.dossier import Dossier
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.consent.standing import known_relatives
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.documents import STATUSES, WITHDRAWN
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.dmp.paris import days_later_ms
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT, INVISIBLE_RL
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import DAY
from fhir_dmp.identity import senders
from fhir_dmp.identity.actor import Actor
from fhir_dmp.identity.senders import NoAddress, Sender, mail_of
from fhir_dmp.interactions import search_match
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import Known
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.prepare import check_value, stamp
from fhir_dmp.settings import Settings
from fhir_dmp.store import outbox
from fhir_dmp.store.outbox import Message
from fhir_dmp.store.resources import Store

log = logging.getLogger("fhir_dmp.notices")

# When the holder is told that a document waits for him, and how far back one that is still hidden may have come.
WAITS_DAYS, LONGEST_DAYS = 14, 32
LOOK_SECONDS = 3600
AT_ONCE = 100


async def of_act(
    inside: Context, met: Known, decision: Decision, *, code: str = "", words: str = "", why: str = "", secret: bool = False
) -> None:
    """The notices that a decision obliges to, in the transaction of the act. code: of dmp-notice, "" by who acts. words: key of WORDS.

    secret: what it is about is told to no representative, as in a minor's secret session.
    """
    if not {notices.HOLDER, notices.TRAITANT} & set(decision.obligations):
        return
    request = met.request
    code = code or (notices.MANDATE if request.kind == "mandataire" else notices.AUTHORISATION)
    said = notices.text(words or code, at_ms=met.now_ms, who=request.person, why=why)
    labels = frozenset({INVISIBLE_RL} if secret or request.secret_session else ())
    if notices.HOLDER in decision.obligations:
        await to_holder(inside, met.policy, code, said, labels)
    if notices.TRAITANT in decision.obligations and (recipients := notices.medecin_traitant(met.policy)):
        # A médecin traitant who is himself a parent or guardian is not told what they are not told, nor sent a mail.
        secretly = bool(labels) and not met.policy.traitant.isdisjoint(known_relatives(met.policy, met.now_ms))
        addresses = [] if secretly else [one async for one in _of_professionals(inside, recipients)]
        await tell(inside, met.policy, code, said, recipients, addresses, labels)


async def to_holder(inside: Context, policy: Dossier, code: str, said: str, labels: frozenset[str] = frozenset()) -> None:
    """A notice to the holder and whoever acts for him. labels: one that representatives do not see brings no mail either."""
    recipients = notices.holders_side(policy, inside.now_ms())
    addresses = [] if labels else [one async for one in _of_people(inside, recipients)]
    await tell(inside, policy, code, said, recipients, addresses, labels)


async def tell(
    inside: Context,
    policy: Dossier,
    code: str,
    said: str,
    recipients: Sequence[Mapping[str, Any]],
    addresses: Sequence[str] = (),
    labels: frozenset[str] = frozenset(),
) -> None:
    """One Communication in the dossier, and a mail that it is there to each address."""
    now_ms, vault = inside.now_ms(), inside.store.vault
    dossier = vault.dossier_of_patient(policy.patient)
    value = notices.notice(code, patient=policy.patient, recipients=recipients, said=said, at_ms=now_ms)
    checked = check_value(inside, json.dump(value), value, "Communication")
    origin = Origin(authors=notices.addressed(value), labels=labels)
    stamped = stamp(inside, checked, method="POST", dossier=dossier, origin=origin)
    await inside.transaction.write([stamped.change])
    sender = senders.of_notices(inside.settings)
    if sender is None:
        return
    site = f"{inside.base_url.removesuffix('/fhir')}/"
    for address in dict.fromkeys(addresses) or ([""] if sender.anywhere else []):
        mail = {"address": address, "subject": notices.MAIL_SUBJECT, "text": notices.MAIL_TEXT.format(address=site)}
        await outbox.add(inside.transaction, Message(inside.random(16), dossier, json.dump(mail)), now_ms)


async def _of_people(inside: Context, recipients: Sequence[Mapping[str, Any]]):
    """Mail addresses of the Patient and RelatedPersons."""
    for one in recipients:
        type_name, _, id = one["reference"].partition("/")
        row = await inside.reads.load(inside.store.vault.locate(type_name, id))
        if row is not None and row.body is not None and not row.deleted and (address := mail_of(json.parse(row.body))):
            yield address


async def _of_professionals(inside: Context, recipients: Sequence[Mapping[str, Any]]):
    """Mail addresses that the directory has of professionals."""
    for one in recipients:
        name = one["identifier"]["value"]
        tokens = f"{identity.IDNPS}|{name}" + (f",{identity.RPPS}|{name[1:]}" if name.startswith("8") else "")
        for id, _ in await search_match.run(replace(inside, enforcer=None), "Practitioner", (("identifier", tokens),), 2):
            row = await inside.reads.load(inside.store.vault.locate("Practitioner", id))
            if row is not None and row.body is not None and (address := mail_of(json.parse(row.body))):
                yield address


# ---- sending


async def run(store: Store, settings: Settings) -> None:
    """As long as the server runs: send what waits, and look for documents that wait for their announcement. Any worker may."""
    sender, next_look = senders.of_notices(settings), time.monotonic()
    while True:
        await went_well("notices were not sent", send(store, sender))
        # By a clock that nobody sets: one that was ahead and is set right would wait until it is there again.
        if time.monotonic() >= next_look and await went_well("nothing was announced", announce(store, settings)):
            next_look = time.monotonic() + LOOK_SECONDS
        await asyncio.sleep(settings.notice_seconds)


async def went_well(otherwise: str, work: Awaitable[object]) -> bool:
    """Do one of the two; what stops it stops nothing else. otherwise: what the log says then."""
    try:
        await work
    except FhirError as error:
        log.warning("%s: %s", otherwise, error.message)
    except Exception:
        log.exception(otherwise)
    else:
        return True
    return False


async def send(store: Store, sender: Sender | None) -> int:
    """Send what waits; how many left. What cannot be sent now is tried again later, under the same Message-ID.

    Whatever one message fails of, the next ones leave; one whose address is none is given up at once, its notice stands in the dossier.
    """
    left = 0
    while (message := await outbox.take(store, store.clock())) is not None:
        try:
            if sender is not None:
                mail = json.parse(message.body)
                await sender.send(mail["address"], mail["subject"], mail["text"], message.id.hex())
                left += 1
        except NoAddress:
            log.warning("a notice is not sent: its address is none that mail can be sent to")
        except Exception as error:
            log.warning("a notice could not be sent, attempt %d: %s", message.attempts, type(error).__name__)
            continue
        await outbox.done(store, message.id)
    return left


# ---- documents that wait for their announcement


# What was withdrawn is announced no more.
THERE = {"y.st": {"$ne": STATUSES.index(WITHDRAWN)}}


async def announce(store: Store, settings: Settings) -> int:
    """Tell the holder, two weeks after the first deposit, that a document waits; once for each lineage. How many notices were written."""
    now_ms, written = store.clock(), 0
    due = {
        "y.lb": {"$bitsAllSet": LABEL_BITS[INVISIBLE_PATIENT]},
        "y.fd": {"$lte": days_later_ms(now_ms, -WAITS_DAYS)},
        "y.rl": {"$gt": now_ms},
        **THERE,
        "l": {"$gt": now_ms - LONGEST_DAYS * DAY},
    }
    async for row in store.scan(due, types=("DocumentReference",), hint="type", batch=AT_ONCE, bodies=False):
        try:
            written += await _announce(store, settings, row.dossier, row.visible["rt"])
        except Exception as error:  # that of the next dossier does not wait for it
            log.warning("a document that waits could not be announced: %s", type(error).__name__)
    return written


def told_of(store: Store, dossier: int, root: int) -> bytes:
    """What marks a lineage as told of, and is claimed by whoever tells of it."""
    name = store.vault.hash64(b"announcement\0" + dossier.to_bytes(8, "big", signed=True) + root.to_bytes(8, "big", signed=True))
    return name.to_bytes(8, "big", signed=True) * 2


async def _announce(store: Store, settings: Settings, dossier: int, root: int) -> bool:
    claimed = told_of(store, dossier, root)
    host = Actor(kind="system", issuer="", subject="fhir-dmp", expires=0)
    base_url = settings.base_url or f"http://{settings.host}:{settings.port}/fhir"
    context = Context(store, host, settings, base_url, store.clock, store.random)

    async def work(transaction) -> bool:
        inside = context.inside(transaction)
        policy = (await transaction.policies({dossier})).get(dossier)
        if policy is None or policy.status is Status.CLOSED or policy.deceased_ms is not None:
            return False
        # What its holder is told goes with the dossier, or the dossier is given away and nobody reads it here.
        await transaction.enter([dossier])
        still = {"y.rt": root, "y.lb": {"$bitsAllSet": LABEL_BITS[INVISIBLE_PATIENT]}, **THERE}
        rows = await transaction.find(still, types=("DocumentReference",), dossiers=(dossier,), limit=1, bodies=False)
        if not rows or not await outbox.mark(transaction, claimed, dossier, store.clock()):
            return False
        labels = frozenset({INVISIBLE_RL} if rows[0].visible["lb"] & LABEL_BITS[INVISIBLE_RL] else ())
        await to_holder(inside, policy, notices.ANNOUNCEMENT, notices.text(notices.ANNOUNCEMENT, at_ms=store.clock()), labels)
        return True

    return not await outbox.marked(store, claimed) and await store.transact(work, claims=[claimed])
