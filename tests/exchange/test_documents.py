"""CDA documents and IHE XDM archives: what their headers say becomes a DocumentReference, and the document stays as it came."""

import base64
import io
import zipfile

import pytest

from fhir_dmp.dmp.identity import IDNPS, INS_NIR_TEST, is_qualified
from fhir_dmp.dmp.spaces import PROFILES
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import cda, mapping, xdm, xml
from fhir_dmp.exchange.described import SYSTEMS
from fhir_dmp.exchange.inputs import Input, items
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir import json
from fhir_dmp.fhir.schema import validate

INS_OID = "1.2.250.1.213.1.4.10"
CDA = """<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <!-- a comment -->
  <realmCode code="FR"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <id root="1.2.250.1.999.7" extension="{number}"/>
  <code code="11488-4" codeSystem="2.16.840.1.113883.6.1" displayName="CR ou fiche de consultation ou de visite"/>
  <title>Compte rendu de
     consultation</title>
  <effectiveTime value="20240612100000+0200"/>
  <confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>
  <confidentialityCode code="MASQUE_PS" codeSystem="1.2.250.1.213.1.1.4.13"/>
  <languageCode code="fr-FR"/>
  <recordTarget><patientRole>
    <id root="{oid}" extension="{ins}"/><id root="1.2.250.1.999.1" extension="IPP-1"/>
    <patient><name><family qualifier="SP">MAZURIER</family><family qualifier="BR">QUATREMERE</family><given>Solange</given></name>
      <administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/><birthTime value="{birth}"/></patient>
  </patientRole></recordTarget>
  <author><time value="20240612"/><assignedAuthor><id root="1.2.250.1.71.4.2.1" extension="810001234567"/>
    <assignedPerson><name><given>Barnabé</given> <family>LESTRELIN</family></name></assignedPerson></assignedAuthor></author>
  <custodian><assignedCustodian><representedCustodianOrganization><id root="1.2.250.1.71.4.2.2" extension="1750000001"/><name>Cabinet</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
  <documentationOf><serviceEvent><effectiveTime><low value="20240612"/></effectiveTime></serviceEvent></documentationOf>
  {replaces}
  <component><nonXMLBody><text mediaType="text/plain">x</text></nonXMLBody></component>
</ClinicalDocument>
"""
REPLACES = '<relatedDocument typeCode="RPLC"><parentDocument><id root="1.2.250.1.999.7" extension="{}"/></parentDocument></relatedDocument>'


def document(number: str = "1", replaces: str = "", ins: str = "260058815400233", birth: str = "19600512") -> bytes:
    """A CDA document. replaces: number of another one."""
    return CDA.format(number=number, oid=INS_OID, ins=ins, birth=birth, replaces=REPLACES.format(replaces) if replaces else "").encode()


def test_the_header_of_a_cda_document_becomes_a_document_reference():
    body = document(replaces="0")
    patient, reference, binary = cda.described(body).resources()
    for resource in (patient, reference, binary):
        assert validate(json.parse(json.dump(resource))) == []
    assert patient["identifier"][0] == {"system": INS_NIR_TEST, "value": "260058815400233"}
    assert is_qualified(patient) and patient["name"] == [{"use": "official", "family": "QUATREMERE", "given": ["Solange"]}]
    assert (patient["gender"], patient["birthDate"]) == ("female", "1960-05-12")
    assert reference["masterIdentifier"] == {"system": "urn:oid:1.2.250.1.999.7", "value": "1"}
    assert reference["type"]["coding"][0]["system"] == "http://loinc.org" and reference["date"] == "2024-06-12T10:00:00+02:00"
    assert reference["author"] == [
        {"type": "Practitioner", "identifier": {"system": IDNPS, "value": "810001234567"}, "display": "Barnabé LESTRELIN"}
    ]
    assert [label["coding"][0]["code"] for label in reference["securityLabel"]] == ["N", "MASQUE_PS"]
    assert reference["relatesTo"][0]["target"]["reference"] == "DocumentReference?identifier=urn:oid:1.2.250.1.999.7|0"
    assert reference["content"][0]["attachment"]["title"] == "Compte rendu de consultation"
    assert base64.b64decode(binary["data"]) == body and reference["content"][0]["attachment"]["url"] == f"Binary/{binary['id']}"


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    b'<ClinicalDocument xmlns="urn:hl7-org:v3">&b;</ClinicalDocument>'
)
FILE = (
    b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><ClinicalDocument xmlns="urn:hl7-org:v3"><title>&f;</title></ClinicalDocument>'
)
LATE = b"<!--" + b" " * 100_000 + b"-->" + LAUGHS.partition(b"?>")[2]


@pytest.mark.parametrize(
    "body",
    [LAUGHS, FILE, LATE, b"<a>" * 5000 + b"</a>" * 5000, b"<ClinicalDocument", b"<html/>", b"<?xml version='1.0' encoding='x'?><a/>"],
    ids=["entities", "file", "late doctype", "deep", "broken", "other", "encoding"],
)
def test_hostile_xml_is_refused(body):
    with pytest.raises(FhirError) as refusal:
        cda.described(body)
    assert refusal.value.status in (400, 422) and "root:" not in refusal.value.message


def test_a_document_about_nobody_or_without_an_id_is_refused():
    for broken in (
        document().replace(b"<recordTarget>", b"<other>").replace(b"</recordTarget>", b"</other>"),
        document().replace(b"<id root", b"<no root"),
    ):
        with pytest.raises(FhirError):
            cda.described(broken).resources()


SCHEMES = {"type": xdm.TYPE, "class": xdm.CLASS, "format": xdm.FORMAT, "confidentiality": xdm.CONFIDENTIALITY, "practice": xdm.PRACTICE}
OBJECT = """<ExtrinsicObject id="{id}" mimeType="{mime}" objectType="urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1">
 <Slot name="URI"><ValueList><Value>{uri}</Value></ValueList></Slot>
 <Slot name="creationTime"><ValueList><Value>20240612083000</Value></ValueList></Slot>
 <Slot name="languageCode"><ValueList><Value>fr-FR</Value></ValueList></Slot>
 <Slot name="sourcePatientId"><ValueList><Value>IPP-1^^^&amp;1.2.250.1.999.1&amp;ISO^PI</Value></ValueList></Slot>
 <Slot name="sourcePatientInfo"><ValueList><Value>PID-5|QUATREMERE^Solange^^^^^L</Value><Value>PID-7|19600512</Value>
  <Value>PID-8|F</Value></ValueList></Slot>
 <Name><LocalizedString value="{title}"/></Name>{codes}
 <Classification classificationScheme="urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d" classifiedObject="{id}">
  <Slot name="authorPerson"><ValueList><Value>{author}</Value></ValueList></Slot>
 </Classification>
 <ExternalIdentifier identificationScheme="urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427" value="260058815400233^^^&amp;{oid}&amp;ISO^NH"/>
 <ExternalIdentifier identificationScheme="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab" value="{unique}"/>
</ExtrinsicObject>"""
AUTHOR = "810001234567^LESTRELIN^Barnabé^^^^^^&amp;1.2.250.1.71.4.2.1&amp;ISO^D^^^IDNPS"
CODE = """<Classification classificationScheme="{scheme}" classifiedObject="{id}" nodeRepresentation="{code}">
 <Slot name="codingScheme"><ValueList><Value>{system}</Value></ValueList></Slot>
 <Name><LocalizedString value="{display}"/></Name></Classification>"""


def described(id: str, uri: str, unique: str, mime: str = "application/pdf") -> str:
    codes = (
        ("type", "11502-2", "2.16.840.1.113883.6.1", "CR d'examens biologiques"),
        ("class", "10", "1.2.250.1.213.1.1.4.1", "Compte rendu"),
        ("confidentiality", "N", "2.16.840.1.113883.5.25", "Normal"),
        ("practice", "AMBULATOIRE", "1.2.250.1.213.1.1.4.9", "Ambulatoire"),
    )
    told = "".join(
        CODE.format(scheme=SCHEMES[name], id=id, code=code, system=system, display=display) for name, code, system, display in codes
    )
    return OBJECT.format(id=id, uri=uri, unique=unique, mime=mime, title=f"Document {id}", codes=told, oid=INS_OID, author=AUTHOR)


def archive(ins: str = "260058815400233", birth: str = "19600512", **members: bytes) -> bytes:
    """An XDM archive of two documents, one replacing the other, and of one that is missing. ins, birth: of the person."""
    objects = (
        described("d1", "DOC1.PDF", "1.2.250.1.999.8.1")
        + described("d2", "DOC2.PDF", "1.2.250.1.999.8^2")
        + described("d3", "NONE.PDF", "1.2.3")
    )
    association = '<Association associationType="urn:ihe:iti:2007:AssociationType:RPLC" sourceObject="d2" targetObject="d1"/>'
    metadata = (
        '<lcm:SubmitObjectsRequest xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"'
        ' xmlns="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0">'
        f"<RegistryObjectList>{objects}{association}</RegistryObjectList></lcm:SubmitObjectsRequest>"
    )
    metadata = metadata.replace("260058815400233", ins).replace("19600512", birth)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("INDEX.HTM", "<html/>")
        writer.writestr("IHE_XDM/SUBSET01/METADATA.XML", metadata)
        writer.writestr("IHE_XDM/SUBSET01/DOC1.PDF", b"%PDF-1.4 one")
        writer.writestr("IHE_XDM/SUBSET01/DOC2.PDF", members.get("second", b"%PDF-1.4 two"))
    return buffer.getvalue()


def read(tmp_path, data: bytes) -> list:
    path = tmp_path / "lot.zip"
    path.write_bytes(data)
    return list(items(Input("lot.zip", path)))


def test_an_xdm_archive_is_read_document_by_document(tmp_path):
    first, second, third = read(tmp_path, archive())
    assert first.place == "lot.zip!IHE_XDM/SUBSET01/DOC1.PDF" and third.fault.status == 404
    patient, reference, binary = (entry["resource"] for entry in json.parse(first.body)["entry"])
    for resource in (patient, reference, binary):
        assert validate(resource) == []
    assert {one["value"] for one in patient["identifier"]} == {"260058815400233", "IPP-1"}
    assert (patient["name"][0]["family"], patient["birthDate"], patient["gender"]) == ("QUATREMERE", "1960-05-12", "female")
    assert reference["masterIdentifier"] == {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2.250.1.999.8.1"}
    assert reference["type"]["coding"][0]["code"] == "11502-2" and reference["author"][0]["identifier"]["value"] == "810001234567"
    assert reference["date"] == "2024-06-12T08:30:00+02:00"  # in Paris
    setting = reference["context"]["practiceSetting"]["coding"][0]
    assert (setting["system"], setting["code"]) == (
        "https://mos.esante.gouv.fr/NOS/TRE_A01-CadreExercice/FHIR/TRE-A01-CadreExercice",
        "AMBULATOIRE",
    )
    assert base64.b64decode(binary["data"]) == b"%PDF-1.4 one" and binary["contentType"] == "application/pdf"
    replacing = json.parse(second.body)["entry"][1]["resource"]
    assert replacing["relatesTo"][0]["target"]["reference"] == "DocumentReference?identifier=urn:ietf:rfc:3986|urn:oid:1.2.250.1.999.8.1"
    # The same person in both documents.
    assert json.parse(second.body)["entry"][0]["resource"]["id"] == patient["id"]


@pytest.mark.parametrize("name", ["type", "class", "practice-setting", "facility-type", "author-specialty"])
def test_every_system_of_the_codes_of_documents_is_known_by_its_oid(name):
    """Else what practice software exports would wait for somebody to map what needs no mapping."""
    listed = "dmp-document-" if name in ("type", "class") else "dmp-"
    value = json.parse((PROFILES / f"ValueSet-{listed}{name}.json").read_bytes())
    systems = {one["system"] for one in value["compose"]["include"]}
    assert systems - set(SYSTEMS.values()) <= {"https://mos.esante.gouv.fr/NOS/TRE_A10-NomenclatureURN/FHIR/TRE-A10-NomenclatureURN"}


def test_a_code_under_the_oid_of_its_system_needs_no_mapping():
    """As JSON of practice software has it, type and place likewise; what it says itself stays."""
    said = {
        "type": {"coding": [{"system": "urn:oid:1.2.250.1.213.1.1.4.12", "code": "SYNTH", "display": "Synthèse"}]},
        "context": {"facilityType": {"coding": [{"system": "urn:oid:1.2.250.1.71.4.2.4", "code": "SA07"}]}},
    }
    told, unknown = mapping.mapped(said, Rules(source="x"))
    assert unknown == [] and told["type"] == said["type"]  # which is known by either name
    listed = told["context"]["facilityType"]["coding"]
    assert listed[1:] == said["context"]["facilityType"]["coding"]
    assert listed[0] == {"system": "https://mos.esante.gouv.fr/NOS/TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite", "code": "SA07"}
    _, unknown = mapping.mapped({"type": {"coding": [{"system": "urn:oid:1.2.250.1.213.1.1.4.12", "code": "NONE"}]}}, Rules(source="x"))
    assert [one.local for one in unknown] == ["urn:oid:1.2.250.1.213.1.1.4.12|NONE"]


def test_a_bomb_in_an_archive_is_refused_and_the_rest_is_read(tmp_path):
    first, second, _ = read(tmp_path, archive(second=bytes(8 * 1024 * 1024)))
    assert first.fault is None and second.fault.status == 413


def test_xml_within_bounds_only():
    with pytest.raises(FhirError) as refusal:
        xml.parse(b"<a>" + b" " * xml.LARGEST + b"</a>")
    assert refusal.value.status == 413
