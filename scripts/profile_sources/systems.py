"""Addresses of code and identifier systems, and small values made of them.

Sources: the tables of profiles/ and the published guides of ANS, HL7 France and IHE, by address only.
"""

from scripts.profile_sources.making import CANONICAL

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
NOS = "https://mos.esante.gouv.fr/NOS/"
TRE_A00 = NOS + "TRE_A00-ProducteurDocNonPS/FHIR/TRE-A00-ProducteurDocNonPS"
TRE_A01 = NOS + "TRE_A01-CadreExercice/FHIR/TRE-A01-CadreExercice"
TRE_A03 = NOS + "TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
TRE_A05 = NOS + "TRE_A05-TypeDocComplementaire/FHIR/TRE-A05-TypeDocComplementaire"
TRE_A07 = NOS + "TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
TRE_A07_SEEN = NOS + "TRE_A07-StatusVisibiliteDocument/FHIR/TRE-A07-StatusVisibiliteDocument"
TRE_A08 = NOS + "TRE_A08-HL7Confidentiality/FHIR/TRE-A08-HL7Confidentiality"
TRE_A11 = NOS + "TRE_A11-IheFormatCode/FHIR/TRE-A11-IheFormatCode"
TRE_G15 = NOS + "TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante"
TRE_R02 = NOS + "TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite"
TRE_R09 = NOS + "TRE_R09-CategorieProfessionnelle/FHIR/TRE-R09-CategorieProfessionnelle"
TRE_R13 = NOS + "TRE_R13-CommuneOM/FHIR/TRE-R13-CommuneOM"
TRE_R22 = NOS + "TRE_R22-GenreActivite/FHIR/TRE-R22-GenreActivite"
TRE_R23 = NOS + "TRE_R23-ModeExercice/FHIR/TRE-R23-ModeExercice"
TRE_R38 = NOS + "TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
ROLE_CLASS = "http://terminology.hl7.org/CodeSystem/v3-RoleClass"
FUNCTION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationFunction"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
MHD_LIST = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/"
PDSM = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/"
FR_CORE = "https://hl7.fr/ig/fhir/core/StructureDefinition/"
FR_0203 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
FR_0445 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
AUDIT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
CUSTODIAN = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
PROVENANCE_PARTICIPANT = CUSTODIAN
BALP_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
SIGNATURE_TYPE = "urn:iso-astm:E1762-95:2013"

RFC3986 = "urn:ietf:rfc:3986"
INS_NIR = "urn:oid:1.2.250.1.213.1.4.8"
INS_NIA = "urn:oid:1.2.250.1.213.1.4.9"
INS_TEST = "urn:oid:1.2.250.1.213.1.4.10"
INS_DEMO = "urn:oid:1.2.250.1.213.1.4.11"
INS_C = "urn:oid:1.2.250.1.213.1.4.2"
NIS = "urn:dmp:nis"
RPPS = "https://rpps.esante.gouv.fr"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
FINESS = "https://finess.esante.gouv.fr"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
SIRENE = "https://sirene.fr"
RPPS_RANK = "https://rppsrang.esante.gouv.fr"

CATEGORY = CANONICAL + "CodeSystem/dmp-consent-category"
AUDIT_ACT = CANONICAL + "CodeSystem/dmp-audit-act"
ACTOR_KIND = CANONICAL + "CodeSystem/dmp-actor-kind"
NOTICE = CANONICAL + "CodeSystem/dmp-notice"
PROOF_LEVEL = CANONICAL + "CodeSystem/dmp-proof-level"


def coding(system: str, code: str, display: str = "") -> dict:
    return {"system": system, "code": code} | ({"display": display} if display else {})


def concept(system: str, code: str, display: str = "") -> dict:
    return {"coding": [coding(system, code, display)]}
