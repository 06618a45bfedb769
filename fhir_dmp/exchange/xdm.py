"""IHE XDM archives: the documents of each submission with the metadata beside them.

https://profiles.ihe.net/ITI/TF/Volume1/ch-16.html (XDM) ; https://profiles.ihe.net/ITI/TF/Volume3/ch-4.2.html (metadata)
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from lxml import etree

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import xml
from fhir_dmp.exchange.described import GENDERS, Coded, Described, Person, date_of, identifier_of, professional_of, system_of

METADATA = re.compile(r"IHE_XDM/[^/]+/METADATA\.XML", re.IGNORECASE)
RIM = {"r": "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"}
CLASS = "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a"
TYPE = "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983"
FORMAT = "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d"
CONFIDENTIALITY = "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f"
FACILITY = "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1"
PRACTICE = "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead"
EVENT = "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4"
AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"
PATIENT_ID = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
REPLACES = ("urn:ihe:iti:2007:AssociationType:RPLC", "RPLC")
# What one document may take once it is unpacked, and how many times what it takes in the archive: beyond, it is a bomb.
LARGEST = 64 * 1024 * 1024
RATIO, RATIO_FROM = 200, 1024 * 1024


def submissions(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The metadata of each submission in an archive; none when it is no XDM archive."""
    return sorted((one for one in archive.infolist() if METADATA.fullmatch(one.filename)), key=lambda one: one.filename)


def documents(archive: zipfile.ZipFile, metadata: zipfile.ZipInfo) -> Iterator[tuple[str, Described | FhirError]]:
    """(place, document) of each document of a submission; in the place of one that cannot be read, why."""
    root = xml.parse(read(archive, metadata))
    folder = PurePosixPath(metadata.filename).parent
    listed = list(root.iter(f"{{{RIM['r']}}}ExtrinsicObject"))
    ids = {one.get("id", ""): _external(one, UNIQUE_ID) for one in listed}
    replaced: dict[str, list[str]] = {}
    for one in root.iter(f"{{{RIM['r']}}}Association"):
        if one.get("associationType") in REPLACES:
            target = one.get("targetObject", "")
            replaced.setdefault(one.get("sourceObject", ""), []).append(ids.get(target) or target)
    for one in listed:
        name = _slot(one, "URI") or ""
        place = str(folder / name) if name else metadata.filename
        try:
            yield place, _described(archive, folder, one, name, replaced.get(one.get("id", ""), []))
        except FhirError as error:
            yield place, error


def read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member of an archive, within bounds; what its directory says of its size is not believed."""
    if member.file_size > LARGEST or (member.file_size > RATIO_FROM and member.file_size > RATIO * max(member.compress_size, 1)):
        raise FhirError("too-long", f"`{member.filename[-80:]}` unpacks to {member.file_size} bytes")
    with archive.open(member) as stream:
        body = stream.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise FhirError("too-long", f"`{member.filename[-80:]}` unpacks to more than {LARGEST} bytes")
    return body


def _described(archive: zipfile.ZipFile, folder: PurePosixPath, entry: etree._Element, name: str, replaced: list[str]) -> Described:
    unique = _external(entry, UNIQUE_ID)
    if not unique or not name:
        raise FhirError("unprocessable", "a document of the metadata has no uniqueId, or no URI")
    try:
        member = archive.getinfo(str(folder / name))
    except KeyError:
        raise FhirError("not-found", f"`{name[-80:]}` is not in the archive") from None
    found = Described(
        master=_unique(unique), content=read(archive, member), content_type=entry.get("mimeType") or "application/octet-stream"
    )
    _person(entry, found)
    found.title = _title(entry)
    found.language = _slot(entry, "languageCode")
    found.date = date_of(_slot(entry, "creationTime"))
    found.start, found.end = date_of(_slot(entry, "serviceStartTime")), date_of(_slot(entry, "serviceStopTime"))
    found.type, found.document_class = _first(entry, TYPE), _first(entry, CLASS)
    found.facility, found.practice = _first(entry, FACILITY), _first(entry, PRACTICE)
    found.events, found.labels = _coded(entry, EVENT), _coded(entry, CONFIDENTIALITY)
    if formats := _coded(entry, FORMAT):
        found.format = formats[0].code
    found.authors = [person for one in _classified(entry, AUTHOR) if (person := _author(_slot(one, "authorPerson")))]
    signed = _author(_slot(entry, "legalAuthenticator"))
    found.authenticator = signed
    found.replaces = [_unique(one) for one in replaced if one and not one.startswith("urn:uuid:")]
    return found


def _person(entry: etree._Element, found: Described) -> None:
    for text in (_external(entry, PATIENT_ID), _slot(entry, "sourcePatientId")):
        parts = text.split("^")
        oid = parts[3].split("&")[1] if len(parts) > 3 and parts[3].count("&") else ""
        if oid and parts[0] and (pair := (f"urn:oid:{oid}", parts[0])) not in found.identifiers:
            found.identifiers.append(pair)
    for line in _slots(entry, "sourcePatientInfo"):
        field, _, value = line.partition("|")
        if field == "PID-5":
            parts = value.split("^")
            found.family = [parts[0]] if parts[0] else []
            found.given = [part for part in parts[1:3] if part]
        elif field == "PID-7":
            found.birth = date_of(value)[:10]
        elif field == "PID-8":
            found.gender = GENDERS.get(value.strip().upper(), "")


def _unique(text: str) -> tuple[str, str]:
    """The masterIdentifier of an XDS uniqueId: OID, or OID^extension."""
    root, _, extension = text.removeprefix("urn:oid:").partition("^")
    return identifier_of(root, extension)


def _author(text: str) -> Person | None:
    """A professional of an XCN value, e.g. 899700218896^LESTRELIN^Barnabé^^^^^^&1.2.250.1.71.4.2.1&ISO^D^^^IDNPS."""
    parts = text.split("^")
    if not parts[0]:
        return None
    oid = parts[8].split("&")[1] if len(parts) > 8 and parts[8].count("&") else ""
    return professional_of(oid, parts[0], " ".join(part for part in (*parts[2:3], *parts[1:2]) if part))


def _classified(entry: etree._Element, scheme: str) -> list[etree._Element]:
    return [one for one in entry.findall("r:Classification", RIM) if one.get("classificationScheme") == scheme]


def _coded(entry: etree._Element, scheme: str) -> list[Coded]:
    found = []
    for one in _classified(entry, scheme):
        if code := one.get("nodeRepresentation"):
            system = _slot(one, "codingScheme")
            found.append(Coded(code, system_of(system) if system[:1].isdigit() else system, _title(one)))
    return found


def _first(entry: etree._Element, scheme: str) -> Coded | None:
    return next(iter(_coded(entry, scheme)), None)


def _slots(entry: etree._Element, name: str) -> list[str]:
    return [
        xml.text(value)
        for slot in entry.findall("r:Slot", RIM)
        if slot.get("name") == name
        for value in slot.findall("r:ValueList/r:Value", RIM)
    ]


def _slot(entry: etree._Element, name: str) -> str:
    return next(iter(_slots(entry, name)), "")


def _external(entry: etree._Element, scheme: str) -> str:
    return next(
        (one.get("value", "") for one in entry.findall("r:ExternalIdentifier", RIM) if one.get("identificationScheme") == scheme), ""
    )


def _title(entry: etree._Element) -> str:
    found = entry.find("r:Name/r:LocalizedString", RIM)
    return "" if found is None else found.get("value", "")
