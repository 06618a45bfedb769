"""Errors as values with an address, and the OperationOutcome they become.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

# kind -> (HTTP status, OperationOutcome issue code)
KINDS: dict[str, tuple[int, str]] = {
    "invalid": (400, "invalid"),
    "structure": (400, "structure"),
    "too-costly": (400, "too-costly"),
    "not-supported": (400, "not-supported"),
    "login": (401, "login"),
    "forbidden": (403, "forbidden"),
    "not-found": (404, "not-found"),
    "method": (405, "not-supported"),
    "not-acceptable": (406, "not-supported"),
    "timeout": (408, "timeout"),
    "conflict": (409, "conflict"),
    "duplicate": (409, "duplicate"),
    "deleted": (410, "deleted"),
    "multiple-matches": (412, "multiple-matches"),
    "precondition": (412, "conflict"),
    "too-long": (413, "too-long"),
    "uri-too-long": (414, "too-long"),
    "media-type": (415, "not-supported"),
    "range": (416, "invalid"),
    "unprocessable": (422, "processing"),
    "business-rule": (422, "business-rule"),
    "header-too-long": (431, "too-long"),
    "throttled": (429, "throttled"),
    "exception": (500, "exception"),
    "not-implemented": (501, "not-supported"),
    "transient": (503, "transient"),
}


class Issue(NamedTuple):
    """One entry of OperationOutcome.issue.

    severity: fatal | error | warning | information. code: an IssueType code. expression: FHIRPath of the place, "" when it has none.
    """

    severity: str
    code: str
    diagnostics: str
    expression: str = ""


class FhirError(Exception):
    """A refusal with a reason and a place.

    kind: key of KINDS. message: plain words, one line, user input in backticks. where: FHIRPath, e.g. "Bundle.entry[3].resource.id".
    issues: replaces kind's single issue when several faults were found in one pass. headers: added to the HTTP answer.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        where: str = "",
        *,
        issues: Iterable[Issue] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.where = kind, message, where
        self.status, code = KINDS[kind]
        self.issues: tuple[Issue, ...] = tuple(issues) or (Issue("error", code, message, where),)
        self.headers = headers or {}

    @classmethod
    def many(cls, kind: str, issues: Iterable[Issue]) -> "FhirError":
        """A refusal for several faults at once."""
        listed = tuple(issues)
        return cls(kind, listed[0].diagnostics, listed[0].expression, issues=listed)

    def within(self, place: str) -> "FhirError":
        """The same refusal, its places prefixed, e.g. with "Bundle.entry[3]"."""
        moved = tuple(i._replace(expression=f"{place}.{i.expression}" if i.expression else place) for i in self.issues)
        return FhirError(self.kind, self.message, moved[0].expression, issues=moved, headers=self.headers)


def outcome_value(issues: Iterable[Issue]) -> dict:
    """OperationOutcome as a plain value."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": issue.severity,
                "code": issue.code,
                "diagnostics": issue.diagnostics,
                **({"expression": [issue.expression]} if issue.expression else {}),
            }
            for issue in issues
        ],
    }


def outcome(issues: Iterable[Issue]) -> bytes:
    """OperationOutcome as JSON bytes."""
    return msgspec.json.encode(outcome_value(issues))
