"""The profiles of the DMP as the server runs them: which there are, what a resource breaks of one, which a deposit must follow.

https://hl7.org/fhir/R4/profiling.html
https://interop.esante.gouv.fr/ig/fhir/pdsm/ ; https://profiles.ihe.net/ITI/MHD/
Compiled at first use from the StructureDefinitions of `profiles/`, which the guide publishes: one source for both.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir.profile_checks import compiled
from fhir_dmp.fhir.profile_faults import Fault, Run
from fhir_dmp.fhir.profile_tree import BASE, chain, definition, definitions
from fhir_dmp.fhir.rules import contained_types

CANONICAL = "https://fhir-dmp.example.org/fhir/StructureDefinition/"
CATEGORY = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-consent-category"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
# Of the sandbox's own: plain FHIR R4.
FREE = frozenset({"system"})


def url_of(id: str) -> str:
    """Canonical address of one of our profiles.

    >>> url_of("dmp-patient")
    'https://fhir-dmp.example.org/fhir/StructureDefinition/dmp-patient'
    """
    return CANONICAL + id


def known(url: str) -> bool:
    """Whether this server can validate against a profile: one of ours, with our version or none."""
    return definition(url) is not None


def type_of(url: str) -> str:
    """Resource type a known profile speaks of."""
    found = definition(url)
    return "" if found is None else found["type"]


def faults(resource: Mapping, url: str, *, alone: bool = False) -> list[Fault]:
    """What a resource breaks of a profile, all at once; [] when it follows it. FhirError "not-supported" for an unknown profile.

    resource: parsed JSON. alone: without what the resources in it break of profiles of their own.
    What R4 itself asks is not looked at again: see schema.validate.
    """
    if not known(url):
        raise FhirError("not-supported", f"this server cannot validate against `{url[:200]}`")
    profile = compiled(url.partition("|")[0])
    found: list[Fault] = []
    kind = resource.get("resourceType")
    if kind != profile.type:
        place = str(kind) if isinstance(kind, str) else "Resource"
        return [Fault("resource", "error", profile.type, place, listed=profile.type, said=f"`{place[:64]}`")]
    profile.check(resource, (None, profile.type, None), Run(resource, contained_types(resource), found, alone=alone))
    return list(dict.fromkeys(found))


def validate_profile(resource: Mapping, url: str, *, language: str = "en") -> list[Issue]:
    """The same as issues of an OperationOutcome: severity error or warning, code, words in English (en) or French (fr), FHIRPath.

    >>> from fhir_dmp.fhir.profiles import url_of
    >>> [issue.expression for issue in validate_profile({"resourceType": "CareTeam", "status": "active"}, url_of("dmp-care-team"))]
    ['CareTeam.subject', 'CareTeam.participant']
    """
    return [fault.issue(language) for fault in faults(resource, url)]


@cache
def profiles_for(type_name: str, actor_kind: str = "") -> tuple[str, ...]:
    """Profiles a resource of this type may claim, abstract ones left out; none for the plain FHIR of a sandbox.

    >>> [url.rpartition("/")[2] for url in profiles_for("DocumentReference", "professional")], profiles_for("Patient", "system")
    (['dmp-document-reference', 'dmp-simplified-publish'], ())
    """
    if actor_kind in FREE:
        return ()
    return tuple(url for url, one in definitions().items() if one["type"] == type_name and not one["abstract"])


def deposit_profiles(resource: Mapping, actor_kind: str) -> tuple[str, ...]:
    """Profiles that a resource being written must follow, by what it is; () where only R4 is asked.

    A DocumentReference that carries its content is a simplified publication (ITI-105), any other has the metadata of ITI-65. A List is
    judged where it says it is a submission set or a folder, a Consent by its category, a transaction where it has a submission set.
    """
    if actor_kind in FREE:
        return ()
    match resource.get("resourceType"):
        case "DocumentReference":
            simplified = any("data" in one for one in _inside(resource.get("content"), "attachment"))
            return (url_of("dmp-simplified-publish" if simplified else "dmp-document-reference"),)
        case "List":
            kinds = {one.get("code") for one in _inside([resource.get("code")], "coding")} & {"submissionset", "folder"}
            return tuple(url_of("dmp-submission-set" if one == "submissionset" else "dmp-folder") for one in sorted(kinds))
        case "Consent":
            return (_of_consent(resource),)
        case "Bundle" if resource.get("type") == "transaction":
            lists = [one.get("resource") for one in _inside([resource], "entry")]
            codes = [one.get("code") for one in lists if isinstance(one, Mapping) and one.get("resourceType") == "List"]
            submitted = any(one.get("code") == "submissionset" for one in _inside(codes, "coding"))
            return (url_of("dmp-provide-document-bundle"),) if submitted else ()
        case "Patient" | "RelatedPerson" | "CareTeam" as kind:
            return (url_of(_ENFORCED[kind]),)
    return ()


def deposit_issues(resource: Mapping, actor_kind: str, *, language: str = "en", strict: bool = False) -> list[Issue]:
    """What a write breaks of the profiles it must follow; its errors refuse it. strict: also for metadata that is merely left out.

    What is said wrongly is always an error. What a document, list or deposit leaves unsaid is one where the rules of the dossier need it
    (NEEDED), else a warning: practice software that says less than PDSm asks is heard.
    """
    found = _deposit_faults(resource, actor_kind)
    if not strict:
        found = [fault._replace(severity="warning") if _unsaid(fault) else fault for fault in found]
    return [fault.issue(language) for fault in found]


def deposit_errors(resource: Mapping, actor_kind: str, *, language: str = "en", strict: bool = False) -> list[Issue]:
    """Those of `deposit_issues` that refuse it. What need not be told is not put into words, which takes longer than to find it."""
    found = _deposit_faults(resource, actor_kind)
    return [fault.issue(language) for fault in found if fault.severity == "error" and (strict or not _unsaid(fault))]


def _deposit_faults(resource: Mapping, actor_kind: str) -> list[Fault]:
    return [fault for url in deposit_profiles(resource, actor_kind) for fault in faults(resource, url)]


def submission_issues(bundle: Mapping, actor_kind: str, *, language: str = "en", strict: bool = False) -> list[Issue]:
    """What a transaction breaks of ITI-65 as a whole, where it claims to be one or has a submission set. bundle: parsed, with its entries.

    What its resources break is told of each by `deposit_issues`.
    """
    profiles = deposit_profiles(bundle, actor_kind)
    if not profiles and actor_kind not in FREE and any(_PROVIDES.search(url) for url in _claims(bundle)):
        profiles = (url_of("dmp-provide-document-bundle"),)
    found = [
        fault
        for url in profiles
        for fault in faults(bundle, url, alone=True)
        if fault.element.partition(".")[0].partition(":")[0] == "Bundle"
    ]
    if not strict:
        found = [fault._replace(severity="warning") if _unsaid(fault) else fault for fault in found]
    return [fault.issue(language) for fault in found]


# Our profile of ITI-65 and those of MHD and PDSm.
_PROVIDES = re.compile(r"provide[-.]?(document-?)?bundle", re.IGNORECASE)


def _claims(resource: Mapping) -> list[str]:
    meta = resource.get("meta")
    listed = meta.get("profile") if isinstance(meta, Mapping) else None
    return [url for url in listed if isinstance(url, str)] if isinstance(listed, list) else []


def _unsaid(fault: Fault) -> bool:
    return fault.rule in ("min", "few") and fault.element.partition(".")[0] in _HEARD and fault.element not in needed()


_HEARD = frozenset({"DocumentReference", "List", "Bundle"})


@cache
def needed() -> frozenset[str]:
    """Elements without which no document or list is taken, whatever brought it.

    >>> sorted(needed())[:2]
    ['DocumentReference.author', 'DocumentReference.content']
    """
    (core,) = chain(url_of("dmp-document-reference-core"))
    asked = {element["id"] for element in core["differential"]["element"] if element.get("min")}
    return frozenset(asked | {"DocumentReference.author", "DocumentReference.content.attachment.data", "List.subject"})


# Types of which every resource written by people follows one profile.
_ENFORCED = {"Patient": "dmp-patient", "RelatedPerson": "dmp-related-person", "CareTeam": "dmp-care-team"}


def _of_consent(consent: Mapping) -> str:
    if any(one.get("system") == SCOPE and one.get("code") == "adr" for one in _inside([consent.get("scope")], "coding")):
        return url_of("dmp-consent-will")
    codes = [one.get("code") for one in _inside(consent.get("category"), "coding") if one.get("system") == CATEGORY]
    own = url_of(f"dmp-consent-{codes[0]}") if len(codes) == 1 else ""
    return own if own and known(own) else url_of("dmp-consent")


def _inside(values: object, name: str) -> Iterable[Mapping]:
    """Objects found under a name in each of some objects."""
    for value in values if isinstance(values, list) else ():
        inner = value.get(name) if isinstance(value, Mapping) else None
        yield from (one for one in (inner if isinstance(inner, list) else (inner,)) if isinstance(one, Mapping))


def claimed(resource: Mapping) -> tuple[str, ...]:
    """Profiles of ours that a resource says it follows."""
    return tuple(url for url in _claims(resource) if known(url))


def is_base(url: str, type_name: str) -> bool:
    """Whether the address is that of the R4 type itself, of whatever version."""
    return url.partition("|")[0] == BASE + type_name
