"""Operations Patient/[id]/$close and $reactivate: closing, death, loss and recovery of rights, reopening.

Code de la santé publique L1111-14, L1111-18, R1111-40; the ten years begin with the closing.
"""

from collections.abc import Awaitable, Callable, Mapping

from fhir_dmp.consent import founding
from fhir_dmp.consent.directives import ACTIVE, category_of
from fhir_dmp.consent.dossier import TRANSFER
from fhir_dmp.dmp.lifecycle import Status, step
from fhir_dmp.dmp.paris import span
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import enforcement, policy, read, rights, writing
from fhir_dmp.interactions.context import Answer, Context, admit, unread
from fhir_dmp.interactions.enforcement import settle
from fhir_dmp.interactions.prepare import Stamped, check, stamp, written
from fhir_dmp.store.rows import Change

CLOSE_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-close"
REACTIVATE_URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-reactivate"
PARAMETERS = (Parameter("reason", "code"), Parameter("date", "dateTime"))
# reason as given -> reason of dmp.lifecycle
CLOSING = {"holder-request": "holder-request", "deceased": "deceased", "rights-lost": "rights-lost", "transfer": "transfer"}
OPENING = {"holder-request": "reopened", "transfer": "returned", "rights-recovered": "rights-recovered"}
# What is told of a Patient to those who close a dossier without ever reading it.
TOLD = ("resourceType", "id", "meta", "identifier", "active", "deceasedDateTime")


async def close(context: Context, url: Url, given: Given) -> Answer:
    """200 with the Patient; 409 when the dossier is not in a state from which that reason leads anywhere."""
    return await run(context, url, given, "close", CLOSING)


async def reactivate(context: Context, url: Url, given: Given) -> Answer:
    """200 with the Patient; 409 when it is open already; a deceased person's dossier never opens again."""
    return await run(context, url, given, "reactivate", OPENING)


async def run(
    context: Context,
    url: Url,
    given: Given,
    action: str,
    reasons: Mapping[str, str],
    *,
    to: str = TRANSFER,
    still: Callable[[Context], Awaitable[None]] | None = None,
) -> Answer:
    """One step in the life of a dossier. reasons: those the operation takes; nothing is closed without one. to: which host took it over.

    still: raises when it is not to be done any more, asked in the transaction that does it.
    """
    admit(context, "Patient", "u")
    asked = given.one("reason") or ("" if action == "close" else "holder-request")
    if asked not in reasons:
        raise FhirError("business-rule", f"`reason` of ${action} must be one of {', '.join(reasons)}", "Parameters.parameter")
    reason, date = reasons[asked], given.one("date") or ""
    number = context.store.vault.dossier_of_patient(url.id)

    async def work(inside: Context) -> Answer:
        if inside.enforcer is None:
            before = (await policy.of_dossiers(inside, {number}))[number]
        else:
            met = await enforcement.known(inside, number, patient=url.id)
            settle(met.decide(action, reason=reason))
            before = met.policy
        if before is None or before.patient != url.id:
            raise read.absent()
        target = step(before.status, reason, before.deceased_ms is not None, before.lost)
        if target is None:
            raise FhirError("conflict", enforcement.WORDS["not-in-this-state"])
        if before.joined and before.status is not Status.OPEN:
            raise FhirError("conflict", "this dossier was joined to another one: it opens again when the two are parted")
        if date and span(date)[0] > inside.now_ms():
            raise FhirError("business-rule", "`date` has not come yet", "Parameters.parameter")
        # Told once more without a date, a death stays when it was: by it deposits are late, or of a dossier closed before.
        known = before.deceased_ms is not None and not date
        died = (date or to_instant(inside.now_ms())) if reason == "deceased" and not known else ""
        if still is not None:
            await still(inside)
        changes = await changes_of(inside, number, before.patient, target, died)
        await writing.write(inside, changes, kind="operation", asked=f"Patient/{url.id}/${action}?reason={asked}")
        if not inside.sandbox:
            closed_ms = inside.now_ms() if target is Status.CLOSED and before.closed_ms is None else before.closed_ms
            # A death is told of a dossier that another host has, too.
            has_it = (to if asked == "transfer" else "") if action == "close" and before.status is not Status.CLOSED else None
            await policy.recompute(inside, number, closed_ms=closed_ms, given=has_it, at_ms=inside.now_ms())
        return _answer(inside, changes[0][0], url.id)

    return await rights.together(context, number, work)


async def changes_of(inside: Context, number: int, patient: str, target: Status, died: str) -> list[tuple[Change, str]]:
    """A step in the life of a dossier: the Patient first, then the opening Consent when it is closed or opens again. died: when."""
    row = await inside.reads.load(inside.store.vault.locate("Patient", patient))
    if row is None or row.deleted or row.body is None:
        raise enforcement.refused()
    members: dict[str, bytes | None] = {"active": json.dump(target is Status.OPEN)}
    if died:
        members |= {"deceasedDateTime": json.dump(died), "deceasedBoolean": None, "_deceasedDateTime": None, "_deceasedBoolean": None}
    stamped = stamp(inside, check(inside, json.set_members(row.body, members), "Patient"), method="PUT", id=patient, current=row)
    return [(stamped.change, patient), *await opening_switched(inside, number, target is not Status.CLOSED)]


async def opening_switched(inside: Context, dossier: int, open: bool) -> list[tuple[Change, str]]:
    """New versions of opening Consents where they say otherwise: of each in force, when it closes, or of the one that was ended last.

    A dossier that another one was joined to has a copy of that one's beside its own, which was ended when they were joined.
    """
    found = []
    async for row in inside.reads.scan(types=("Consent",), dossiers=(dossier,), batch=500):
        value = json.parse_exact(row.body or b"{}")
        if category_of(value) == "opening":
            found.append((row, value))
    found.sort(key=lambda one: one[0].place)
    active = [one for one in found if one[1].get("status") == ACTIVE]
    changes = []
    for row, value in active if not open else [] if active else found[-1:]:
        checked = check(inside, json.dump(founding.switched(value, open)), "Consent")
        changes.append((stamp(inside, checked, method="PUT", id=value["id"], current=row).change, value["id"]))
    return changes


def _answer(context: Context, change: Change, id: str) -> Answer:
    answer = written(Stamped(id, change), 200)
    if context.actor.kind not in ("host", "operator"):
        return unread(context, "Patient", answer)
    value = json.parse_exact(answer.body or b"{}")
    return Answer(200, json.dump({name: value[name] for name in TOLD if name in value}), answer.version, answer.updated_ms, answer.location)
