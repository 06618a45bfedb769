"""Every interaction of the contract's section 4, as one asker sends it about one dossier: about what he sees and about what he does not.

https://hl7.org/fhir/R4/http.html
"""

import json
from collections.abc import Iterator

from tests.access import world as making
from tests.worlds import joining, lots, opening, people, sessions
from tests.worlds.histories import Document, Play
from tests.worlds.hosting import Call
from tests.worlds.opening import Dossier

PATCH = {"content-type": "application/json-patch+json"}
NOBODY = "a" * 26

# Searches of documents, after "DocumentReference?patient=…".
CRITERIA = (
    "",
    "&_summary=count",
    "&_total=none",
    "&_total=accurate&_count=2",
    "&_total=estimate",
    "&_count=1",
    "&_count=0",
    "&_count=1&_sort=description",
    "&_count=1&_sort=-description",
    "&_sort=date",
    "&_sort=type,-date&_count=2",
    "&_sort=_lastUpdated",
    "&_sort=author",
    "&_sort=status&_elements=type",
    "&_elements=description",
    "&_summary=true",
    "&_summary=text",
    "&_summary=data",
    "&_include=*",
    "&_include=DocumentReference:relatesto",
    "&_include:iterate=DocumentReference:relatesto&_include=DocumentReference:related",
    "&_include=DocumentReference:patient&_revinclude=List:item",
    "&_revinclude=*",
    "&_revinclude=List:item&_include:iterate=List:item",
    "&_revinclude=DocumentReference:relatesto&_revinclude=AuditEvent:entity&_revinclude=Provenance:target",
    "&status=superseded",
    "&status=current,superseded,entered-in-error",
    "&status=entered-in-error",
    "&status:not=current",
    f"&type={making.LOINC}|{people.REPORT}",
    f"&type={people.PSYCHIATRY}",
    f"&type:not={people.REPORT}",
    "&category=11",
    "&description:contains=compte",
    "&description=compte",
    "&security-label=N",
    "&security-label=MASQUE_PS",
    "&security-label:not=MASQUE_PS",
    "&security-label=INVISIBLE_PATIENT",
    "&security-label:not=INVISIBLE_REPRESENTANTS_LEGAUX",
    "&_security=MASQUE_PS",
    f"&security-label={people.VISIBILITY}|MASQUE_PS",
    "&security-label=MASQUE_PS,N",
    "&contenttype=text/plain",
    "&relatesto:missing=false",
    "&related:missing=false",
    "&relation=replaces",
    "&relation=appends",
    "&relatesto:DocumentReference.description:contains=compte",
    "&relatesto.status=current",
    "&related:DocumentReference.type=75496-0",
    "&_has:List:item:status=current",
    "&_has:List:item:title=lot",
    "&_has:DocumentReference:relatesto:status=current",
    "&_has:DocumentReference:relatesto:_has:DocumentReference:relatesto:status=current",
    "&_has:AuditEvent:entity:action=R",
    "&_has:Provenance:target:patient=x",
    "&author.identifier=x",
    "&author:identifier=https://rpps.esante.gouv.fr|10000000105",
    "&custodian:missing=false",
    "&date=gt2020-01-01",
    "&_lastUpdated=gt2020-01-01",
    "&_lastUpdated=lt2020-01-01",
    "&_content=compte",
    "&_text=compte",
    "&_filter=status eq current",
    "&_contained=true",
    "&_list=$current-x",
    "&_tag=x",
    "&_profile=x",
    "&_source=x",
    "&nonsense=1",
    "&_count=-1",
    "&_cursor=abc",
    "&_sort=nonsense",
)


def calls(play: Play) -> Iterator[Call]:
    """What is asked in both worlds, in order; what may change something comes last."""
    asked = Asked(play.asker.token)
    for dossier in play.dossiers:
        yield from _of_dossier(asked, play, dossier)
    for one in _chosen(play):
        yield from _of_document(asked, one.home.living.id, one)
    for address in (f"DocumentReference/{NOBODY}", f"Binary/{NOBODY}", f"List/{NOBODY}"):
        yield asked.get(address)
    yield from opening.questions(asked, play)
    yield from joining.questions(asked, play)
    yield from _bundles(asked, play)
    for one in _chosen(play):
        yield from _changes(asked, play, one)
    yield from lots.questions(asked, play)
    yield from _writes(asked, play)
    yield from sessions.questions(asked, play)


def _chosen(play: Play) -> list[Document]:
    return play.documents[:6]


class Asked:
    """Makes the requests of one asker."""

    def __init__(self, token: str) -> None:
        self.token = token

    def get(self, path: str, **headers: str) -> Call:
        return self.send("GET", path, **headers)

    def send(self, method: str, path: str, body: bytes | dict | list = b"", **headers: str) -> Call:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if body and "content-type" not in sent:
            sent["content-type"] = "application/fhir+json"
        return Call(method, path.replace(" ", "%20"), self.token, body if isinstance(body, bytes) else people.dumped(body), sent)

    def form(self, path: str, text: str) -> Call:
        return self.send("POST", path, text.replace(" ", "%20").encode(), content_type="application/x-www-form-urlencoded")


def _of_dossier(asked: Asked, play: Play, dossier: Dossier) -> Iterator[Call]:
    patient, ins = dossier.id, dossier.ins
    for criteria in CRITERIA:
        yield asked.get(f"DocumentReference?patient={patient}{criteria}")
    for path in (
        f"Patient/{patient}",
        f"Patient/{patient}/_history",
        f"Patient?identifier={making.INS}|{ins}",
        f"Patient?_id={patient}",
        f"Patient?_id={patient}&_has:DocumentReference:patient:type={people.REPORT}",
        f"Patient?_id={patient}&_has:DocumentReference:patient:description:contains=compte",
        f"Patient?_id={patient}&_has:DocumentReference:patient:_has:List:item:status=current",
        f"Patient?_id={patient}&_revinclude=DocumentReference:patient&_revinclude=List:patient&_revinclude=*",
        f"Patient?_id={patient}&_revinclude:iterate=DocumentReference:patient&_count=1",
        "Patient?_has:DocumentReference:patient:type=75496-0",
        "Patient?name=QUATREMERE",
        f"Patient/{patient}/DocumentReference",
        f"Patient/{patient}/DocumentReference?_count=1&_total=accurate",
        f"Patient/{patient}/List?_include=List:item",
        f"Patient/{patient}/AuditEvent",
        f"Patient/{patient}/Consent",
        f"Patient/{patient}/*",
        f"Patient/{patient}/*?_count=3",
        f"Patient/{patient}/*?_summary=count",
        f"?patient={patient}",
        f"?_type=DocumentReference,List&patient={patient}",
        "?_lastUpdated=gt2020-01-01",
        f"DocumentReference?patient.identifier={making.INS}|{ins}",
        f"DocumentReference?subject=Patient/{patient}&_total=accurate",
        f"DocumentReference?subject:Patient.name=QUATREMERE&patient={patient}",
        f"DocumentReference?patient=Patient/{patient},Patient/{NOBODY}",
        "DocumentReference?type=11488-4",
        f"List?patient={patient}",
        f"List?patient={patient}&_include=List:item",
        f"List?patient={patient}&_count=1&_sort=date",
        f"List?patient={patient}&item:DocumentReference.description:contains=compte",
        f"List?patient={patient}&item.type={people.PSYCHIATRY}",
        f"List?patient={patient}&item:missing=true",
        f"List?patient={patient}&item:DocumentReference.relatesto:missing=false",
        f"List?patient={patient}&item:DocumentReference.relation=appends&_summary=count",
        f"List?patient={patient}&item:DocumentReference.related:missing=false",
        f"Provenance?patient={patient}&target:DocumentReference.relatesto:missing=false",
        f"Patient?_id={patient}&_has:DocumentReference:patient:related:missing=false",
        f"DocumentReference?patient={patient}&_has:List:item:item:missing=false",
        f"List?patient={patient}&empty-reason:missing=true&_summary=count",
        f"List?patient={patient}&status=current&_include=*&_revinclude=*",
        f"AuditEvent?patient={patient}",
        f"AuditEvent?patient={patient}&_count=2",
        f"AuditEvent?patient={patient}&_summary=count",
        f"AuditEvent?patient={patient}&action=R&_sort=date",
        f"AuditEvent?patient={patient}&_include=AuditEvent:entity",
        f"AuditEvent?patient={patient}&entity:DocumentReference.type={people.REPORT}",
        f"Consent?patient={patient}",
        f"Consent?patient={patient}&_summary=count",
        f"Consent?patient={patient}&category=mask",
        f"Consent?patient={patient}&status=active&_count=1",
        f"Consent?patient={patient}&_include=Consent:data",
        f"Consent?patient={patient}&data:missing=false",
        f"CareTeam?patient={patient}",
        f"RelatedPerson?patient={patient}",
        f"Communication?patient={patient}",
        f"Communication?subject=Patient/{patient}",
        f"Provenance?patient={patient}",
        f"Composition?patient={patient}",
        f"Observation?patient={patient}",
        f"Binary?patient={patient}",
        f"Provenance?target:DocumentReference.type={people.REPORT}&patient={patient}",
        f"Patient/{patient}/$everything",
        f"Patient/{patient}/$everything?_count=2",
        f"Patient/{patient}/$everything?_type=DocumentReference,List&_since=2020-01-01T00:00:00Z",
        f"Patient/{patient}/$everything?_type=Binary,AuditEvent,Consent",
        f"Patient/{patient}/$summary",
        f"Patient/{patient}/$access-journal",
        f"Patient/{patient}/$access-list",
        f"Patient/{patient}/$explain-access",
        f"Patient/{patient}/$export",
        "$export",
        "Patient/$export",
        f"DocumentReference/$docref?patient={patient}",
        f"DocumentReference/$docref?patient={patient}&type={making.LOINC}|{people.PSYCHIATRY}",
        f"Observation/$lastn?patient={patient}",
        "$meta",
        "DocumentReference/$meta",
        f"Patient/{patient}/$meta",
        "DocumentReference/_history",
        "DocumentReference/_history?_since=2020-01-01T00:00:00Z",
        "List/_history",
        "_history",
        "$statistics",
        "Nonsense/1",
        f"DocumentReference?patient={NOBODY}",
        f"Patient/{NOBODY}",
    ):
        yield asked.get(path)
    yield asked.form("DocumentReference/_search", f"patient={patient}&_count=1&_total=accurate")
    yield asked.form("DocumentReference/_search", f"patient={patient}&_include=*&_revinclude=*")
    yield asked.form(f"Patient/{patient}/DocumentReference/_search", "status=current,superseded")
    yield asked.form("_search", f"_type=DocumentReference&patient={patient}")
    yield asked.send("HEAD", f"DocumentReference?patient={patient}")
    yield asked.get(f"DocumentReference?patient={patient}", accept="application/fhir+xml")
    yield asked.get(f"DocumentReference?patient={patient}&_pretty=true")
    for about in ("team", "hospital", "nurse"):
        identifier = {"system": making.RPPS, "value": play.cast[about].rpps}
        yield asked.send("POST", f"Patient/{patient}/$explain-access", making.parameters(professional=identifier))
    match = {"resourceType": "Patient", "identifier": [{"system": making.INS, "value": ins}]}
    yield asked.send("POST", "Patient/$match", making.parameters(resource=match))


def _of_document(asked: Asked, patient: str, one: Document) -> Iterator[Call]:
    address, binary = one.address, f"Binary/{one.binary}"
    version = one.versions[0]
    here = f"patient={patient}"
    for path in (
        address,
        f"{address}?_summary=text",
        f"{address}?_elements=status",
        f"{address}/_history",
        f"{address}/_history?_count=1",
        f"{address}/_history?_since=2020-01-01T00:00:00Z&_summary=count",
        f"{address}/_history?_at=2999",
        f"{address}/_history/{version}",
        f"{address}/_history/{'a' * 13}",
        f"{address}/$meta",
        f"{address}/$validate",
        f"{address}/$verify",
        f"{address}/_history/{version}/$meta",
        binary,
        f"{binary}/_history",
        f"{binary}/$meta",
        *((f"List/{one.listed}", f"List/{one.listed}/_history", f"List?{here}&_id={one.listed}") if one.listed else ()),
        f"Patient/{one.id}",
        f"DocumentReference/{one.binary}",
        f"DocumentReference?_id={one.id}&{here}",
        f"DocumentReference?_id={one.id}",
        f"DocumentReference?{here}&identifier={one.master}",
        f"DocumentReference?{here}&identifier=urn:x-local|local-{one.number}",
        f"DocumentReference?{here}&relatesto={address}",
        f"DocumentReference?{here}&related={address}",
        f"DocumentReference?{here}&location={binary}",
        f"DocumentReference?{here}&_id={one.id}&_summary=count",
        f"DocumentReference?{here}&_id:not={one.id}",
        f"DocumentReference?{here}&_has:List:item:_id={one.listed or NOBODY}",
        f"List?{here}&item={address}",
        f"List?{here}&item={address}&_include=List:item&_summary=count",
        f"AuditEvent?{here}&entity={address}",
        f"AuditEvent?{here}&entity={address}&_summary=count",
        f"Provenance?{here}&target={address}",
        f"Consent?{here}&data={address}",
        f"Consent?data={address}",
        f"Patient?_id={patient}&_has:DocumentReference:patient:_id={one.id}",
        f"Patient?_id={patient}&_has:DocumentReference:patient:identifier={one.master}",
        f"Patient?_id={patient}&_has:List:patient:item={address}",
        f"DocumentReference/$docref?{here}&identifier={one.master}",
        f"Composition/{one.id}/$document",
        f"Composition/$document?id={one.id}",
        f"Patient/{patient}/$explain-access?document={address}",
    ):
        yield asked.get(path)
    yield asked.send("HEAD", address)
    yield asked.send("HEAD", binary)
    yield asked.get(address, if_none_match=f'W/"{version}"')
    yield asked.get(address, if_modified_since="Wed, 01 Jan 2098 00:00:00 GMT")
    yield asked.get(address, accept="application/fhir+xml")
    yield asked.get(binary, accept="text/plain")
    yield asked.get(binary, accept="application/octet-stream", range="bytes=0-3")
    yield asked.get(binary, accept="*/*", range="bytes=999-")
    yield asked.get(binary, accept="application/fhir+json")
    yield asked.get(binary, accept="*/*", if_none_match=f'W/"{version}"')
    yield asked.form("DocumentReference/_search", f"{here}&identifier={one.master}")
    about = {"reference": address}
    yield asked.send("POST", f"Patient/{patient}/$explain-access", making.parameters(document=about))


def _bundles(asked: Asked, play: Play) -> Iterator[Call]:
    paths = [f"{there}{one.id}" for one in play.dossiers for there in ("DocumentReference?_total=accurate&patient=", "Patient/")]
    for one in _chosen(play):
        here = f"DocumentReference?patient={one.home.living.id}&_id={one.id}"
        paths += [one.address, f"Binary/{one.binary}", f"{one.address}/_history", here]
    entries = [{"request": {"method": "GET", "url": path}} for path in paths]
    for kind in ("batch", "transaction"):
        yield asked.send("POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries})


def _changes(asked: Asked, play: Play, one: Document) -> Iterator[Call]:
    """Attempts to change a document, none of which succeeds on one that is seen without telling so."""
    patient = one.home.living.id
    address, version, here = one.address, one.versions[0], f"patient={patient}"
    sent = json.loads(people.dumped(people.document(patient, play.cast["hospital"], one.type, 1, at=play.at)))
    label = {"coding": [{"system": people.VISIBILITY, "code": "MASQUE_PS"}]}
    adding = people.dumped([{"op": "add", "path": "/securityLabel/-", "value": label}])
    fail = people.dumped([{"op": "test", "path": "/status", "value": "nonsense"}])
    fhirpath = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [{"name": "type", "valueCode": "delete"}]}]}
    yield from (
        asked.send("PUT", address, {**sent, "id": one.id}),
        asked.send("PUT", address, {**sent, "id": one.id}, if_match=f'W/"{version}"'),
        asked.send("PUT", address, b"{nonsense"),
        asked.send(
            "PUT", f"Binary/{one.binary}", {"resourceType": "Binary", "id": one.binary, "contentType": "text/plain", "data": "AAAA"}
        ),
        asked.send("DELETE", address),
        asked.send("DELETE", address, if_match='W/"1"'),
        asked.send("DELETE", f"Binary/{one.binary}"),
        asked.send("DELETE", f"DocumentReference?{here}&identifier={one.master}"),
        asked.send("PUT", f"DocumentReference?{here}&identifier={one.master}", sent),
        asked.send("PATCH", address, fail, **PATCH),
        asked.send("PATCH", address, b"[{", **PATCH),
        asked.send("PATCH", address, b'[{"op":"replace","path":"/description","value":"x"}]', **PATCH),
        asked.send("PATCH", address, fail, if_match='W/"1"', **PATCH),
        asked.send("PATCH", address, fail, if_match=f'W/"{version}"', **PATCH),
        asked.send("PATCH", address, fhirpath),
        asked.send("PATCH", address, b"<x/>", content_type="application/xml"),
        asked.send("PATCH", f"DocumentReference?{here}&identifier={one.master}", fail, **PATCH),
        asked.send("PATCH", f"DocumentReference?identifier=urn:ietf:rfc:3986|{one.master}", fail, **PATCH),
        asked.send("PATCH", f"DocumentReference?{here}&_id={one.id}", adding, if_match='W/"1"', **PATCH),
    )
    if one.listed:
        yield asked.send("PATCH", f"List/{one.listed}", fail, **PATCH)
        yield asked.send("PUT", f"List/{one.listed}", {"resourceType": "List", "id": one.listed, "status": "current", "mode": "working"})
    entry = {"request": {"method": "DELETE", "url": address}}
    yield asked.send("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    entry = {"resource": sent, "request": {"method": "POST", "url": "DocumentReference", "ifNoneExist": f"identifier={one.master}&{here}"}}
    yield asked.send(
        "POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [entry, {**entry, "request": {"method": "GET", "url": address}}]}
    )


def _writes(asked: Asked, play: Play) -> Iterator[Call]:
    """Deposits that meet what is stored: by identifier, by reference, as a predecessor; and what is seen afterwards."""
    patient = play.dossiers[0].living.id
    by, here = play.asker, f"patient={patient}"
    for number, one in enumerate(_chosen(play)[:3]):
        value = people.document(patient, by, one.type, 900_000_000 + number, at=play.at)
        yield asked.send("POST", "DocumentReference", value, if_none_exist=f"{here}&identifier={one.master}")
        yield asked.send("POST", "DocumentReference", {**value, "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": one.master}})
        for code in ("appends", "replaces"):
            related = [{"code": code, "target": {"reference": one.address}}]
            yield asked.send("POST", "DocumentReference", {**value, "relatesTo": related})
        yield asked.send("POST", "DocumentReference", {**value, "context": {"related": [{"reference": f"Binary/{one.binary}"}]}})
        bundle = people.submission(patient, by, 900_000_100 + number, value, (one.address,))
        yield asked.send("POST", "", bundle)
        conditional = people.submission(patient, by, 900_000_200 + number, value, (f"DocumentReference?{here}&identifier={one.master}",))
        yield asked.send("POST", "", conditional)
        mask = making.consent(_Subject(patient), "mask", data=[{"meaning": "instance", "reference": {"reference": one.address}}])
        yield asked.send("POST", "Consent", mask)
    value = people.document(patient, by, people.REPORT, 900_000_900, at=play.at)
    yield asked.send("POST", "DocumentReference", value)
    yield asked.send("POST", "DocumentReference", b"{")
    yield asked.send("POST", "DocumentReference", {"resourceType": "DocumentReference", "subject": {"reference": f"Patient/{patient}"}})
    yield asked.send("POST", f"Patient/{patient}/$break-glass", making.parameters(justification=" "))
    for path in (
        f"DocumentReference?{here}&status=current,superseded",
        f"List?{here}",
        f"AuditEvent?{here}",
        f"Patient/{patient}/$everything",
    ):
        yield asked.get(path)
    # Last of all: whoever breaks the glass sees more than before.
    yield asked.send("POST", f"Patient/{patient}/$break-glass", making.parameters(justification="urgence"))


class _Subject:
    def __init__(self, id: str) -> None:
        self.id, self.path = id, f"Patient/{id}"
