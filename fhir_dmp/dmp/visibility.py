"""Visibility labels of a document: which there are, how a set of them is changed, and the two clocks of INVISIBLE_PATIENT.

https://mos.esante.gouv.fr/NOS/JDV_J58-ConfidentialityCode-DMP/FHIR/JDV-J58-ConfidentialityCode-DMP ; CSP R1111-49, R1111-50, R1111-53
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fhir_dmp.dmp.paris import days_later_ms, months_later_ms
from fhir_dmp.errors import Issue

TRE_A07 = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
TRE_A08 = "https://mos.esante.gouv.fr/NOS/TRE_A08-HL7Confidentiality/FHIR/TRE-A08-HL7Confidentiality"
# Spellings met in published examples.
ALIASES = {
    "https://mos.esante.gouv.fr/NOS/TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument": TRE_A07,
    "http://terminology.hl7.org/CodeSystem/v3-Confidentiality": TRE_A08,
    "urn:oid:1.2.250.1.213.1.1.4.13": TRE_A07,
    "urn:oid:2.16.840.1.113883.5.25": TRE_A08,
}

MASKED = "MASQUE_PS"
INVISIBLE_PATIENT = "INVISIBLE_PATIENT"
INVISIBLE_RL = "INVISIBLE_REPRESENTANTS_LEGAUX"
VISIBILITY = (MASKED, INVISIBLE_PATIENT, INVISIBLE_RL)
CONFIDENTIALITY = ("N", "R", "V")
DISPLAYS = {
    "N": "Normal",
    "R": "Restreint",
    "V": "Très restreint",
    MASKED: "Masqué aux professionnels de santé",
    INVISIBLE_PATIENT: "Non visible par le patient",
    INVISIBLE_RL: "Non visible par les représentants légaux du patient",
}

NOTICE_DAYS = 14
RELEASE_MONTHS = 1


def labels_of(security_label: Iterable[Mapping]) -> frozenset[str]:
    """The codes we know among DocumentReference.securityLabel; others are kept in the body and mean nothing here.

    >>> labels_of([{"coding": [{"system": TRE_A07.replace("Statut", "Status"), "code": "MASQUE_PS"}, {"system": "x", "code": "N"}]}])
    frozenset({'MASQUE_PS'})
    """
    found = set()
    for concept in security_label:
        for coding in concept.get("coding") or ():
            if code := label_of(coding):
                found.add(code)
    return frozenset(found)


def label_of(coding: Mapping) -> str:
    """The label a Coding is, "" when it is none of ours."""
    system, code = coding.get("system"), coding.get("code")
    system = ALIASES.get(system, system)
    if (system == TRE_A07 and code in VISIBILITY) or (system == TRE_A08 and code in CONFIDENTIALITY):
        return code
    return ""


def unknown(security_label: Iterable[Mapping], where: str = "DocumentReference.securityLabel") -> list[Issue]:
    """Codings that look like a visibility label and are none: whoever sends one would believe that it hides something.

    >>> [issue.diagnostics for issue in unknown([{"coding": [{"code": "MASQUE_PS"}]}])]
    ['`MASQUE_PS` is a visibility label only with system https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument']
    """
    found = []
    for place, concept_ in enumerate(security_label):
        for coding in concept_.get("coding") or ():
            system, code = ALIASES.get(coding.get("system"), coding.get("system")), coding.get("code")
            if label_of(coding) or (code not in VISIBILITY and system not in (TRE_A07, TRE_A08)):
                continue
            if code in VISIBILITY:
                said = f"`{code}` is a visibility label only with system {TRE_A07}"
            else:
                said = f"`{str(code)[:40]}` is not a code of {system}"
            found.append(Issue("error", "code-invalid", said, f"{where}[{place}]"))
    return found


def concept(label: str) -> dict:
    """A label as CodeableConcept, in its canonical spelling."""
    system = TRE_A07 if label in VISIBILITY else TRE_A08
    return {"coding": [{"system": system, "code": label, "display": DISPLAYS[label]}]}


class Change(NamedTuple):
    """added, removed: labels, over a set; what was there already, or was not there, changes nothing."""

    added: frozenset[str]
    removed: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


def change(shown: frozenset[str], wanted: frozenset[str]) -> Change:
    """What a requester asks for when he makes of the labels he was shown those he wants. N, R and V are added, never removed.

    >>> change(frozenset({"N"}), frozenset({"MASQUE_PS"}))
    Change(added=frozenset({'MASQUE_PS'}), removed=frozenset())
    """
    return Change(wanted - shown, shown - wanted - frozenset(CONFIDENTIALITY))


def changed(stored: frozenset[str], asked: Change) -> frozenset[str]:
    """The labels after a change, those not shown to the requester left as they are."""
    return (stored | asked.added) - asked.removed


def issues_of(wanted: frozenset[str], together: bool = False, where: str = "DocumentReference.securityLabel") -> list[Issue]:
    """Faults of the labels that one request names. together: INVISIBLE_PATIENT beside MASQUE_PS is allowed (setting).

    Only this request is looked at: to refuse because of a mask set by the holder would reveal it.
    """
    found = []
    if len(wanted & set(CONFIDENTIALITY)) > 1:
        found.append(Issue("error", "business-rule", "securityLabel names more than one of N, R and V", where))
    if not together and MASKED in wanted and INVISIBLE_PATIENT in wanted:
        found.append(Issue("error", "business-rule", "a document is not hidden from the patient and from professionals at once", where))
    return found


def notice_ms(first_deposit_ms: int) -> int:
    """When the holder is told that a document waits for him: two weeks after the first deposit of the lineage."""
    return days_later_ms(first_deposit_ms, NOTICE_DAYS)


def release_ms(first_deposit_ms: int) -> int:
    """When INVISIBLE_PATIENT ends by itself: one calendar month after the first deposit of the lineage, the last day if that day is absent.

    >>> from fhir_dmp.fhir.instants import from_instant, to_instant
    >>> to_instant(release_ms(from_instant("2024-01-31T23:30:00Z")))  # 1 February in Paris
    '2024-02-29T23:30:00.000Z'
    """
    return months_later_ms(first_deposit_ms, RELEASE_MONTHS)
