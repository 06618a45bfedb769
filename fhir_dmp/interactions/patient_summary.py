"""FHIR operation Patient/[id]/$summary: what a professional needs to know first, as a document made now of what the asker may see.

International Patient Summary https://hl7.org/fhir/uv/ips/ ; volet de synthèse médicale (LOINC 60591-5), profile dmp-medical-summary

A section without entries says `unavailable` and never that there is nothing to know: what is hidden and what is unknown look the same.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from fhir_dmp.dmp.documents import CURRENT, WITHDRAWN, status_of
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url, collection
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import octets, read, sets, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.opening import HERE
from fhir_dmp.interactions.search_plan import Compartment, inside
from fhir_dmp.interactions.search_rows import limits_of
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.interactions.search_type import entry_of
from fhir_dmp.search.predicate import EVERYTHING
from fhir_dmp.store.rows import Row
from fhir_dmp.store.vault import COMMON, version_id

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-summary"
PROFILE = "https://fhir-dmp.example.org/fhir/StructureDefinition/dmp-medical-summary"
PARAMETERS: tuple[Parameter, ...] = ()
LOINC, SUMMARY = "http://loinc.org", "60591-5"
URN = "urn:ietf:rfc:3986"
NAMESPACE = uuid.UUID("0f6cf6f1-3e52-4f0e-9d0e-8f0a1c6f3a57")
UNAVAILABLE = {"system": "http://terminology.hl7.org/CodeSystem/list-empty-reason", "code": "unavailable", "display": "Unavailable"}
EVENT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActClass", "code": "PCPR"}
TITLES = {"en": "Medical summary", "fr": "Synthèse médicale"}
EMPTY = {"en": "No information available.", "fr": "Aucune information disponible."}
# Contents and documents are read one by one, each traced.
NOT_FOLLOWED = frozenset({"Binary", "Patient", "DocumentReference"})
OVER = frozenset({"inactive", "remission", "resolved"})
NO_MORE = frozenset({"entered-in-error", "stopped", "completed", "cancelled", "not-taken", "draft"})

Value = Mapping[str, Any]


class Section(NamedTuple):
    """code: LOINC. holds: type -> whether a resource of it belongs here. always: told as empty too, where IPS requires or recommends it."""

    code: str
    en: str
    fr: str
    holds: Mapping[str, Callable[[Value], bool]]
    always: bool = True

    def title(self, language: str) -> str:
        return self.fr if language == "fr" else self.en


@dataclass(frozen=True, slots=True)
class _Found:
    """A resource that belongs into the summary, as the asker sees it."""

    row: Row
    value: Value

    @property
    def address(self) -> str:
        return f"{self.row.type}/{self.value['id']}"


def codes(concept: Any) -> frozenset[str]:
    """Codes of a CodeableConcept, or of several."""
    listed = concept if isinstance(concept, list) else [concept] if concept else []
    return frozenset(coding.get("code") for one in listed for coding in one.get("coding") or ())


def _current(value: Value) -> bool:
    return value.get("status") not in NO_MORE


def _any(value: Value) -> bool:
    return True


def _problem(value: Value) -> bool:
    return codes(value.get("clinicalStatus")).isdisjoint(OVER)


def _past(value: Value) -> bool:
    return not _problem(value)


def _categorised(category: str) -> Callable[[Value], bool]:
    return lambda value: category in codes(value.get("category"))


def _result(value: Value) -> bool:
    return codes(value.get("category")).isdisjoint({"vital-signs", "social-history"})


def _summary(value: Value) -> bool:
    return SUMMARY in codes(value.get("type")) and value.get("status", CURRENT) == CURRENT


SECTIONS = (
    Section("11450-4", "Current problems", "Pathologies en cours", {"Condition": _problem}),
    Section("48765-2", "Allergies and intolerances", "Allergies et intolérances", {"AllergyIntolerance": _any}),
    Section("10160-0", "Current treatments", "Traitements en cours", {"MedicationStatement": _current, "MedicationRequest": _current}),
    Section("11348-0", "Medical history", "Antécédents médicaux", {"Condition": _past}, False),
    Section("47519-4", "Procedures", "Actes et interventions", {"Procedure": _any}),
    Section("11369-6", "Vaccinations", "Vaccinations", {"Immunization": _any}),
    Section("30954-2", "Results", "Résultats", {"Observation": _result, "DiagnosticReport": _any}),
    Section("8716-3", "Vital signs", "Signes vitaux", {"Observation": _categorised("vital-signs")}, False),
    Section("29762-2", "Risk factors", "Facteurs de risque", {"Observation": _categorised("social-history")}, False),
    Section("18776-5", "Care plan", "Plan de soins", {"CarePlan": _current}, False),
    Section(SUMMARY, "Medical summaries written before", "Volets de synthèse médicale", {"DocumentReference": _summary}, False),
)


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """A Bundle of type document: the Composition, the Patient, what its sections name and what that refers to."""
    admit(context, "Patient", "r")
    patient = await _patient(context, url.id, sight)
    kept = await _kept(context, url.id, sight)
    (seen,), rows = await shown.rows(context, sight, [patient]), await shown.rows(context, sight, kept)
    others = await _referred(context, [seen, *rows], patient.dossier, sight)
    everything = [seen, *rows, *others]
    versions = ",".join(sorted(f"{row.key.hex()}/{version_id(row.version)}" for row in everything))
    number = uuid.uuid5(NAMESPACE, f"{context.base_url} {versions}")
    composition = _composition(context, url.id, [_Found(row, json.parse(row.body or b"{}")) for row in rows], number)
    budget = octets.Budget(context)
    entries = [(f"urn:uuid:{number}", json.dump(composition))]
    entries += [(f"{context.base_url}/{row.type}/{entry_of(row, 'match').id}", await sets.hit_body(budget, row)) for row in everything]
    body = json.set_members(collection(entries, type="document"), {"timestamp": json.dump(composition["date"])}, after="type")
    return Answer(200, json.set_members(body, {"identifier": json.dump(composition["identifier"])}))


async def _patient(context: Context, id: str, sight: Sight) -> Row:
    row = await read.current(context, "Patient", id)
    if row is None or (not row.deleted and not sight.sees(row)):
        raise read.absent()
    if row.deleted:
        raise read.deleted(row)
    return row


async def _kept(context: Context, id: str, sight: Sight) -> list[Row]:
    """What is in the compartment, may be seen, and belongs into a section; newest first."""
    types = sorted({name for section in SECTIONS for name in section.holds if context.actor.allows(name, "r")})
    found = await sets.all_rows(context, inside([(name, EVERYTHING) for name in types], Compartment("Patient", id)), sight)
    kept = [row for row in found if row.body is not None and _belongs(row.type, json.parse(row.body))]
    if len(kept) > limits_of(context).included:
        raise FhirError("too-costly", f"the summary would hold more than {limits_of(context).included} resources")
    return sorted((shown.timed(sight.met, row) for row in kept), key=lambda row: (-row.updated_ms, row.key))


def _belongs(type_name: str, value: Value) -> bool:
    return status_of(value) != WITHDRAWN and any(section.holds[type_name](value) for section in SECTIONS if type_name in section.holds)


async def _referred(context: Context, rows: Sequence[Row], dossier: int, sight: Sight) -> list[Row]:
    """What these refer to within the dossier and the directory, directly or through others, as far as it may be seen."""
    vault, found, fresh = context.store.vault, {}, list(rows)
    known = {row.key for row in rows}
    while fresh:
        wanted = {}
        for row in fresh:
            for _, type_name, id in sets.local_references(context, row.body or b"{}"):
                key = vault.locate(type_name, id)
                if key not in known and type_name not in NOT_FOLLOWED and context.actor.allows(type_name, "r"):
                    wanted[key] = type_name
        known |= wanted.keys()
        loaded = await context.reads.load_many(wanted, bodies=sight.sees) if wanted else {}
        there = [row for key, row in loaded.items() if row.type == wanted[key] and not row.deleted and row.body is not None]
        fresh = await shown.rows(context, sight, [row for row in there if row.dossier in (dossier, COMMON) and sight.sees(row)])
        found.update((row.key, row) for row in fresh)
        if len(found) > limits_of(context).included:
            raise FhirError("too-costly", f"the summary refers to more than {limits_of(context).included} others")
    return [found[key] for key in sorted(found)]


def _composition(context: Context, patient: str, found: Sequence[_Found], number: uuid.UUID) -> dict[str, Any]:
    at, title = to_instant(context.now_ms()), TITLES["fr" if context.language == "fr" else "en"]
    return {
        "resourceType": "Composition",
        "id": str(number),
        "meta": {"profile": [PROFILE]},
        "language": context.language,
        "identifier": {"system": URN, "value": f"urn:uuid:{number}"},
        "status": "final",
        "type": {"coding": [{"system": LOINC, "code": SUMMARY, "display": "Patient summary Document"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": at,
        "author": [HERE],
        "title": title,
        "confidentiality": "N",
        "event": [{"code": [{"coding": [EVENT]}], "period": {"end": at}}],
        "section": [part for one in SECTIONS if (part := _section(one, found, context.language)) is not None],
    }


def _section(section: Section, found: Sequence[_Found], language: str) -> dict[str, Any] | None:
    mine = [one for one in found if one.row.type in section.holds and section.holds[one.row.type](one.value)]
    if not mine and not section.always:
        return None
    told = {"title": section.title(language), "code": {"coding": [{"system": LOINC, "code": section.code}]}}
    if not mine:
        empty = EMPTY["fr" if language == "fr" else "en"]
        return {**told, "text": _narrative(f"<p>{empty}</p>"), "emptyReason": {"coding": [UNAVAILABLE]}}
    words = _narrative(f"<ul>{''.join(f'<li>{escape(_words(one.value))}</li>' for one in mine)}</ul>")
    return {**told, "text": words, "entry": [{"reference": one.address} for one in mine]}


def _narrative(inner: str) -> dict[str, str]:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{inner}</div>'}


def _words(value: Value) -> str:
    """What a person calls it."""
    for name in ("code", "vaccineCode", "medicationCodeableConcept", "type"):
        if said := _named(value.get(name)):
            return said
    return next((value[name] for name in ("title", "description") if value.get(name)), value["resourceType"])


def _named(concept: Any) -> str:
    if not isinstance(concept, Mapping):
        return ""
    codings: Iterable[Value] = concept.get("coding") or ()
    return concept.get("text") or next((one[name] for name in ("display", "code") for one in codings if one.get(name)), "")
