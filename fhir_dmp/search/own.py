"""Search parameters of PDSm, IHE MHD and the DMP beside those of R4, in the form of the official table.

https://interop.esante.gouv.fr/ig/fhir/pdsm/ and https://profiles.ihe.net/ITI/MHD/ (search parameters of Find Document Lists and References)
"""

from fhir_dmp.fhir.tables import SearchParameter

_PDSM = "https://interop.esante.gouv.fr/ig/fhir/pdsm/"
_MHD = "https://profiles.ihe.net/ITI/MHD/"
_ARCHIVED = f"{_PDSM}StructureDefinition/pdsm-ext-is-archived"


def _row(url: str, code: str, type_name: str, base: tuple[str, ...], expression: str, target: tuple[str, ...] = ()) -> SearchParameter:
    return SearchParameter(url, code, type_name, base, expression, target, (), "normal")


def _extensions(base: str, urls: tuple[str, ...], type_name: str) -> str:
    return " | ".join(f"{base}.extension('{url}').value.as({type_name})" for url in urls)


_PEOPLE = ("Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Organization", "Device")

_LIST_AUTHOR = f"{_MHD}StructureDefinition/ihe-authorOrg"
_RECIPIENTS = (f"{_PDSM}StructureDefinition/pdsm-ext-intended-recipient", f"{_MHD}StructureDefinition/ihe-intendedRecipient")
_DOCUMENT = ("DocumentReference",)

OWN: tuple[SearchParameter, ...] = (
    _row(
        f"{_PDSM}SearchParameter/pdsm-is-archived",
        "isArchived",
        "token",
        ("DocumentReference", "List"),
        f"{_extensions('DocumentReference', (_ARCHIVED,), 'boolean')} | {_extensions('List', (_ARCHIVED,), 'boolean')}",
    ),
    _row(
        f"{_MHD}SearchParameter/DocumentReference-creation", "creation", "date", _DOCUMENT, "DocumentReference.content.attachment.creation"
    ),
    _row(f"{_PDSM}SearchParameter/pdsm-period-start", "period-start", "date", _DOCUMENT, "DocumentReference.context.period.start"),
    _row(f"{_PDSM}SearchParameter/pdsm-period-end", "period-end", "date", _DOCUMENT, "DocumentReference.context.period.end"),
    _row(
        f"{_MHD}SearchParameter/List-DesignationType",
        "designationType",
        "token",
        ("List",),
        _extensions("List", (f"{_MHD}StructureDefinition/ihe-designationType",), "CodeableConcept"),
    ),
    _row(
        f"{_MHD}SearchParameter/List-SourceId",
        "sourceId",
        "token",
        ("List",),
        _extensions("List", (f"{_MHD}StructureDefinition/ihe-sourceId",), "Identifier"),
    ),
    _row(
        f"{_PDSM}SearchParameter/pdsm-author-org",
        "authorOrg",
        "reference",
        ("List",),
        f"{_extensions('List.source', (_LIST_AUTHOR,), 'Reference')} | {_extensions('List', (_LIST_AUTHOR,), 'Reference')}",
        ("Organization",),
    ),
    _row(
        f"{_PDSM}SearchParameter/pdsm-intended-recipient",
        "intendedRecipient",
        "reference",
        ("List",),
        _extensions("List", _RECIPIENTS, "Reference"),
        _PEOPLE,
    ),
    _row(
        "https://fhir-dmp.example.org/fhir/SearchParameter/dmp-purpose",
        "purpose",
        "token",
        ("AuditEvent",),
        "AuditEvent.purposeOfEvent | AuditEvent.agent.purposeOfUse",
    ),
)
