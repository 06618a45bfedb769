"""What is wrong with a deposit, told to whoever may make it: a type or subject left out, a content that is not the one described.

IHE MHD https://profiles.ihe.net/ITI/MHD/ (attachment.hash and size as XDS has them); PDSm: the type decides who writes and reads
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from fhir_dmp.consent.decide import Decision
from fhir_dmp.dmp import documents, spaces
from fhir_dmp.dmp.visibility import VISIBILITY, labels_of
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir.tables import compartment, element
from fhir_dmp.interactions.prepare import Checked

DOCUMENT = "DocumentReference"
NOT_WRITABLE = "not-writable"


def of_nobody(resources: Iterable[Checked]) -> list[Issue]:
    """Resources of a dossier that do not say whose."""
    faults = []
    for one in resources:
        name = "subject" if element(f"{one.type}.subject") is not None else "patient"
        if one.type in compartment("Patient") and element(f"{one.type}.{name}") is not None and not one.value.get(name):
            faults.append(Issue("error", "required", f"it does not say of whom it is: `{name}`", f"{one.type}.{name}"))
    return faults


def of_type(decision: Decision, value: Mapping[str, Any]) -> list[Issue]:
    """A document of no type that the matrix knows; of one it knows, that it refuses it is no fault of the document."""
    if decision.rule != NOT_WRITABLE or value["resourceType"] != DOCUMENT or documents.type_of(value) in spaces.types():
        return []
    said = "is no type of document of a DMP" if value.get("type") else "is missing, and decides who may write and read the document"
    return [Issue("error", "business-rule", f"`type` {said}", f"{DOCUMENT}.type")]


def of_contents(value: Mapping[str, Any], sent: Mapping[str, Mapping[str, Any]]) -> list[Issue]:
    """Attachments whose `hash` (SHA-1, base64) or `size` (bytes) is not that of their content. sent: Binaries by attachment.url."""
    faults = []
    for number, content in enumerate(value.get("content") or ()):
        attachment = content.get("attachment") or {}
        binary = sent.get(attachment.get("url", ""))
        if binary is None or ("hash" not in attachment and "size" not in attachment):
            continue
        octets = base64.b64decode("".join(binary.get("data", "").split()))
        place = f"{DOCUMENT}.content[{number}].attachment"
        if "size" in attachment and attachment["size"] != len(octets):
            faults.append(Issue("error", "business-rule", f"the content has {len(octets)} bytes, not what `size` says", f"{place}.size"))
        digest = base64.b64encode(hashlib.sha1(octets, usedforsecurity=False).digest()).decode()
        if "hash" in attachment and "".join(attachment["hash"].split()) != digest:
            faults.append(Issue("error", "business-rule", f"the SHA-1 of the content is `{digest}`, not what `hash` says", f"{place}.hash"))
    return faults


def of_labels(value: Mapping[str, Any]) -> list[Issue]:
    """Labels of visibility where they would mean nothing: they stand on documents, and what is deposited with one shares its labels."""
    kind, said = value["resourceType"], (value.get("meta") or {}).get("security") or ()
    found = sorted(labels_of([{"coding": said}]) & frozenset(VISIBILITY))
    where = f"`{DOCUMENT}.securityLabel`" if kind == DOCUMENT else f"`{DOCUMENT}.securityLabel` of the document it is deposited with"
    return [Issue("error", "business-rule", f"`{label}` is said in {where}", f"{kind}.meta.security") for label in found]


def tell(faults: list[Issue]) -> None:
    """422 for what was found, nothing for nothing."""
    if faults:
        raise FhirError.many("business-rule", faults)
