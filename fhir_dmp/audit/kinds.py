"""What a trace may tell of: for each interaction and act the codes of its AuditEvent.

IHE BALP https://profiles.ihe.net/ITI/BALP/ ; DICOM audit codes https://dicom.nema.org/medical/dicom/current/output/chtml/part16/chapter_D.html
"""

from typing import NamedTuple

DCM = "http://dicom.nema.org/resources/ontology/DCM"
EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
PROVENANCE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
# Of the decision profile of BALP.
AUTHZ = "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType"
ACTS = "https://fhir-dmp.example.org/fhir/CodeSystem/dmp-audit-act"
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."

Coding = tuple[str, str, str]  # system, code, display

APPLICATION = (DCM, "110150", "Application")
DESTINATION = (DCM, "110152", "Destination Role ID")
SOURCE = (DCM, "110153", "Source Role ID")
CUSTODIAN = (PROVENANCE, "custodian", "Custodian")
ALERT = (DCM, "110113", "Security Alert")
REST = (EVENT_TYPE, "rest", "RESTful Operation")


class Kind(NamedTuple):
    """Codes of one kind of trace. action: C R U D E. client, server: types of the two machine agents.

    profile: last part of the BALP profile ("" for none), which a success follows; data: how many data entities that profile has.
    """

    type: Coding
    subtypes: tuple[Coding, ...]
    action: str
    client: Coding
    server: Coding
    profile: str = ""
    data: int | None = None


def _rest(code: str, action: str, client: Coding, server: Coding, profile: str = "", data: int | None = None) -> Kind:
    return Kind(REST, ((INTERACTION, code, code),), action, client, server, profile, data)


KINDS: dict[str, Kind] = {
    **{code: _rest(code, "R", DESTINATION, SOURCE, "Read", 1) for code in ("read", "vread")},
    **{code: _rest(code, "R", DESTINATION, SOURCE) for code in ("history", "history-instance", "history-type", "history-system")},
    **{code: _rest(code, "E", SOURCE, DESTINATION, "Query") for code in ("search", "search-type", "search-system")},
    "create": _rest("create", "C", SOURCE, DESTINATION, "Create", 1),
    **{code: _rest(code, "U", SOURCE, DESTINATION, "Update", 1) for code in ("update", "patch")},
    "delete": _rest("delete", "D", APPLICATION, CUSTODIAN, "Delete", 1),
    **{code: _rest(code, "E", SOURCE, DESTINATION) for code in ("operation", "batch", "transaction", "capabilities")},
    # The decision that refused it; what was asked is told by the query entity and the reason.
    "refusal": Kind(ALERT, ((AUTHZ, "AuthZ-Consent", "Authorization Decision using Roles and Consent"),), "E", APPLICATION, SOURCE),
    "break-glass": Kind(
        ALERT,
        ((DCM, "110127", "Emergency Override Started"), (AUTHZ, "AuthZ-Consent", "Authorization Decision using Roles and Consent")),
        "E",
        APPLICATION,
        SOURCE,
    ),
    "login": Kind((DCM, "110114", "User Authentication"), ((DCM, "110122", "Login"),), "E", APPLICATION, DESTINATION),
    "logout": Kind((DCM, "110114", "User Authentication"), ((DCM, "110123", "Logout"),), "E", APPLICATION, DESTINATION),
    # Acts about rights, beside the interaction that carries them.
    "consent": Kind(REST, ((INTERACTION, "update", "update"), (ACTS, "consent", "Act about rights")), "U", SOURCE, DESTINATION),
    "mask": Kind(REST, ((INTERACTION, "patch", "patch"), (ACTS, "mask", "Masking")), "U", SOURCE, DESTINATION, "Update", 1),
    "unmask": Kind(REST, ((INTERACTION, "patch", "patch"), (ACTS, "unmask", "Unmasking")), "U", SOURCE, DESTINATION, "Update", 1),
    "import": Kind((DCM, "110107", "Import"), ((LIFECYCLE, "receive", "Receive/Retain Record Lifecycle Event"),), "C", SOURCE, DESTINATION),
    "export": Kind((DCM, "110106", "Export"), ((LIFECYCLE, "disclose", "Disclose Record Lifecycle Event"),), "R", DESTINATION, SOURCE),
    "key": Kind((DCM, "110100", "Application Activity"), ((ACTS, "key", "Act about a key"),), "E", APPLICATION, CUSTODIAN),
    "backup": Kind((DCM, "110100", "Application Activity"), ((ACTS, "backup", "Backup"),), "R", APPLICATION, CUSTODIAN),
    "restore": Kind((DCM, "110100", "Application Activity"), ((ACTS, "restore", "Restore"),), "C", APPLICATION, CUSTODIAN),
    "erasure": Kind((DCM, "110100", "Application Activity"), ((ACTS, "erasure", "Destruction of a dossier"),), "D", APPLICATION, CUSTODIAN),
}
