"""What the TestScripts are made of: documents, submissions and rights with slots for values, requests and assertions.

https://hl7.org/fhir/R4/testscript.html ; https://interop.esante.gouv.fr/ig/fhir/pdsm/
"""

import base64
import hashlib
import json

CANONICAL = "https://fhir-dmp.example.org/fhir"
TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
JSON_PATCH = "application/json-patch+json"
LOINC = "http://loinc.org"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
URI = "urn:ietf:rfc:3986"
NOS = "https://mos.esante.gouv.fr/NOS"
VISIBILITY = f"{NOS}/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"
ARCHIVED = "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived"
MHD = "https://profiles.ihe.net/ITI/MHD"
SUBMISSION = f"{MHD}/CodeSystem/MHDlistTypes"
PEOPLE = ("a physician who deposits", "the holder of the dossier", "a physician the patient does not know")
DOCTOR, HOLDER, STRANGER = 1, 2, 3
TEXT = "Compte rendu d'essai"


def translated(name: str, en: str, fr: str) -> dict:
    said = [{"url": "lang", "valueCode": "fr"}, {"url": "content", "valueString": fr}]
    return {name: en, f"_{name}": {"extension": [{"extension": said, "url": TRANSLATION}]}}


def concept(system: str, code: str) -> dict:
    return {"coding": [{"system": system, "code": code}]}


# ---- fixtures


def author() -> dict:
    return {
        "resourceType": "Practitioner",
        "id": "author",
        "identifier": [{"system": IDNPS, "value": "${idnps1}"}],
        "name": [{"family": "ESSAI"}],
    }


def document(master: str, labels: tuple[str, ...] = (), replaces: str = "", url: str = "") -> dict:
    """An entry; with its content inside when it has no url."""
    content = TEXT.encode()
    attachment = {"contentType": "text/plain", "language": "fr-FR"}
    if url:
        attachment |= {"url": url, "size": len(content), "hash": base64.b64encode(hashlib.sha1(content).digest()).decode()}
    else:
        attachment |= {"data": base64.b64encode(content).decode()}
    attachment |= {"title": TEXT, "creation": "2026-11-20T09:30:00+01:00"}
    source = {
        "resourceType": "Patient",
        "id": "source",
        "identifier": [{"system": "urn:${ins-urn}", "value": "${ins}"}],
        "name": [{"use": "official", "family": "ESSAI", "given": ["Camille"]}],
        "gender": "female",
        "birthDate": "1979-03-15",
    }
    made = {
        "resourceType": "DocumentReference",
        **({"contained": [author(), source]} if url else {}),
        "masterIdentifier": {"system": URI, "value": f"urn:uuid:${{run}}-{master}"},
        "status": "current",
        "type": concept(LOINC, "11488-4"),
        "category": [concept(f"{NOS}/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument", "10")],
        "subject": {"reference": "Patient/${patient}"},
        "date": "2026-11-20T09:30:00+01:00",
        # A fixture is contained in its script, and what is contained contains nothing: the author is told by identifier.
        "author": [{"reference": "#author"} if url else {"type": "Practitioner", "identifier": {"system": IDNPS, "value": "${idnps1}"}}],
        "custodian": {"identifier": {"system": "https://finess.esante.gouv.fr", "value": "750000001"}},
        "description": TEXT,
        "securityLabel": [
            concept(f"{NOS}/TRE_A08-HL7Confidentiality/FHIR/TRE-A08-HL7Confidentiality", "N"),
            *(concept(VISIBILITY, one) for one in labels),
        ],
        "content": [{"attachment": attachment}],
    }
    if replaces:
        made["relatesTo"] = [{"code": "replaces", "target": {"reference": replaces}}]
    if url:
        made["content"][0]["format"] = {
            "system": f"{NOS}/TRE_A11-IheFormatCode/FHIR/TRE-A11-IheFormatCode",
            "code": "urn:ihe:iti:xds-sd:text:2008",
        }
        made["context"] = {
            "period": {"start": "2026-11-20T09:30:00+01:00"},
            "facilityType": concept(f"{NOS}/TRE_R02-SecteurActivite/FHIR/TRE-R02-SecteurActivite", "SA07"),
            "practiceSetting": concept(f"{NOS}/TRE_A01-CadreExercice/FHIR/TRE-A01-CadreExercice", "AMBULATOIRE"),
            "sourcePatientInfo": {"reference": "#source"},
        }
    return made


def submission(master: str, replaces: str = "") -> dict:
    """A deposit by ITI-65; with the PATCH of what it replaces."""
    names = [f"urn:uuid:6a1c2d3e-0000-4000-8000-00000000000{digit}" for digit in (1, 2, 3)]
    listed = {
        "resourceType": "List",
        "contained": [author()],
        "extension": [
            {"url": f"{MHD}/StructureDefinition/ihe-designationType", "valueCodeableConcept": concept("urn:oid:1.2.250.1.213.2.2", "07")},
            {
                "url": f"{MHD}/StructureDefinition/ihe-sourceId",
                "valueIdentifier": {"system": URI, "value": "urn:oid:1.2.250.1.999.1.1.8121"},
            },
        ],
        "identifier": [{"use": "usual", "system": URI, "value": f"urn:uuid:${{run}}-{master}-set"}],
        "status": "current",
        "mode": "working",
        "title": TEXT,
        "code": concept(SUBMISSION, "submissionset"),
        "subject": {"reference": "Patient/${patient}"},
        "date": "2026-11-20T12:00:00+01:00",
        "source": {"reference": "#author"},
        "entry": [{"item": {"reference": names[1]}}],
    }
    content = {"resourceType": "Binary", "contentType": "text/plain", "data": base64.b64encode(TEXT.encode()).decode()}
    resources = (listed, document(master, url=names[2], replaces=replaces), content)
    entries = [
        {"fullUrl": name, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for name, one in zip(names, resources, strict=True)
    ]
    if replaces:
        part = [
            {"name": "type", "valueCode": "replace"},
            {"name": "path", "valueString": "DocumentReference.status"},
            {"name": "value", "valueCode": "superseded"},
        ]
        patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": part}]}
        entries.append({"resource": patch, "request": {"method": "PATCH", "url": replaces}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def consent(category: str, kind: str, whom: str = "", purpose: str = "") -> dict:
    """A right that the holder writes."""
    provision: dict = {"type": kind}
    if whom:
        role = concept("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")
        provision["actor"] = [{"role": role, "reference": {"identifier": {"system": IDNPS, "value": whom}}}]
    if purpose:
        provision["purpose"] = [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": purpose}]
    if category == "access":
        provision["period"] = {"start": "2026-01-01"}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [concept(LOINC, "59284-0"), concept(f"{CANONICAL}/CodeSystem/dmp-consent-category", category)],
        "patient": {"reference": "Patient/${patient}"},
        "dateTime": "2026-11-20T09:30:00+01:00",
        "performer": [{"reference": "Patient/${patient}"}],
        "organization": [{"display": "DMP"}],
        "policy": [{"uri": "https://www.legifrance.gouv.fr/codes/id/LEGIARTI000038887183"}],
        "provision": provision,
    }


def parameters(**values: dict) -> dict:
    return {"resourceType": "Parameters", "parameter": [{"name": name} | value for name, value in values.items()]}


def carried(value: object, kind: str = "application/fhir+json") -> dict:
    """What is no valid resource, in a Binary since a fixture is a resource."""
    return {"resourceType": "Binary", "contentType": kind, "data": base64.b64encode(json.dumps(value).encode()).decode()}


def patch(*operations: dict) -> dict:
    """A JSON Patch."""
    return carried(list(operations), JSON_PATCH)


# ---- actions


def ask(
    what: str,
    who: int,
    code: str,
    resource: str = "",
    params: str = "",
    *,
    source: str = "",
    response: str = "",
    method: str = "",
    **more: str,
) -> dict:
    """One operation. who: 0 for nobody."""
    made: dict = {"type": {"system": "http://terminology.hl7.org/CodeSystem/testscript-operation-codes", "code": code}}
    made |= {"resource": resource} if resource else {}
    made |= {"description": what, "accept": more.get("accept", "application/fhir+json")}
    if source:
        made["contentType"] = more.get("content", "application/fhir+json")
    made |= {"destination": 1, "encodeRequestUrl": True}
    made |= {"method": method} if method else {}
    made |= {"origin": who or 1}
    made |= {"params": params} if params else {}
    if who:
        made["requestHeader"] = [{"field": "Authorization", "value": f"Bearer ${{token{who}}}"}]
    made |= {"responseId": response} if response else {}
    made |= {"sourceId": source} if source else {}
    return {"operation": made}


def status(*codes: int) -> dict:
    text = ",".join(map(str, codes))
    return {"assert": {"description": f"status {text}", "operator": "in", "responseCode": text, "warningOnly": False}}


def holds(what: str, expression: str) -> dict:
    return {"assert": {"description": what, "expression": expression, "warningOnly": False}}


def is_(what: str, expression: str, value: str, sign: str = "equals") -> dict:
    return {"assert": {"description": what, "expression": expression, "operator": sign, "value": value, "warningOnly": False}}


# ---- the frame


BASIC = ("token1", "token2", "token3", "idnps1", "idnps3", "ins-urn", "ins", "run")
HINTS = {
    "token1": f"token of {PEOPLE[0]}",
    "token2": f"token of {PEOPLE[1]}",
    "token3": f"token of {PEOPLE[2]}",
    "idnps1": "national identifier of the first physician, e.g. 810001234567",
    "idnps3": "national identifier of the second physician",
    "ins-urn": "system of the INS of the holder, after urn:",
    "ins": "INS of the holder",
    "run": "a UUID, new for each run",
}
DEFAULTS = {"ins-urn": "oid:1.2.250.1.213.1.4.10", "ins": "279035121518989"}
INS = "urn:${ins-urn}|${ins}"
FIND = ask("the dossier by the INS", DOCTOR, "search", "Patient", f"?identifier={INS}", response="button")
PATIENT = {"name": "patient", "expression": "Bundle.entry[0].resource.id", "sourceId": "button"}
LOCATED = {"name": "document", "expression": "DocumentReference.id", "sourceId": "deposited"}
DEPOSIT = (ask("a document is deposited", DOCTOR, "create", "DocumentReference", source="document", response="deposited"), status(201))
SETUP = (FIND, status(200), is_("the dossier exists", "Bundle.total", "1"))
MINE = "&identifier=urn:ietf:rfc:3986|urn:uuid:${run}-"


def script(
    id: str,
    en: str,
    fr: str,
    about: tuple[str, str],
    tests: list[tuple],
    *,
    fixtures: dict | None = None,
    variables: tuple = (),
    setup: tuple = SETUP,
) -> dict:
    """One TestScript. tests: (name, *actions)."""
    fixtures = fixtures or {}
    return {
        "resourceType": "TestScript",
        "id": f"dmp-{id}",
        "language": "en",
        "contained": [{**one, "id": name} for name, one in fixtures.items()],
        "url": f"{CANONICAL}/TestScript/dmp-{id}",
        "version": "0.1.0",
        "name": "Dmp" + "".join(part.capitalize() for part in id.split("-")),
        **translated("title", en, fr),
        "status": "active",
        "experimental": False,
        "date": "2026-11-22",
        "publisher": "fhir_dmp",
        **translated("description", *about),
        "jurisdiction": [concept("urn:iso:std:iso:3166", "FR")],
        "origin": [
            {
                "index": number,
                "profile": {"system": "http://terminology.hl7.org/CodeSystem/testscript-profile-origin-types", "code": "FHIR-Client"},
            }
            for number in (DOCTOR, HOLDER, STRANGER)
        ],
        "destination": [
            {
                "index": 1,
                "profile": {"system": "http://terminology.hl7.org/CodeSystem/testscript-profile-destination-types", "code": "FHIR-Server"},
            }
        ],
        **(
            {
                "fixture": [
                    {"id": name, "autocreate": False, "autodelete": False, "resource": {"reference": f"#{name}"}} for name in fixtures
                ]
            }
            if fixtures
            else {}
        ),
        "variable": [
            *({"name": name} | ({"defaultValue": DEFAULTS[name]} if name in DEFAULTS else {}) | {"hint": HINTS[name]} for name in BASIC),
            *([PATIENT] if setup else []),
            *variables,
        ],
        **({"setup": {"action": list(setup)}} if setup else {}),
        "test": [{"name": name, "action": list(actions)} for name, *actions in tests],
    }
