"""How resources of a source name one another, and what that becomes here.

https://hl7.org/fhir/R4/references.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference, rewrite

DIRECTORY = frozenset({"Practitioner", "PractitionerRole", "Organization"})
DOCUMENT, PATIENT, BINARY = "DocumentReference", "Patient", "Binary"


@dataclass(slots=True)
class Links:
    """What the references of a resource become. stand_ins: text -> Reference. nameless: those of them that never came.

    people: keys of the Patients that are named, as they were before their dossiers were joined to others.
    """

    texts: dict[str, str] = field(default_factory=dict)
    stand_ins: dict[str, dict] = field(default_factory=dict)
    nameless: list[str] = field(default_factory=list)
    people: set[bytes] = field(default_factory=set)


def patient_name(system: str, value: str) -> str:
    """Name of a patient by one of his numbers."""
    return f"Patient?identifier={system}|{value}"


def display_of(tree: Mapping[str, Any]) -> str:
    """What somebody, or a structure, is called; "" for nothing."""
    name = tree.get("name")
    if isinstance(name, str):
        return name
    for one in name if isinstance(name, list) else ():
        if isinstance(one, dict):
            given = [part for part in one.get("given") or () if isinstance(part, str)]
            return one.get("text") or " ".join((*given, one.get("family") or "")).strip()
    return ""


def directory_number(text: str) -> dict[str, Any] | None:
    """What a reference becomes that names somebody of the directory by his number; None for any other.

    >>> directory_number("Practitioner?identifier=urn:oid:1.2.250.1.71.4.2.1|810001234567")
    {'type': 'Practitioner', 'identifier': {'system': 'urn:oid:1.2.250.1.71.4.2.1', 'value': '810001234567'}}
    """
    said = parse_reference(text)
    system, value = one_number(said.query) if said.kind == "conditional" and said.type in DIRECTORY else ("", "")
    return {"type": said.type, "identifier": {"system": system, "value": value}} if system and value else None


def one_number(query: str) -> tuple[str, str]:
    """System and value of a search by one identifier, two empty ones of any other.

    >>> one_number("identifier=urn%3Ax%7C1"), one_number("identifier=urn:x"), one_number("identifier=urn:x|1&active=true")
    (('urn:x', '1'), ('', ''), ('', ''))
    """
    name, _, said = query.partition("=")
    system, bar, value = unquote(said).partition("|")
    return (system, value) if name == "identifier" and bar and "&" not in query else ("", "")


def contents_of(tree: Mapping[str, Any]) -> dict[str, str]:
    """Binaries a document points to: url -> name."""
    found, listed = {}, tree.get("content")
    for content in listed if isinstance(listed, list) else ():
        attachment = content.get("attachment") if isinstance(content, dict) else None
        url = attachment.get("url") if isinstance(attachment, dict) else None
        said = parse_reference(url) if isinstance(url, str) else None
        if said is not None and said.type == BINARY and said.id:
            found[url] = said.relative
    return found


def items_of(tree: Mapping[str, Any]) -> set[str]:
    """What a List lists."""
    return {(one.get("item") or {}).get("reference", "") for one in tree.get("entry") or () if isinstance(one, dict)}


def replaced_in(tree: Mapping[str, Any], links: Links, body: bytes) -> Mapping[str, Any]:
    """References of the source by references of ours; people of the directory by their identifiers.

    body: JSON of it, codes apart: a member whose bytes have none of the texts is not gone through.
    """
    texts = [text.encode() for text in (*links.texts, *links.stand_ins)]
    raw = {name: bytes(value) for name, value in json.members(body).items()}
    said = {name: tree[name] for name, part in raw.items() if name in tree and (b"\\" in part or any(text in part for text in texts))}
    if not said:
        return tree

    said = {"resourceType": tree["resourceType"], **said}
    return {**tree, **rewrite(_stood_in(said, links.stand_ins) if links.stand_ins else said, links.texts)}


def _stood_in(value: Any, stand_ins: Mapping[str, dict]) -> Any:
    """References that have one by it."""
    if isinstance(value, dict):
        text = value.get("reference")
        if isinstance(text, str) and text in stand_ins:
            kept = {name: part for name, part in value.items() if name not in ("reference", "type", "identifier")}
            return {**stand_ins[text], **kept}
        return {name: _stood_in(part, stand_ins) for name, part in value.items()}
    return [_stood_in(part, stand_ins) for part in value] if isinstance(value, list) else value
