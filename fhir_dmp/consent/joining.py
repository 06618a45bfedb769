"""What the rights of one dossier become when it is joined to another of the same person: restrictions come along, permissions do not.

Code de la santé publique L1111-14 to L1111-19; https://hl7.org/fhir/R5/patient-operation-merge.html

Who was let into one of the two was not let into both: he is let in by the dossier that goes on, or asks the holder again. Who was kept
out of one is kept out of both.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fhir_dmp.consent.directives import INACTIVE, ONE_SPEAKS, WILLS, read

ALONG = frozenset({"block", "mask", WILLS})


class Carried(NamedTuple):
    """value: the resource in the other dossier. renewed: it needs a version of its own there, so that it speaks last or no longer."""

    value: Mapping[str, Any]
    renewed: bool


def carried(resource: Mapping[str, Any]) -> Carried:
    """The current version of a resource as it goes along.

    >>> carried({"resourceType": "CareTeam", "status": "active"}).value["status"]
    'inactive'
    """
    match resource["resourceType"]:
        case "CareTeam":
            return _ended(resource, "status", INACTIVE) if resource.get("status") == "active" else Carried(resource, False)
        case "RelatedPerson":
            return _ended(resource, "active", False) if resource.get("active") is not False else Carried(resource, False)
        case "Consent":
            directive = read(resource, lambda text: frozenset())
            if directive is None or not directive.active or directive.category in ALONG:
                return Carried(resource, False)
            if directive.category in ONE_SPEAKS and not directive.permits:
                return Carried(resource, True)
            return _ended(resource, "status", INACTIVE)
    return Carried(resource, False)


def _ended(resource: Mapping[str, Any], name: str, value: object) -> Carried:
    return Carried({**resource, name: value}, True)
