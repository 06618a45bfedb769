"""Consent resources: what they direct, as frozen values, and what must be right before one is accepted.

https://profiles.ihe.net/ITI/PCF/ ; https://hl7.org/fhir/R4/consent.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhir_dmp.consent.dossier import MaskRule
from fhir_dmp.dmp import spaces
from fhir_dmp.dmp.documents import named
from fhir_dmp.dmp.paris import span, window
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir.instants import DAY, MAX_MS, MIN_MS

CANONICAL = "https://fhir-dmp.example.org/fhir/"
CATEGORY = CANONICAL + "CodeSystem/dmp-consent-category"
EVIDENCE = CANONICAL + "StructureDefinition/consent-evidence"
EVIDENCES = frozenset({"carte-vitale", "signed-form", "oral", "online"})
LOINC, CONSENT_DOCUMENT = "http://loinc.org", "59284-0"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
PRIVACY, WILLS = "patient-privacy", "adr"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPATION, RECIPIENT = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"
CLASS_SYSTEMS = ("https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument", "urn:oid:1.2.250.1.213.1.1.4.1")

Resolve = Callable[[str], frozenset[str]]


class Shape(NamedTuple):
    """types: of provision. actor: "" none, professional, any (professional or structure) or related. purposes: those it must name."""

    types: tuple[str, ...]
    actor: str = ""
    purposes: frozenset[str] = frozenset()
    period: bool = False


SHAPES: dict[str, Shape] = {
    "opening": Shape(("permit",)),
    "access": Shape(("permit",), "any", frozenset({"TREAT"}), period=True),
    "administrator": Shape(("permit",), "professional", period=True),
    "block": Shape(("deny",), "any", period=True),
    "emergency-regulation": Shape(("permit", "deny"), "", frozenset({"ETREAT"})),
    "emergency-break-glass": Shape(("permit", "deny"), "", frozenset({"BTG"})),
    "emergency-masked": Shape(("permit", "deny"), "", frozenset({"ETREAT", "BTG"})),
    "mask": Shape(("deny",), period=True),
    "mandate": Shape(("permit",), "related", period=True),
    "reimbursement": Shape(("permit", "deny"), period=True),
    "takeover": Shape(("permit", "deny"), period=True),
    "feed": Shape(("permit", "deny"), period=True),
}
EMERGENCIES = ("emergency-regulation", "emergency-break-glass", "emergency-masked")
# Of these the latest speaks: a new one ends the former, which would else speak again when the new one is revoked.
ONE_SPEAKS = frozenset({*EMERGENCIES, "reimbursement", "takeover", "feed"})
ACTIVE, INACTIVE = "active", "inactive"
UNDERSTOOD = frozenset({"type", "period", "actor", "purpose", "data", "class", "code", "dataPeriod", "id", "extension"})
MASKING = frozenset({"data", "class", "code", "dataPeriod"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """One Consent, read. category: key of SHAPES, or WILLS. permits: provision.type. period: [since_ms, until_ms), both days included.

    names: professionals and structures ("ps:", "org:"). related: logical ids of RelatedPersons. mask: of category mask.
    """

    id: str
    category: str
    active: bool
    permits: bool
    since_ms: int = MIN_MS
    until_ms: int = MAX_MS
    names: frozenset[str] = frozenset()
    related: frozenset[str] = frozenset()
    mask: MaskRule | None = None
    evidence: bool = False


def read(consent: Mapping[str, Any], resolve: Resolve) -> Directive | None:
    """What a stored Consent directs, None when it is none of ours. resolve: reference -> who it names."""
    scope, category = scope_of(consent), category_of(consent)
    if scope == WILLS:
        category = WILLS
    if not category:
        return None
    provision = consent.get("provision") or {}
    since, until = window(*_ends(provision.get("period")))
    return Directive(
        id=consent.get("id", ""),
        category=category,
        active=consent.get("status") == ACTIVE,
        permits=provision.get("type") == "permit",
        since_ms=since,
        until_ms=until,
        names=names_of(provision, resolve),
        related=related_of(provision),
        mask=mask_of(provision, resolve, since, until) if category == "mask" else None,
        evidence=evidence_of(consent),
    )


def scope_of(consent: Mapping[str, Any]) -> str:
    """patient-privacy, adr or ""."""
    codes = {c.get("code") for c in (consent.get("scope") or {}).get("coding") or () if c.get("system") == SCOPE}
    return PRIVACY if PRIVACY in codes else WILLS if WILLS in codes else ""


def categories_of(consent: Mapping[str, Any]) -> list[str]:
    """Every code of our category system."""
    return [
        coding.get("code") or ""
        for concept in consent.get("category") or ()
        for coding in concept.get("coding") or ()
        if coding.get("system") == CATEGORY
    ]


def category_of(consent: Mapping[str, Any]) -> str:
    """The one category code, "" when there is none, several, or one that is not known."""
    found = categories_of(consent)
    return found[0] if len(found) == 1 and found[0] in SHAPES else ""


def names_of(provision: Mapping[str, Any], resolve: Resolve) -> frozenset[str]:
    """Professionals and structures that provision.actor names."""
    found: set[str] = set()
    for actor in provision.get("actor") or ():
        found |= named(actor.get("reference") or {}, {}, resolve)
    return frozenset(found)


def related_of(provision: Mapping[str, Any]) -> frozenset[str]:
    """RelatedPersons that provision.actor refers to."""
    texts = ((actor.get("reference") or {}).get("reference") or "" for actor in provision.get("actor") or ())
    return frozenset(text.rpartition("/")[2] for text in texts if text.rpartition("/")[0].endswith("RelatedPerson"))


def mask_of(provision: Mapping[str, Any], resolve: Resolve, since: int, until: int) -> MaskRule:
    """The rule of a mask. What is asked but names nothing known masks more, never less: that condition is left out."""
    roots, authors = set(), set()
    for data in provision.get("data") or ():
        reference = data.get("reference") or {}
        if data.get("meaning") == "instance" and reference.get("reference"):
            roots.add(reference["reference"])
        elif data.get("meaning") == "authoredby":
            authors |= named(reference, {}, resolve)
    types = types_of(provision)
    dated = provision.get("dataPeriod")
    return MaskRule(
        frozenset(roots) or None,
        frozenset(authors) or None,
        types or None,
        window(*_ends(dated)) if dated else None,
        since,
        until,
    )


def types_of(provision: Mapping[str, Any]) -> frozenset[str]:
    """Document types that class and code name."""
    found: set[str] = set()
    for coding in provision.get("class") or ():
        if coding.get("system") in CLASS_SYSTEMS:
            found |= spaces.of_class(coding.get("code") or "")
    for concept in provision.get("code") or ():
        found |= {spaces.type_token(c.get("system"), c.get("code") or "") for c in concept.get("coding") or () if c.get("code")}
    return frozenset(found)


def evidence_of(consent: Mapping[str, Any]) -> bool:
    """Whether it says how the holder's agreement was given."""
    return any(e.get("url") == EVIDENCE and e.get("valueCode") in EVIDENCES for e in consent.get("extension") or ())


def _ends(period: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    return (period or {}).get("start"), (period or {}).get("end")


# ---- what a Consent must be to be accepted


def validate(
    consent: Mapping[str, Any], resolve: Resolve, *, by_operation: bool = False, himself: str = "", days: int = 365
) -> list[Issue]:
    """Every fault of a Consent being written, for a 422; [] when it can be accepted.

    by_operation: written by $open, which alone writes `opening`. himself: name of a professional who writes for himself, who then needs
    the evidence extension and at most `days` days. The shape of R4 was checked before.
    """
    if scope_of(consent) == WILLS:
        return [] if consent.get("patient") else [_fault("patient is missing", "Consent.patient")]
    found: list[Issue] = []
    if scope_of(consent) != PRIVACY:
        found.append(_fault(f"scope is not `{PRIVACY}`", "Consent.scope"))
    codings = [c for concept in consent.get("category") or () for c in concept.get("coding") or ()]
    if not any((c.get("system"), c.get("code")) == (LOINC, CONSENT_DOCUMENT) for c in codings):
        found.append(_fault(f"category does not name LOINC {CONSENT_DOCUMENT}", "Consent.category"))
    if len(categories_of(consent)) != 1 or len(consent.get("category") or ()) != 2:
        found.append(_fault(f"category must be LOINC {CONSENT_DOCUMENT} and exactly one code of {CATEGORY}", "Consent.category"))
    elif not category_of(consent):
        found.append(_fault(f"`{categories_of(consent)[0][:64]}` is not a code of {CATEGORY}", "Consent.category"))
    if consent.get("status") not in (ACTIVE, INACTIVE):
        found.append(_fault("status must be `active` or `inactive`", "Consent.status"))
    for name in ("patient", "dateTime", "performer", "organization", "policy", "provision"):
        if not consent.get(name):
            found.append(_fault(f"{name} is missing", f"Consent.{name}"))
    if consent.get("policy") and not any(policy.get("uri") for policy in consent["policy"]):
        found.append(_fault("policy has no uri", "Consent.policy"))
    if consent.get("modifierExtension"):
        found.append(_fault("modifierExtension cannot be understood", "Consent.modifierExtension"))
    category = category_of(consent)
    if category == "opening" and not by_operation:
        found.append(_fault("the opening Consent is written by $open alone", "Consent.category"))
    if category and consent.get("provision"):
        found += _provision_faults(category, consent["provision"], resolve, consent.get("status") == ACTIVE)
        if himself and category == "access":
            found += _himself_faults(consent, resolve, himself, days)
    return found


def _provision_faults(category: str, provision: Mapping[str, Any], resolve: Resolve, active: bool) -> list[Issue]:
    shape, where, found = SHAPES[category], "Consent.provision", []
    if provision.get("type") not in shape.types:
        found.append(_fault(f"provision.type of `{category}` must be {' or '.join(shape.types)}", f"{where}.type"))
    # What is not understood would be dropped silently, and a right with it.
    for name in sorted(set(provision) - UNDERSTOOD):
        found.append(_fault(f"provision.{name} is not understood", f"{where}.{name}"))
    for name in sorted(MASKING & set(provision)):
        if category != "mask":
            found.append(_fault(f"provision.{name} belongs to `mask` alone", f"{where}.{name}"))
    purposes = {p.get("code") for p in provision.get("purpose") or () if p.get("system") == ACT_REASON}
    if shape.purposes and purposes != shape.purposes:
        found.append(_fault(f"provision.purpose must be {', '.join(sorted(shape.purposes))}", f"{where}.purpose"))
    found += _period_faults(provision.get("period"), shape.period, f"{where}.period", category)
    if category == "access" and active and not provision.get("period"):  # without one it is revoked all the same
        found.append(_fault("`access` says how long it holds", f"{where}.period"))
    found += _actor_faults(category, shape, provision, resolve)
    if category == "mask":
        found += _mask_faults(provision, resolve)
    return found


def _period_faults(period: Mapping[str, Any] | None, allowed: bool, where: str, category: str) -> list[Issue]:
    if not period:
        return [_fault("a mandate has a period with an end", where)] if category == "mandate" else []
    if not allowed:
        return [_fault(f"`{category}` has no period", where)]
    try:
        since, until = window(*_ends(period))
    except FhirError as error:
        return [_fault(error.message, where)]
    if since >= until:
        return [_fault("the period ends before it begins", where)]
    if category == "mandate" and not period.get("end"):
        return [_fault("a mandate has a period with an end", where)]
    return []


def _actor_faults(category: str, shape: Shape, provision: Mapping[str, Any], resolve: Resolve) -> list[Issue]:
    where, actors = "Consent.provision.actor", provision.get("actor") or []
    if not shape.actor:
        return [_fault(f"`{category}` names no actor", where)] if actors else []
    if not actors:
        return [_fault(f"`{category}` must name its actor", where)]
    found = []
    for position, actor in enumerate(actors):
        place = f"{where}[{position}]"
        if shape.actor == "related":
            if not related_of({"actor": [actor]}):
                found.append(_fault("the actor of a mandate is a RelatedPerson", place))
            continue
        codes = {(c.get("system"), c.get("code")) for c in (actor.get("role") or {}).get("coding") or ()}
        if (PARTICIPATION, RECIPIENT) not in codes:
            found.append(_fault("actor.role must be IRCP of v3-ParticipationType", f"{place}.role"))
        names = names_of({"actor": [actor]}, resolve)
        if not names:
            found.append(_fault("the actor names nobody known by RPPS, IDNPS, FINESS or IDNST", place))
        elif shape.actor == "professional" and not all(name.startswith("ps:") for name in names):
            found.append(_fault("the actor must be a professional, not a structure", place))
    return found


def _mask_faults(provision: Mapping[str, Any], resolve: Resolve) -> list[Issue]:
    where, found = "Consent.provision", []
    if not MASKING & set(provision):
        found.append(_fault("a mask by rule says what it masks: data, class, code or dataPeriod", where))
    for position, data in enumerate(provision.get("data") or ()):
        place = f"{where}.data[{position}]"
        if data.get("meaning") not in ("instance", "authoredby"):
            found.append(_fault("data.meaning must be `instance` or `authoredby`", f"{place}.meaning"))
        elif data["meaning"] == "authoredby" and not named(data.get("reference") or {}, {}, resolve):
            found.append(_fault("data.reference names no professional or structure", f"{place}.reference"))
        elif not (data.get("reference") or {}).get("reference") and data["meaning"] == "instance":
            found.append(_fault("data.reference names no document", f"{place}.reference"))
    for position, coding in enumerate(provision.get("class") or ()):
        if coding.get("system") not in CLASS_SYSTEMS or coding.get("code") not in spaces.classes():
            found.append(_fault("class is not a class of DMP documents", f"{where}.class[{position}]"))
    if provision.get("code") and not all(types_of({"code": [one]}) for one in provision["code"]):
        found.append(_fault("code names no document type", f"{where}.code"))
    found += _period_faults(provision.get("dataPeriod"), True, f"{where}.dataPeriod", "")
    return found


def _himself_faults(consent: Mapping[str, Any], resolve: Resolve, himself: str, days: int) -> list[Issue]:
    provision, found = consent["provision"], []
    if himself not in names_of(provision, resolve) or len(provision.get("actor") or ()) != 1:
        found.append(_fault("a professional writes an access Consent for himself alone", "Consent.provision.actor"))
    if not evidence_of(consent):
        found.append(_fault(f"the holder's consent must be attested by extension {EVIDENCE}", "Consent.extension"))
    period = provision.get("period") or {}
    try:
        start = span(period["start"])[0] if period.get("start") else span(consent.get("dateTime") or "")[0]
        if not period.get("end") or span(period["end"])[1] - start > (days + 1) * DAY:
            found.append(_fault(f"such a Consent has an end, at most {days} days after it begins", "Consent.provision.period"))
    except FhirError as error:
        found.append(_fault(error.message, "Consent.provision.period"))
    return found


def _fault(message: str, where: str) -> Issue:
    return Issue("error", "business-rule", message, where)


def is_professional(name: str) -> bool:
    """Whether a name is a professional's.

    >>> is_professional("ps:810001234567"), is_professional("org:1750000001")
    (True, False)
    """
    return name.startswith("ps:")
