"""Writes of the Patient and of those who stand around him: identification, médecin traitant, care team, representatives.

Code de la santé publique L1111-14, L1111-16, R1111-46; https://hl7.fr/ig/fhir/core/
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from fhir_dmp.consent.compiling import parents, team, traitant_of
from fhir_dmp.consent.predicate import OF_MINOR, SECRET_SESSION
from fhir_dmp.consent.standing import perhaps_minor
from fhir_dmp.dmp import identification, identity
from fhir_dmp.dmp.lifecycle import majority_ms
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json
from fhir_dmp.fhir.instants import MAX_MS
from fhir_dmp.fhir.references import reference_texts
from fhir_dmp.interactions import enforcement, facts, writing
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.enforcement import Known, settle
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.interactions.prepare import Checked, stamp, written
from fhir_dmp.store.rows import Row

# What makes the title of a RelatedPerson: nobody gives himself a longer one.
TITLE = ("relationship", "period", "active", "identifier")


async def create(inside: Context, met: Known, checked: Checked, id: str | None = None) -> Answer:
    """A new CareTeam or RelatedPerson. id: the one it gets, None to draw it."""
    origin = None
    if checked.type == "CareTeam":
        secret = await _care_team(inside, met, checked, None)
        origin = Origin(labels=frozenset({SECRET_SESSION})) if secret else None
    else:
        settle(met.decide("edit-related-persons"))
        _related_person(checked.value)
        _within_own_title(met, checked.value)
        origin = Origin(labels=given_by(met))
    stamped = stamp(inside, checked, method="POST", id=id, origin=origin)
    await writing.write(inside, [(stamped.change, stamped.id)])
    return written(stamped, 201)


async def update(inside: Context, met: Known, checked: Checked, id: str, row: Row, method: str) -> Answer:
    """A changed Patient, CareTeam or RelatedPerson."""
    before, origin = json.parse(row.body or b"{}"), None
    if checked.type == "Patient":
        await _patient(inside, met, before, checked.value)
    elif checked.type == "CareTeam":
        enforcement.keep_from_all(met, row, await _care_team(inside, met, checked, before))
    else:
        settle(met.decide("edit-related-persons"))
        retitled = any(before.get(name) != checked.value.get(name) for name in TITLE)
        if met.request.related_person == id and retitled:
            raise enforcement.refused()
        _related_person(checked.value)
        if retitled:
            _within_own_title(met, checked.value)
            origin = Origin(labels=given_by(met))
    stamped = stamp(inside, checked, method=method, id=id, current=row, origin=origin)
    await writing.write(inside, [(stamped.change, id)])
    answer = written(stamped, 200)
    # The feed writes what it does not read.
    return replace(answer, body=None) if met.request.kind == "feed" else answer


async def _patient(inside: Context, met: Known, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Who may change what of a Patient: identification, traits of the INS, the declared médecin traitant."""
    (old, beside_old), (new, beside_new) = _said_of_traitant(before), _said_of_traitant(after)
    declared = old != new
    faults = identification.unread(before, after)
    if not declared or identification.differs_beside(beside_old, beside_new):
        if met.request.kind == "feed":
            settle(met.decide("renew-identity"))
            faults += _renewed(before, after, met.now_ms)
        else:
            settle(met.decide("edit-identification"))
            faults += identification.rewritten(before, after)
    if declared:
        named = await facts.names(inside, [after])
        traitant = traitant_of(after, lambda text: named.get(text, frozenset()))
        settle(met.decide("declare-traitant", about=traitant))
        if after.get("generalPractitioner") and not traitant:
            said = "generalPractitioner names no professional known by RPPS or IDNPS"
            faults.append(Issue("error", "business-rule", said, "Patient.generalPractitioner"))
    if faults:
        raise FhirError.many("business-rule", faults)


def _said_of_traitant(value: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """(what declares the médecin traitant: the references, with what the Patient contains that they lead to; the Patient without that)."""
    inside = {f"#{one.get('id')}": one for one in value.get("contained") or ()}
    waiting, reached = reference_texts(value.get("generalPractitioner") or []), {}
    while waiting:
        text = waiting.pop()
        if text in inside and text not in reached:
            reached[text] = inside[text]
            waiting += reference_texts(inside[text])
    left = {name: part for name, part in value.items() if name not in ("generalPractitioner", "contained")}
    others = [one for text, one in inside.items() if text not in reached]
    return (value.get("generalPractitioner"), reached), {**left, "contained": others} if others else left


def _renewed(before: Mapping[str, Any], after: Mapping[str, Any], now_ms: int) -> list[Issue]:
    """The feed brings the traits of a person, and of the same person: the INS stays, the life of the dossier too."""
    faults = identification.faults({**after, "deceasedBoolean": None, "deceasedDateTime": None}, now_ms)
    if identity.ins_of(before) != identity.ins_of(after):
        faults.append(Issue("error", "business-rule", "another INS is another dossier", "Patient.identifier"))
    if any(before.get(name) != after.get(name) for name in identification.OF_THE_DOSSIER):
        faults.append(Issue("error", "business-rule", "the dossier is closed and opened by operations", "Patient"))
    return faults


async def _care_team(inside: Context, met: Known, checked: Checked, before: Mapping[str, Any] | None) -> bool:
    """Members are written by the gestionnaire, the médecin traitant or a member, who never adds himself. Whether no representative is
    told of it, see `Known.secret`.
    """
    values = [checked.value, *([before] if before else [])]
    named = await facts.names(inside, values)
    added = _members(named, checked.value) - _members(named, before)
    about = frozenset(who for who, _, _ in added)
    settle(met.decide("edit-care-team", about=about))
    return met.secret("edit-care-team", about=about)


def _members(named: Mapping[str, frozenset[str]], value: Mapping[str, Any] | None) -> frozenset[tuple[str, int, int]]:
    """Who is a member and when, as (name, since, until)."""
    if value is None:
        return frozenset()
    return frozenset((one.who, one.since_ms, one.until_ms) for one in team([value], lambda text: named.get(text, frozenset())))


def _related_person(value: Mapping[str, Any]) -> None:
    if not value.get("relationship"):
        raise FhirError(
            "business-rule", "relationship is missing: parent, guardian, or who is given a mandate", "RelatedPerson.relationship"
        )


def _within_own_title(met: Known, value: Mapping[str, Any]) -> None:
    """A guardian whom a representative names acts no longer than he does himself."""
    until_ms = longest_ms(met)
    if any(one.kind == "guardian" and one.until_ms > until_ms for one in parents([value])):
        said = "a guardian named by a representative acts no longer than he does, of a minor until the majority: `period.end` is needed"
        raise FhirError("business-rule", said, "RelatedPerson.period")


def longest_ms(met: Known) -> int:
    """Until when, UTC ms, a representative may let others act: as long as he does himself, a parent until the majority. MAX_MS: others."""
    if met.request.kind != "representative":
        return MAX_MS
    own = [one for one in met.policy.titles if one.related_person == met.request.related_person and one.kind in ("parent", "guardian")]
    of_age_ms = majority_ms(met.policy.birth_date)
    return max([min(one.until_ms, of_age_ms) if one.ends_with_majority else one.until_ms for one in own], default=met.now_ms)


def given_by(met: Known) -> frozenset[str]:
    """How a mandate or title that somebody gives is marked: what is given for a minor ends with the majority, when that is found to be."""
    return frozenset({OF_MINOR} if met.request.kind == "representative" and perhaps_minor(met.policy, met.now_ms) else ())
