"""CDA R2 documents: their header as a DocumentReference, the document itself as it came.

https://www.hl7.org/implement/standards/product_brief.cfm?product_id=7 ; https://esante.gouv.fr/volet-structuration-minimale-de-documents-de-sante
"""

from lxml import etree

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import xml
from fhir_dmp.exchange.described import GENDERS, Coded, Described, Person, date_of, identifier_of, professional_of, structure_of, system_of

NS = {"c": "urn:hl7-org:v3"}
ROOT = "{urn:hl7-org:v3}ClinicalDocument"
CONTENT_TYPE = "text/xml"


def described(body: bytes) -> Described:
    """What the header says."""
    root = xml.parse(body)
    if root.tag != ROOT:
        raise FhirError("not-supported", "an XML file is read when it is a CDA document")
    own = root.find("c:id", NS)
    if own is None or not own.get("root"):
        raise FhirError("unprocessable", "the document has no id", "ClinicalDocument.id")
    found = Described(master=_identifier(own), content=body, content_type=CONTENT_TYPE)
    _person(root, found)
    found.type = _coded(root.find("c:code", NS))
    found.title = xml.text(root.find("c:title", NS))
    found.language = _value(root, "c:languageCode", "code")
    found.date = date_of(_value(root, "c:effectiveTime"))
    found.labels = [label for one in root.findall("c:confidentialityCode", NS) if (label := _coded(one))]
    found.authors = [_author(one) for one in root.findall("c:author/c:assignedAuthor", NS)]
    signed = root.find("c:legalAuthenticator/c:assignedEntity", NS)
    found.authenticator = None if signed is None else _author(signed)
    kept = root.find("c:custodian/c:assignedCustodian/c:representedCustodianOrganization", NS)
    if kept is not None and (id := kept.find("c:id", NS)) is not None:
        found.custodian = structure_of(id.get("root", ""), id.get("extension", ""), xml.text(kept.find("c:name", NS)))
    _service(root, found)
    for one in root.findall("c:relatedDocument[@typeCode='RPLC']/c:parentDocument/c:id", NS):
        found.replaces.append(_identifier(one))
    return found


def _person(root: etree._Element, found: Described) -> None:
    roles = root.findall("c:recordTarget/c:patientRole", NS)
    if len(roles) != 1:
        raise FhirError("unprocessable", f"a document is about one person, this one about {len(roles)}", "ClinicalDocument.recordTarget")
    (role,) = roles
    found.identifiers = [(f"urn:oid:{one.get('root')}", one.get("extension")) for one in role.findall("c:id", NS) if one.get("extension")]
    patient = role.find("c:patient", NS)
    if patient is None:
        return
    names = patient.findall("c:name/c:family", NS)
    birth = [one for one in names if "BR" in one.get("qualifier", "").split()]
    found.family = [said for one in birth or names if (said := xml.text(one))]
    found.given = [said for one in patient.findall("c:name/c:given", NS) if (said := xml.text(one))]
    found.gender = GENDERS.get(_value(patient, "c:administrativeGenderCode", "code"), "")
    found.birth = date_of(_value(patient, "c:birthTime"))[:10]


def _service(root: etree._Element, found: Described) -> None:
    event = root.find("c:documentationOf/c:serviceEvent", NS)
    if event is not None:
        found.start = date_of(_value(event, "c:effectiveTime/c:low") or _value(event, "c:effectiveTime"))
        found.end = date_of(_value(event, "c:effectiveTime/c:high"))
        found.events = [coded] if (coded := _coded(event.find("c:code", NS))) else []
        where = "c:performer/c:assignedEntity/c:representedOrganization/c:standardIndustryClassCode"
        found.practice = _coded(event.find(where, NS))
    place = root.find("c:componentOf/c:encompassingEncounter/c:location/c:healthCareFacility/c:code", NS)
    found.facility = _coded(place)


def _author(entity: etree._Element) -> Person:
    id = entity.find("c:id", NS)
    named = entity.find("c:assignedPerson/c:name", NS)
    return professional_of("" if id is None else id.get("root", ""), "" if id is None else id.get("extension", ""), xml.text(named))


def _identifier(element: etree._Element) -> tuple[str, str]:
    return identifier_of(element.get("root", ""), element.get("extension", ""))


def _coded(element: etree._Element | None) -> Coded | None:
    if element is None or not element.get("code"):
        return None
    return Coded(element.get("code"), system_of(element.get("codeSystem", "")), element.get("displayName", ""))


def _value(element: etree._Element, path: str, attribute: str = "value") -> str:
    found = element.find(path, NS)
    return "" if found is None else found.get(attribute, "")
