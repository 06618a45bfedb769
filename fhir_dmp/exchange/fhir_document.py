"""FHIR documents of real sources: the Composition as a DocumentReference, the Bundle itself as its content, as it came.

https://hl7.org/fhir/R4/documents.html ; https://interop.esante.gouv.fr/ig/fhir/pdsm/
"""

from collections.abc import Mapping
from typing import Any

from fhir_dmp.dmp import identity
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.described import URI, Coded, Described, Person

CONTENT_TYPE = "application/fhir+json"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"


def described(tree: Mapping[str, Any], body: bytes) -> Described:
    """What the Composition says. tree: the Bundle. body: its octets."""
    entries = [one for one in tree.get("entry") or () if isinstance(one, dict) and isinstance(one.get("resource"), dict)]
    inside = {one.get("fullUrl", ""): one["resource"] for one in entries}
    inside |= {f"{one['resource'].get('resourceType')}/{one['resource'].get('id')}": one["resource"] for one in entries}
    first = entries[0]["resource"] if entries else {}
    if first.get("resourceType") != "Composition":
        raise FhirError("unprocessable", "the first entry of a document is its Composition", "Bundle.entry[0]")
    identifier = tree.get("identifier") or first.get("identifier") or {}
    if not identifier.get("value"):
        raise FhirError("unprocessable", "a document has an identifier", "Bundle.identifier")
    found = Described(
        master=(identifier.get("system") or URI, identifier["value"]),
        content=body,
        content_type=CONTENT_TYPE,
        type=_coded(first.get("type")),
        document_class=_coded((first.get("category") or [{}])[0]),
        title=first.get("title", ""),
        language=first.get("language", ""),
        date=first.get("date", ""),
        labels=[Coded(first["confidentiality"], CONFIDENTIALITY)] if first.get("confidentiality") else [],
    )
    _person(_led(first.get("subject"), inside), found)
    found.authors = [person for one in first.get("author") or () if (person := _named(one, inside)) is not None]
    found.custodian = _named(first.get("custodian"), inside)
    for one in first.get("event") or ():
        period = one.get("period") or {}
        found.start, found.end = found.start or period.get("start", ""), found.end or period.get("end", "")
    return found


def _led(reference: Any, inside: Mapping[str, dict]) -> dict:
    """The resource of the document that a Reference leads to, {} for none."""
    return inside.get((reference or {}).get("reference", ""), {})


def _person(patient: Mapping[str, Any], found: Described) -> None:
    listed = [one for one in patient.get("identifier") or () if one.get("system") and one.get("value")]
    told = [one for one in listed if one.get("use") != "old" or one["system"] in identity.OLD_SYSTEMS]
    found.qualified = identity.is_qualified(patient)
    found.identifiers = [(one["system"], one["value"]) for one in told]
    name = next(iter(patient.get("name") or ()), {})
    found.family, found.given = [name["family"]] if name.get("family") else [], list(name.get("given") or ())
    found.gender, found.birth = patient.get("gender", ""), patient.get("birthDate", "")


def _named(reference: Any, inside: Mapping[str, dict]) -> Person | None:
    """A professional or structure by the number it is known by, else by the first it has, else by name."""
    one = _led(reference, inside)
    if one.get("resourceType") == "PractitionerRole" and not one.get("identifier"):
        one = _led(one.get("practitioner"), inside) or one
    listed = one.get("identifier") or ([reference["identifier"]] if (reference or {}).get("identifier") else [])
    known = next((each for each in listed if identity.known_as([each])), next(iter(listed), {}))
    name = one.get("name")
    if isinstance(name, list):
        parts = next(iter(name), {})
        name = parts.get("text") or " ".join((*parts.get("given", ()), parts.get("family", ""))).strip()
    name = name or (reference or {}).get("display", "")
    return Person(known.get("system", ""), known.get("value", ""), name) if known.get("value") or name else None


def _coded(concept: Any) -> Coded | None:
    coding = next(iter((concept or {}).get("coding") or ()), {})
    return Coded(coding["code"], coding.get("system", ""), coding.get("display", "")) if coding.get("code") else None
