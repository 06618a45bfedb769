"""From received bytes to a version ready to be stored: parsed once, checked, stamped, indexed.

https://hl7.org/fhir/R4/http.html#create and #update
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import json, narrative, profiles, schema
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.fhir.references import is_id, parse_reference, reference_texts
from fhir_dmp.fhir.tables import compartment
from fhir_dmp.interactions import facts
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.facts import Origin
from fhir_dmp.search import blind, remembered
from fhir_dmp.search.remembered import Told
from fhir_dmp.search.values import Reference
from fhir_dmp.store.rows import Change, Content, NewRow, Row
from fhir_dmp.store.vault import COMMON, dossier_in, version_id


@dataclass(frozen=True)
class Checked:
    """A resource that was received and found valid, not yet given an id.

    body: as received. value: its parsed form, read only. told: what its search parameters found.
    """

    type: str
    body: bytes
    value: dict
    told: Told

    @property
    def references(self) -> list[str]:
        """Texts of the references in it, looked for once."""
        found = self.__dict__.get("_references")
        if found is None:
            found = self.__dict__["_references"] = reference_texts(self.value)
        return found


@dataclass(frozen=True, slots=True)
class Stamped:
    """A version ready to be stored, and what is answered about it."""

    id: str
    change: Change

    @property
    def row(self) -> NewRow:
        """The version itself."""
        return self.change.row

    @property
    def location(self) -> str:
        """Type/id/_history/version."""
        return f"{self.row.type}/{self.id}/_history/{version_id(self.row.version)}"


def check(context: Context, body: bytes, type_name: str | None, *, valid: bool = False, before: bytes | None = None) -> Checked:
    """Parse and validate. type_name: the type the address names, None to take the one of the body.

    valid: the body was made here of one that was found valid, by what keeps it so (a reference that leads elsewhere, a keeper).
    before: as in `check_value`.
    """
    value = json.parse(body, max_depth=context.settings.max_depth)
    return check_value(context, body, value, type_name, valid=valid, before=before)


def check_value(
    context: Context, body: bytes, value: dict, type_name: str | None, *, valid: bool = False, before: bytes | None = None
) -> Checked:
    """Validate a body that is already parsed; every fault is found in one pass.

    before: what it changes a little, which is there and is judged no more: of its faults and size nothing is said.
    """
    found = value.get("resourceType")
    if not schema.known_type(found):
        said = f"`{str(found)[:64]}` is not a FHIR R4 resource type" if found is not None else "the resource has no `resourceType`"
        raise FhirError("invalid", said, "resourceType")
    if type_name is not None and found != type_name:
        raise FhirError("invalid", f"the address names {type_name}, the body is a {found}", "resourceType")
    if before is None and len(body) > context.settings.max_resource_bytes and found != "Binary":
        raise FhirError("too-long", f"a resource may take {context.settings.max_resource_bytes} bytes, this one takes {len(body)}", found)
    members = json.members(body)
    if not valid and (faults := _faults(value, members)):
        there = _faults(json.parse(before), json.members(before)) if before is not None else []
        if faults := [one for one in faults if one not in there]:
            raise FhirError.many("unprocessable", faults)
    if not context.sandbox and b"<img" in body and (before is None or b"<img" not in before):
        _check_images(value, found)
    return Checked(found, body, value, remembered.told(found, value, members, context.store.vault.hash64, (context.base_url,)))


def _faults(value: dict, members: Mapping[str, object]) -> list[Issue]:
    return [one for one in schema.validate(value, members=members) if one.severity in ("error", "fatal")]


def rebuilt(context: Context, checked: Checked, body: bytes, value: dict) -> Checked:
    """The same resource with other members, by what keeps it valid and its references as they are. value: of that body."""
    told = remembered.told(checked.type, value, json.members(body), context.store.vault.hash64, (context.base_url,))
    made = Checked(checked.type, body, value, told)
    made.__dict__["_references"] = checked.references
    return made


def _check_images(value: object, place: str) -> None:
    """A dossier takes no narrative that tells another server when it is read. R4 allows such images, so a sandbox does."""
    if isinstance(value, dict):
        if isinstance(value.get("div"), str) and (remote := narrative.remote_images(value["div"])):
            said = f"an image of a narrative is in the resource or its data, not at `{remote[0][:80]}`"
            raise FhirError("business-rule", said, f"{place}.div")
        for name, part in value.items():
            _check_images(part, f"{place}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _check_images(part, f"{place}[{number}]")


def check_profiles(context: Context, checked: Checked) -> None:
    """Refuse what breaks the profiles that a write by this actor must follow; what is merely left unsaid only where the rules need it."""
    if faults := profiles.deposit_errors(
        checked.value, context.actor.kind, language=context.language, strict=context.settings.strict_metadata
    ):
        raise FhirError.many("unprocessable", faults)


def patients_named(type_name: str, index: Mapping[str, tuple]) -> set[str]:
    """Logical ids of the local Patients whose compartment the resource belongs to. https://hl7.org/fhir/R4/compartmentdefinition-patient.html"""
    codes = compartment("Patient").get(type_name, ())
    return {v.id for code in codes for v in index.get(code, ()) if isinstance(v, Reference) and v.type == "Patient" and v.id}


class Place(NamedTuple):
    """Where a resource belongs. patient: "Patient/id" of its dossier, None when it is in none, or is the Patient itself."""

    dossier: int
    patient: str | None = None


def place_of(context: Context, checked: Checked, id: str | None) -> Place:
    """The dossier a resource belongs to: that of the one Patient it names, else the common one.

    A resource naming several patients would outlive the erasure of each of them; only a sandbox takes it.
    """
    vault = context.store.vault
    if checked.type == "Patient":
        return Place(vault.dossier_of_patient(id) if id else vault.new_dossier(context.random))
    if checked.type == "Binary":
        return Place(_dossier_of_binary(context, checked, id))
    named = checked.told.patients
    if len(named) == 1:
        (patient,) = named
        return Place(vault.dossier_of_patient(patient), f"Patient/{patient}")
    if named and not context.sandbox:
        raise FhirError("business-rule", "a resource may belong to one patient only; this one names several", checked.type)
    return Place(COMMON)


def _holder_named(checked: Checked) -> str | None:
    """The one Patient a resource names, as its dossier is indexed by."""
    named = () if checked.type in ("Patient", "Binary") else checked.told.patients
    return f"Patient/{next(iter(named))}" if len(named) == 1 else None


def _dossier_of_binary(context: Context, checked: Checked, id: str | None) -> int:
    """Where its securityContext says; else a Binary stays where its id is, e.g. with the document it came with."""
    vault = context.store.vault
    said = (checked.value.get("securityContext") or {}).get("reference", "")
    ref = parse_reference(said, (context.base_url,))
    if ref.kind == "local" and ref.type == "Patient":
        return vault.dossier_of_patient(ref.id)
    known = ref.id if ref.kind == "local" else id
    key = vault.open_id(known) if known else None
    return dossier_in(key) if key else COMMON


def stamp(
    context: Context,
    checked: Checked,
    *,
    method: str,
    id: str | None = None,
    current: Row | None = None,
    dossier: int | None = None,
    content: Content | None = None,
    origin: Origin | None = None,
) -> Stamped:
    """Give id, version and instant. id: None lets the server choose. current: the version replaced. dossier: None to find it out.

    origin: what the deposit says beside the body; None takes it from the body.
    """
    vault = context.store.vault
    place = place_of(context, checked, id) if dossier is None else Place(dossier, _holder_named(checked))
    dossier = place.dossier
    if id is None:
        id = vault.new_id(dossier, context.random)
    key = vault.locate(checked.type, id)
    if not context.sandbox and dossier_in(key) != dossier:
        raise FhirError("business-rule", "a resource cannot move to the dossier of another patient", checked.type)
    version = vault.new_version(context.random)
    updated_ms = context.now_ms() if current is None else max(context.now_ms(), current.updated_ms + 1)
    body = json.stamp(checked.body, id=id, version_id=version_id(version), last_updated=to_instant(updated_ms))
    if context.enforcer is not None and checked.type != "Binary":
        # What is left of it when something is taken out is written by the server: how it is spaced would tell that something was.
        body = json.plain(body)
    entries = checked.told.entries(place.patient)
    row = NewRow(
        key=key,
        dossier=dossier,
        type=checked.type,
        version=version,
        updated_ms=updated_ms,
        self64=blind.self_hash(checked.type, id, vault.hash64),
        x=entries.x,
        g=entries.g,
        c=entries.c,
        n=entries.n,
        body=body,
        method=method,
        content=content,
        visible=facts.visible(
            context, checked.value, f"{checked.type}/{id}", dossier, updated_ms, current, origin, lambda: checked.references
        ),
    )
    return Stamped(id, Change(row, None) if current is None else Change(row, current.version, current.acted_ms, current.visible))


def check_id(id: str) -> str:
    """The logical id of an address; anything else than 1 to 64 ASCII letters, digits, `-` and `.` is nowhere."""
    if not is_id(id):
        raise FhirError("not-found", "no resource has such an id")
    return id


def check_body_id(checked: Checked, id: str) -> None:
    """The id in the body of an update must be that of the address. https://hl7.org/fhir/R4/http.html#update"""
    found = checked.value.get("id")
    if found is None:
        raise FhirError("invalid", f"the body of an update must carry its id, here `{id}`", f"{checked.type}.id")
    if found != id:
        raise FhirError("invalid", f"the address names `{id}`, the body `{str(found)[:64]}`", f"{checked.type}.id")


def written(stamped: Stamped, status: int) -> Answer:
    """The answer to an acknowledged write."""
    row = stamped.row
    return Answer(status, row.body, version_id(row.version), row.updated_ms, stamped.location, row.content)
