"""Typed building of resources the server itself makes, by fhir.resources. The only place that imports it.

https://github.com/nazrulworld/fhir.resources
It knows R4B, not R4: enough for OperationOutcome, Parameters, Bundle, AuditEvent, Consent and the like, which are the same in both.
Slow (0.4 ms a resource, 0.25 s to import), so only for what is rarely built; what comes from outside goes through fhir.schema.
"""

from functools import cache

from fhir_dmp.errors import Issue
from fhir_dmp.fhir.schema import validate


class NotBuilt(ValueError):
    """A resource of our own making is not valid: a fault of the program, never of a caller. issues: what R4 says about it."""

    def __init__(self, type_name: str, issues: list[Issue]) -> None:
        super().__init__(f"{type_name}: " + "; ".join(f"{i.expression}: {i.diagnostics}" for i in issues))
        self.issues = issues


@cache
def model(type_name: str) -> type:
    """The class of a resource or data type, e.g. model("OperationOutcome"). Types that R4B dropped have none: ValueError."""
    from fhir.resources.R4B import get_fhir_model_class

    return get_fhir_model_class(type_name)


def build(type_name: str, **members: object) -> bytes:
    """JSON of a resource made by the server, checked by its model and by the R4 schema.

    >>> build("Basic", code={"text": "note"})
    b'{"resourceType":"Basic","code":{"text":"note"}}'
    """
    made = model(type_name).model_validate({"resourceType": type_name, **members})
    if issues := validate({"resourceType": type_name, **members}, type=type_name):
        raise NotBuilt(type_name, issues)
    return made.model_dump_json().encode()
