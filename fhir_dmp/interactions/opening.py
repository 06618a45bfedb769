"""Operation Patient/$open: a new dossier with its Patient, those who act for him, and the Consents it begins with, all or none.

Code de la santé publique L1111-14, R1111-41 (opening by the holder, or by others with his consent)
"""

from collections.abc import Sequence

from fhir_dmp.consent import founding
from fhir_dmp.consent.compiling import parents
from fhir_dmp.consent.decide import decide
from fhir_dmp.consent.directives import EVIDENCES
from fhir_dmp.consent.predicate import OF_MINOR
from fhir_dmp.dmp import identification, identity
from fhir_dmp.dmp.lifecycle import is_minor, majority_ms
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import directory_entries, enforcement, keeping, search_named, writing
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.prepare import Checked, check_value, stamp, written
from fhir_dmp.store.rows import Change

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-open"
TICKED = {
    "emergencyRegulation": "emergency-regulation",
    "emergencyBreakGlass": "emergency-break-glass",
    "emergencyMasked": "emergency-masked",
}
PARAMETERS = (
    Parameter("patient", "Resource", required=True),
    Parameter("evidence", "code"),
    Parameter("relatedPerson", "Resource", many=True),
    *(Parameter(name, "boolean") for name in TICKED),
)
# Whoever opens for himself or his child online attests it by that.
ONLINE = "online"
HERE = {"type": "Organization", "display": "Hébergeur du DMP"}


async def run(context: Context, url: Url, given: Given) -> Answer:
    """201 with the Patient; 409 when the INS has a dossier, open or closed."""
    admit(context, "Patient", "c")
    may_open(context)
    patient = checked_patient(context, *given.resources["patient"])
    evidence = evidence_of(context, given)
    number = context.store.vault.new_dossier(context.random)
    id = context.store.vault.new_id(number, context.random)
    related = related_of(context, given, patient, id)
    minor = is_minor(patient.value["birthDate"], context.now_ms())
    said = {category: given.flag(name) for name, category in TICKED.items() if given.one(name) is not None}
    if context.actor.secret_session and minor:
        # Those who act for the child would have a dossier of which nothing says who opened it.
        raise enforcement.in_secret("Parameters.parameter")
    await context.store.dossier_key(number)

    async def attempt(transaction) -> Answer:
        inside = context.inside(transaction)
        await directory_entries.claimed(inside, patient.references)
        first = stamp(inside, patient, method="POST", id=id)
        changes: list[tuple[Change, str]] = [(first.change, id)]
        people = []
        for one in related:
            stamped = stamp(inside, one, method="POST", dossier=number, origin=Origin(labels=frozenset({OF_MINOR} if minor else ())))
            people.append(stamped.id)
            changes.append((stamped.change, stamped.id))
        performer, organization = who_opens(inside, id, people)
        for value in founding.founding(
            patient=id,
            at=to_instant(context.now_ms()),
            performer=performer,
            organization=organization,
            evidence=evidence,
            said=said,
        ):
            stamped = stamp(inside, check_value(inside, json.dump(value), value, "Consent"), method="POST", dossier=number)
            changes.append((stamped.change, stamped.id))
        # Last: numbers that are short and run in order are compared by whoever opens a dossier in earnest alone.
        await check_new(inside, patient)
        if context.enforcer is not None:
            context.enforcer.ledger.patient = id
            if not minor:
                context.enforcer.ledger.openly |= {id}
        await writing.write(inside, changes, kind="operation", asked="Patient/$open")
        return written(first, 201)

    answer = await context.store.transact(attempt, claims=claims(context, patient))
    await keeping.keep(context)
    return answer


def may_open(context: Context) -> None:
    """Refuse who never opens a dossier: the rules speak before anything of the body is judged."""
    if context.enforcer is None:
        return
    request = context.enforcer.request
    enforcement.settle(decide(request.doing("open"), None, None, context.now_ms(), context.enforcer.law))
    actor = context.actor
    if (actor.kind == "patient" and (actor.ins is None or actor.patient)) or (actor.kind == "representative" and actor.patient):
        raise enforcement.refused()


def checked_patient(context: Context, value: dict, body: bytes) -> Checked:
    """The Patient, valid, active, and of a person who can have a dossier; that person himself when a holder opens."""
    himself = context.actor.kind in ("patient", "representative")
    check_value(context, body, value, "Patient")
    if found := [
        *identification.faults(value, context.now_ms()),
        *identification.not_for_opening(value, himself=himself),
        *identification.unread({}, value),
    ]:
        raise FhirError.many("business-rule", found)
    if context.actor.kind == "patient" and identity.Ins(*context.actor.ins) not in identity.ins_of(value):
        raise enforcement.refused()
    if context.actor.kind == "patient" and is_minor(value["birthDate"], context.now_ms()):
        raise enforcement.refused()
    body = json.set_members(body, {"active": b"true", "id": None})
    return check_value(context, body, json.parse(body), "Patient")


def evidence_of(context: Context, given: Given) -> str:
    """How the holder's consent was given; who opens for somebody else than himself or his child says it."""
    evidence = given.one("evidence") or ("" if context.actor.kind in ("professional", "structure") else ONLINE)
    if not evidence:
        raise FhirError("business-rule", "the holder's consent must be attested: `evidence` is missing", "Parameters.parameter")
    if evidence not in EVIDENCES:
        raise FhirError("business-rule", f"`evidence` must be one of {', '.join(sorted(EVIDENCES))}", "Parameters.parameter")
    return evidence


def related_of(context: Context, given: Given, patient: Checked, id: str) -> list[Checked]:
    """Those who act for the holder, each bound to the new Patient. A representative opens with his own RelatedPerson among them."""
    found = []
    reference = json.dump({"reference": f"Patient/{id}"})
    for value, body in given.every("relatedPerson"):
        if value.get("resourceType") != "RelatedPerson":
            raise FhirError("invalid", "`relatedPerson` is a RelatedPerson", "Parameters.parameter.resource")
        body = json.set_members(body, {"patient": reference, "id": None})
        found.append(check_value(context, body, json.parse(body), "RelatedPerson"))
    if is_minor(patient.value["birthDate"], context.now_ms()):
        of_age_ms = majority_ms(patient.value["birthDate"])
        if any(one.kind == "guardian" and one.until_ms > of_age_ms for one in parents([person.value for person in found])):
            said = "a guardian of a minor acts until the majority at the latest: `relatedPerson` needs `period.end`"
            raise FhirError.many("business-rule", [Issue("error", "business-rule", said, "RelatedPerson.period")])
    if context.actor.kind == "representative":
        minor = is_minor(patient.value["birthDate"], context.now_ms())
        if not any(one.acts(context.now_ms(), minor=minor) for one in parents([person.value for person in found])):
            said = "a representative opens with `relatedPerson`: parent of a minor, or guardian"
            raise FhirError.many("business-rule", [Issue("error", "business-rule", said, "Parameters.parameter")])
    return found


async def check_new(inside: Context, patient: Checked) -> None:
    """409 when one of the INS has a dossier already."""
    former = [one for one in patient.value.get("identifier") or () if one.get("system") in identity.OLD_SYSTEMS and one.get("value")]
    for one in (*identity.ins_of(patient.value), *(identity.Ins(each["system"], each["value"]) for each in former)):
        if await search_named.holders(inside, f"{one.system}|{one.value}"):
            raise FhirError("conflict", enforcement.WORDS["already-open"], "Patient.identifier")


def claims(context: Context, patient: Checked) -> list[bytes]:
    """What two requests must not decide about at once: the INS."""
    return [
        context.store.vault.hash64(f"ins\0{one.system}|{one.value}".encode()).to_bytes(8, "big", signed=True)
        for one in identity.ins_of(patient.value)
    ]


def who_opens(context: Context, patient: str, people: Sequence[str]) -> tuple[dict, dict]:
    """Who gives or attests the Consents, and the organisation that keeps them, as References."""
    actor = context.actor
    structure = {"type": "Organization", "identifier": {"system": identity.IDNST, "value": identity.structure(None, actor.organization)}}
    organization = structure if structure["identifier"]["value"] else HERE
    if actor.kind == "professional":
        idnps = identity.professional(None, actor.subject_name_id)
        return {"type": "Practitioner", "identifier": {"system": identity.IDNPS, "value": idnps}}, organization
    if actor.kind == "structure":
        return structure, organization
    if actor.kind == "representative" and people:
        return {"reference": f"RelatedPerson/{people[0]}"}, HERE
    return {"reference": f"Patient/{patient}"}, organization


async def opened_by(context: Context, dossier: int, names: frozenset[str]) -> bool:
    """Whether one of these names, "ps:…" or "org:…", opened the dossier within 24 hours."""
    rows = context.reads.scan(types=("Consent",), dossiers=(dossier,), batch=500)
    wanted = [json.parse(row.body) async for row in rows if row.body is not None]
    return founding.is_opener(wanted, names, context.now_ms())
