"""What an import says of each resource, and its sums.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fhir_dmp.errors import FhirError, Issue, outcome_value

ACCEPTED, KNOWN, QUARANTINED, REFUSED = "accepted", "known", "quarantined", "refused"
# Waits for somebody to map a code or to say who is meant: taken, not yet stored as a resource.
WAITS = 202
# Something later in the input may bring what was missing.
WORTH_ANOTHER_TRY = (404, 409, 412, 503)


class Result(NamedTuple):
    """What became of one resource.

    place: file, line, entry, e.g. "Patient.ndjson:3". status: of HTTP, 201 created, 200 updated or known already, 202 in quarantine.
    location: Type/id/_history/version when it is stored. known: it was stored by an earlier import.
    """

    place: str
    status: int
    location: str = ""
    issues: tuple[Issue, ...] = ()
    known: bool = False

    @property
    def state(self) -> str:
        """ACCEPTED, KNOWN, QUARANTINED or REFUSED."""
        if self.status >= 400:
            return REFUSED
        return QUARANTINED if self.status == WAITS else KNOWN if self.known else ACCEPTED

    @property
    def accepted(self) -> bool:
        """Whether the resource is in the store."""
        return self.state in (ACCEPTED, KNOWN)

    def value(self) -> dict:
        """A line of the report."""
        told: dict = {"place": self.place, "status": self.status}
        if self.location:
            told["location"] = self.location
        if self.issues:
            told["outcome"] = outcome_value(self.issues)
        return told


def refusal(place: str, error: FhirError) -> Result:
    """The result of a resource that is not taken."""
    return Result(place, error.status, issues=error.issues)


def answered(base_url: str, place: str, response: Mapping) -> Result:
    """An entry of a response Bundle."""
    issues = tuple(
        Issue(i["severity"], i["code"], i.get("diagnostics", ""), (i.get("expression") or [""])[0])
        for i in response.get("outcome", {}).get("issue", ())
    )
    location = response.get("location", "").removeprefix(base_url + "/")
    return Result(place, int(response["status"][:3]), location, issues)


@dataclass(slots=True)
class Counts:
    """accepted: resources that are in the store, `known` of them by an earlier import. by_type: of those."""

    accepted: int = 0
    refused: int = 0
    quarantined: int = 0
    known: int = 0
    by_type: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.accepted + self.refused + self.quarantined

    def add(self, result: Result) -> None:
        """Count one result."""
        if result.state == REFUSED:
            self.refused += 1
            return
        if result.state == QUARANTINED:
            self.quarantined += 1
            return
        self.accepted += 1
        self.known += result.known
        if result.location:
            name = result.location.partition("/")[0]
            self.by_type[name] = self.by_type.get(name, 0) + 1
