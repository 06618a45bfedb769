"""FHIR capabilities interaction: what this server does, made from the tables it runs on.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from functools import cache

from fhir_dmp import __version__
from fhir_dmp.fhir.http_types import FHIR_JSON, JSON_PATCH
from fhir_dmp.fhir.profiles import profiles_for
from fhir_dmp.fhir.tables import RESOURCE_TYPES
from fhir_dmp.interactions import facts, operations
from fhir_dmp.interactions.context import KEPT
from fhir_dmp.interactions.enforcement import PUBLIC
from fhir_dmp.search.parameters import Parameter, parameters

CANONICAL = "https://fhir-dmp.example.org/fhir/CapabilityStatement/fhir-dmp"
# Types a dossier carries, the directory of those who care, and what the guide publishes.
DOSSIER_TYPES = (
    *("AllergyIntolerance", "Appointment", "AuditEvent", "Binary", "Bundle", "CarePlan", "CareTeam", "ClinicalImpression"),
    *("CodeSystem", "Communication", "Composition", "ConceptMap", "Condition", "Consent", "Coverage", "Device", "DeviceUseStatement"),
    *("DiagnosticReport", "DocumentManifest", "DocumentReference", "Encounter", "EpisodeOfCare", "ExplanationOfBenefit"),
    *("FamilyMemberHistory", "Flag", "Goal", "Group", "ImagingStudy", "Immunization", "ImmunizationRecommendation", "List", "Location"),
    *("Media", "Medication", "MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement"),
    *("NutritionOrder", "Observation", "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure", "Provenance"),
    *("Questionnaire", "QuestionnaireResponse", "RelatedPerson", "RiskAssessment", "SearchParameter", "ServiceRequest", "Specimen"),
    *("StructureDefinition", "Task", "ValueSet", "VisionPrescription"),
)
INSTANCE = ("read", "vread", "update", "patch", "delete", "history-instance")
TYPE = ("history-type", "create", "search-type")
WRITING = ("update", "patch", "delete", "create")
NOTICE = "Communication"
SYSTEM = ("transaction", "batch", "search-system", "history-system")


def statement(date: str, *, sandbox: bool, base_url: str, cors: bool = False) -> dict:
    """CapabilityStatement as a plain value. date: FHIR dateTime. base_url: "" in the published file, which describes no instance.

    cors: web origins may call this instance.
    """
    types = RESOURCE_TYPES if sandbox else DOSSIER_TYPES
    implementation = {"description": "fhir_dmp sandbox" if sandbox else "fhir_dmp"} | ({"url": base_url} if base_url else {})
    return {
        "resourceType": "CapabilityStatement",
        "url": CANONICAL,
        "version": __version__,
        "name": "FhirDmp",
        "title": "fhir_dmp: FHIR R4 server of the Dossier Médical Partagé",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": {"name": "fhir_dmp", "version": __version__},
        "implementation": implementation,
        "fhirVersion": "4.0.1",
        "format": ["json", FHIR_JSON],
        "patchFormat": [JSON_PATCH, FHIR_JSON],
        "rest": [
            {
                "mode": "server",
                "security": _security(base_url, cors),
                "resource": [_resource(name) for name in types],
                "interaction": [{"code": code} for code in SYSTEM],
                "searchParam": [_parameter(p) for p in parameters("Basic").values() if p.code.startswith("_")],
                "operation": operations.declared(None),
            }
        ],
    }


def _security(base_url: str, cors: bool) -> dict:
    service = {"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}
    said = "A bearer token in each request; every disclosure is decided by the rules of the dossier."
    return {"cors": cors, "service": [{"coding": [service]}], "description": said} if base_url else {"description": said}


def _resource(type_name: str) -> dict:
    known, writes = parameters(type_name), written(type_name)
    references = [f"{type_name}:{p.code}" for p in known.values() if p.type == "reference"]
    supported, referring = profiles_for(type_name), _referring()[type_name]
    listed = {
        "type": type_name,
        **({"supportedProfile": list(supported)} if supported else {}),
        "interaction": [{"code": code} for code in interactions(type_name)],
        "versioning": "versioned-update" if writes else "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": writes,
        "conditionalRead": "full-support" if steady(type_name) else "not-supported",
        "conditionalUpdate": writes,
        "conditionalDelete": "single" if writes else "not-supported",
        "referencePolicy": ["literal", "logical", "local"],
        "searchInclude": ["*", *references],
        **({"searchRevInclude": list(referring)} if referring else {}),
        "searchParam": [_parameter(p) for p in known.values()],
    }
    return listed | {"operation": operations.declared(type_name)}


@cache
def _referring() -> dict[str, tuple[str, ...]]:
    """Type -> search parameters by which resources of a dossier name it, e.g. "Provenance:target"."""
    found: dict[str, list[str]] = {name: [] for name in RESOURCE_TYPES}
    for source in DOSSIER_TYPES:
        for parameter in parameters(source).values():
            for target in parameter.targets if parameter.type == "reference" else ():
                found[target].append(f"{source}:{parameter.code}")
    return {name: tuple(listed) for name, listed in found.items()}


def written(type_name: str) -> bool:
    """Whether anybody but the server writes a type: of those of a dossier nobody what neither belongs to one nor to the directory.

    Notices are the server's own. The same is declared in a sandbox, whose `system` tokens also write what is else only read.
    """
    if type_name not in DOSSIER_TYPES or type_name in PUBLIC:
        return True
    return type_name not in KEPT | {NOTICE} and facts.belongs(type_name)


def steady(type_name: str) -> bool:
    """Whether a read may be answered 304, see read.steady: of what may lead to something hidden nobody is told that it is as he had it.

    Of a Binary its octets are. The same is declared in a sandbox, whose `system` tokens are answered so of every type.
    """
    return type_name not in DOSSIER_TYPES or type_name in PUBLIC or type_name == "Binary"


def interactions(type_name: str) -> list[str]:
    """Codes of the interactions a type has."""
    return [code for code in (*INSTANCE, *TYPE) if code not in WRITING or written(type_name)]


def _parameter(parameter: Parameter) -> dict:
    return {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
