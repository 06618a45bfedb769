"""What the rules need to know of a document: its facts, read from the resource at deposit, kept in the row, never parsed again.

https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition-pdsm-comprehensive-document-reference.html
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from fhir_dmp.dmp import identity, spaces
from fhir_dmp.dmp.paris import span, window
from fhir_dmp.dmp.visibility import VISIBILITY, labels_of, release_ms
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS
from fhir_dmp.fhir.tables import child_path, members

IS_ARCHIVED = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"
CURRENT, SUPERSEDED, WITHDRAWN = "current", "superseded", "entered-in-error"
STATUSES = (CURRENT, SUPERSEDED, WITHDRAWN)

# What tells a laboratory result, and an image, from what a clinician observed: codes of `category`.
LABORATORY, IMAGING = "11502-2", "18748-4"
OBSERVED = {"laboratory": LABORATORY}
# https://terminology.hl7.org/CodeSystem-v2-0074.html, sections of a laboratory and of imaging
SECTIONS = {
    **dict.fromkeys(
        ("LAB", "BG", "BLB", "CH", "CP", "CTH", "GE", "HM", "ICU", "IMM", "MB", "MCB", "MYC", "OSL", "SP", "SR", "TX", "VR"), LABORATORY
    ),
    **dict.fromkeys(("RAD", "CT", "CUS", "NMR", "NMS", "OUS", "RUS", "RX", "VUS", "XRC"), IMAGING),
}
# A resource that is no document is judged as the document that would carry it; decided, one line to change each.
JUDGED_AS = {
    "AllergyIntolerance": "60591-5",
    "Appointment": "11488-4",
    "CarePlan": "18776-5",
    "ClinicalImpression": "11488-4",
    "Composition": "60591-5",
    "Condition": "60591-5",
    "Coverage": "ATTEST-DROITS-AM",
    "Device": "60591-5",
    "DeviceUseStatement": "60591-5",
    "DiagnosticReport": "11488-4",
    "Encounter": "60591-5",
    "EpisodeOfCare": "34133-9",
    "ExplanationOfBenefit": "REMB",
    "FamilyMemberHistory": "60591-5",
    "Flag": "60591-5",
    "Goal": "18776-5",
    "ImagingStudy": "18748-4",
    "Immunization": "87273-9",
    "ImmunizationRecommendation": "87273-9",
    "Media": "18748-4",
    "Medication": "57833-6",
    "MedicationAdministration": "80565-5",
    "MedicationDispense": "60593-1",
    "MedicationRequest": "57833-6",
    "MedicationStatement": "56445-0",
    "NutritionOrder": "57832-8",
    "Observation": "11488-4",
    "Procedure": "60591-5",
    "QuestionnaireResponse": "60591-5",
    "RiskAssessment": "60591-5",
    "ServiceRequest": "57833-6",
    "Specimen": "11502-2",
    "VisionPrescription": "57833-6",
}
# The period of what does not say when.
UNDATED = (MIN_MS, MAX_MS)
# Elements that say when, in most types and in those that have none of them.
DATED = ("date", "effectiveDateTime", "occurrenceDateTime", "performedDateTime", "recordedDate", "authoredOn", "issued")
DATED_BY = {
    "Appointment": "start",
    "ExplanationOfBenefit": "created",
    "Goal": "startDate",
    "NutritionOrder": "dateTime",
    "VisionPrescription": "dateWritten",
}
MOMENTS = frozenset({"date", "dateTime", "instant"})
# Types in which R4 says more of when.
INSIDE = frozenset({"BackboneElement", "Dosage", "Attachment"})
# Dates of something else: what was measured or answered, of relatives, of products and leaflets.
OF_ELSE = frozenset({"value", "born", "deceased", "condition", "expirationDate", "manufactureDate", "publicationDate"})
# Without a period or date of their own they say nothing of when: not when a content was made, nor what a Provenance vouches for.
SAYING_LESS = frozenset({"DocumentReference", "Provenance"})
# They tell of what was over when they were written: a period without an end is not one that goes on.
WRITTEN_AFTER = frozenset({"DocumentReference", "Composition"})

Tokens = Callable[[str, frozenset[str]], frozenset[Hashable]]


def plain(kind: str, values: frozenset[str]) -> frozenset[Hashable]:
    """Facts in the clear: a value stands for itself."""
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One document, as rules see it. type, authors, organization and root are tokens: the value itself or its
    keyed hash, as of(kind, values) says.

    type: spaces.type_token, "" for none. authors: professionals at deposit (identity.ps) and identity.HOLDER. organization: of the
    depositor's token (identity.org). labels: visibility labels of the whole lineage. release_ms: when INVISIBLE_PATIENT ends by itself.
    root: address of the first document of the lineage, "DocumentReference/id". period: half-open, what the act is dated, UTC ms.
    dates: half-open, the span of all its dates, None where that is no more.
    """

    type: Hashable = ""
    authors: frozenset[Hashable] = frozenset()
    organization: Hashable = ""
    labels: frozenset[str] = frozenset()
    first_deposit_ms: int = MIN_MS
    release_ms: int = MAX_MS
    status: str = CURRENT
    root: Hashable = ""
    period: tuple[int, int] = UNDATED
    dates: tuple[int, int] | None = None
    of: Tokens = field(default=plain, compare=False, repr=False)

    def but(self, **changes: Any) -> "Facts":
        """The same facts with some replaced."""
        return Facts(**{one.name: getattr(self, one.name) for one in fields(Facts)} | changes)


def facts_of(
    resource: Mapping[str, Any],
    *,
    authors: Iterable[str],
    organization: str,
    first_deposit_ms: int,
    root: str,
    labels: frozenset[str] | None = None,
) -> Facts:
    """Facts of a resource being deposited. authors, organization: fixed by the deposit. root, first_deposit_ms: of the lineage.

    labels: those of the lineage when it has some already; else those the resource itself carries.
    """
    own, period = labels_said(resource), period_of(resource)
    dates = dates_of(resource, period)
    return Facts(
        type=type_of(resource),
        authors=frozenset(authors),
        organization=organization,
        labels=own if labels is None else (labels | own) & frozenset(VISIBILITY),
        first_deposit_ms=first_deposit_ms,
        release_ms=release_ms(first_deposit_ms),
        status=status_of(resource),
        root=root,
        period=period,
        dates=dates if dates != period else None,
    )


def labels_said(resource: Mapping[str, Any]) -> frozenset[str]:
    """The visibility labels a resource itself carries."""
    return labels_of(resource.get("securityLabel") or resource.get("meta", {}).get("security") or ()) & frozenset(VISIBILITY)


def type_of(resource: Mapping[str, Any]) -> str:
    """Type by which the matrix judges: of a document its own, of anything else the document that would carry it.

    >>> type_of({"resourceType": "DocumentReference", "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]}})
    '11488-4'
    >>> type_of({"resourceType": "Immunization"}), type_of({"resourceType": "DocumentReference"})
    ('87273-9', '|')
    >>> type_of({"resourceType": "Observation", "category": [{"coding": [{"code": "laboratory"}]}]})
    '11502-2'
    >>> type_of({"resourceType": "Observation", "category": [{"coding": [{"code": "vital-signs"}]}]})
    '11488-4'
    """
    kind = resource.get("resourceType", "")
    if kind == "Observation":
        return _by_category(resource, OBSERVED) or JUDGED_AS[kind]
    if kind == "DiagnosticReport" and _by_category(resource, SECTIONS) == LABORATORY:
        return LABORATORY
    if kind in ("DocumentReference", "Composition", "DiagnosticReport"):
        tokens = [
            spaces.type_token(coding.get("system"), coding.get("code") or "")
            for coding in ((resource.get("type" if kind != "DiagnosticReport" else "code") or {}).get("coding") or ())
        ]
        known = [token for token in tokens if token in spaces.types()]
        if known or kind == "DocumentReference":
            return (known or tokens or ["|"])[0]
    if kind == "DiagnosticReport":
        return _by_category(resource, SECTIONS) or JUDGED_AS[kind]
    return JUDGED_AS.get(kind, "|")


def _by_category(resource: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """Type that a code of `category` stands for, the laboratory's before any other; "" for none."""
    codes = {coding.get("code") for concept in _listed(resource.get("category")) for coding in concept.get("coding") or ()}
    found = {known[code] for code in codes if code in known}
    return LABORATORY if LABORATORY in found else next(iter(found), "")


def class_of(resource: Mapping[str, Any]) -> str:
    """Class derived from the type, whatever `category` says."""
    return spaces.class_of(type_of(resource))


def status_of(resource: Mapping[str, Any]) -> str:
    """Status by which a resource is judged; absent means current.

    What has no status says in verificationStatus (Condition, AllergyIntolerance) or lifecycleStatus (Goal) that it was entered in error.

    >>> status_of({"resourceType": "Condition", "verificationStatus": {"coding": [{"code": "entered-in-error"}]}})
    'entered-in-error'
    """
    status = resource.get("status", resource.get("lifecycleStatus"))
    if status in (SUPERSEDED, WITHDRAWN):
        return status
    verified = resource.get("verificationStatus") or {}
    return WITHDRAWN if any(one.get("code") == WITHDRAWN for one in verified.get("coding") or ()) else CURRENT


def is_archived(resource: Mapping[str, Any]) -> bool:
    """Whether it carries the extension isArchived with true."""
    return any(e.get("url") == IS_ARCHIVED and e.get("valueBoolean") is True for e in resource.get("extension") or ())


def master_identifier(resource: Mapping[str, Any]) -> tuple[str, str] | None:
    """(system, value) of masterIdentifier, else of the identifier that says the same."""
    found = resource.get("masterIdentifier")
    return (found.get("system") or "", found["value"]) if isinstance(found, Mapping) and found.get("value") else None


def replaced(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """References of relatesTo with code replaces."""
    return tuple(
        reference
        for related in resource.get("relatesTo") or ()
        if related.get("code") == "replaces" and (reference := (related.get("target") or {}).get("reference"))
    )


def period_of(resource: Mapping[str, Any]) -> tuple[int, int]:
    """What the act is dated: context.period, else the resource's own period or date, else the span of what it says else, else all time."""
    return _period(resource) or UNDATED


def says_when(resource: Mapping[str, Any]) -> bool:
    """Whether it says itself, in whatever element, when it was done or written."""
    return _period(resource) is not None


def _period(resource: Mapping[str, Any]) -> tuple[int, int] | None:
    period = (resource.get("context") or {}).get("period") or resource.get("period") or resource.get("billablePeriod") or {}
    if isinstance(period, Mapping) and (period.get("start") or period.get("end")):
        return window(period.get("start"), period.get("end") or period.get("start"))
    for name in (*DATED, DATED_BY.get(resource.get("resourceType", ""), "")):
        if isinstance(resource.get(name), str):
            return span(resource[name])
    kind = resource.get("resourceType", "")
    said = () if kind in SAYING_LESS else tuple(_dates(resource, kind, kind in WRITTEN_AFTER))
    return _covering(said) if said else None


def dates_of(resource: Mapping[str, Any], period: tuple[int, int]) -> tuple[int, int]:
    """The span of all dates by which it says when it was done or written, and of its period: a mask by period covers what meets it.

    One interval, not several: what lies between the care and its record is hidden too, rather than something of it shown.
    """
    kind = resource.get("resourceType", "")
    return _covering((period, *_dates(resource, kind, kind in WRITTEN_AFTER)))


def _covering(said: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return min(start for start, _ in said), max(end for _, end in said)


def _dates(value: Mapping[str, Any], path: str, over: bool) -> Iterator[tuple[int, int]]:
    for name, kind in _dated(path).items():
        for one in _listed(value.get(name)):
            if isinstance(one, str):
                yield span(one)
            elif kind == "Period":
                yield from _ends(one, over)
            elif kind == "Timing":
                yield from (span(each) for each in one.get("event") or () if each)
                yield from _ends((one.get("repeat") or {}).get("boundsPeriod") or {}, over)
            elif isinstance(one, Mapping):
                yield from _dates(one, kind, over)


def _ends(period: Mapping[str, Any], over: bool) -> Iterator[tuple[int, int]]:
    start, end = period.get("start"), period.get("end")
    if start or end:
        yield window(start, end or (start if over else None))


@cache
def _dated(path: str, above: tuple[str, ...] = ()) -> Mapping[str, str]:
    """Members of a type, or of an element of it, that say when by R4 -> Period, Timing, a kind of moment, or the path of what is inside."""
    found = {}
    for name, (element, kind) in members(path).items():
        if element.name in OF_ELSE:
            continue
        if kind in MOMENTS or kind in ("Period", "Timing"):
            found[name] = kind
        elif kind in INSIDE and (inner := child_path(element, kind)) not in above and _dated(inner, (*above, path)):
            found[name] = inner
    return found


def authors_of(resource: Mapping[str, Any], resolve: Callable[[str], frozenset[str]]) -> frozenset[str]:
    """Professionals named by DocumentReference.author, and identity.HOLDER for the holder's side.

    resolve: reference of a stored Practitioner or PractitionerRole -> who it names ("ps:...").
    """
    inside = {f"#{one.get('id')}": one for one in resource.get("contained") or ()}
    found: set[str] = set()
    for reference in _listed(resource.get("author")):  # one, in some types
        if kind_of(reference, inside) in ("Patient", "RelatedPerson"):
            found.add(identity.HOLDER)
        found |= {name for name in named(reference, inside, resolve) if name.startswith("ps:")}
    return frozenset(found)


def kind_of(reference: Mapping[str, Any], inside: Mapping[str, Mapping]) -> str:
    """Resource type that a Reference leads to, "" when it does not say."""
    text = reference.get("reference") or ""
    if text in inside:
        return inside[text].get("resourceType", "")
    return reference.get("type") or text.partition("/_history/")[0].rpartition("/")[0].rpartition("/")[2]


def named(reference: Mapping[str, Any], inside: Mapping[str, Mapping], resolve: Callable[[str], frozenset[str]]) -> frozenset[str]:
    """Who a Reference names: by its identifier, by a contained resource, or by a stored one."""
    identifier = reference.get("identifier")
    if identifier and (found := identity.known_as([identifier])):
        return found
    text = reference.get("reference") or ""
    one = inside.get(text)
    if one is None:
        return resolve(text) if text and not text.startswith("#") else frozenset()
    if one.get("resourceType") != "PractitionerRole":
        return identity.known_as(_listed(one.get("identifier")))
    practitioner = one.get("practitioner") or {}
    # A role names its practitioner; one step, since a role that names a role would never end.
    behind = inside.get(practitioner.get("reference") or "")
    if behind is not None and behind.get("resourceType") == "PractitionerRole":
        return frozenset()
    return named(practitioner, inside, resolve)


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value] if value else []
