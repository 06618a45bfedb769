"""Entries of the directory that something refers to: who is named by one stays who he is, as long as a right may name him by it.

https://interop.esante.gouv.fr/ig/fhir/annuaire ; access-map: who keeps the directory has no rights in a dossier

A reference is read again whenever the policy of its dossier is compiled: another identifier would give its rights to a stranger,
and an entry that is gone would lift a block.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from fhir_dmp.dmp import identity
from fhir_dmp.errors import FhirError, Issue
from fhir_dmp.fhir import tables
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.facts import DIRECTORY, here
from fhir_dmp.search import blind
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.spelling import key, signed

# Traces and seals name what they tell of, also the writing of the entry itself.
TELLING = frozenset({"AuditEvent", "Provenance"})
ROLE = "PractitionerRole"
# Where a role that a resource contains gives a right to the practitioner it refers to.
CONTAINED = (("Patient", f"general-practitioner>{ROLE}.practitioner"), ("CareTeam", f"participant>{ROLE}.practitioner"))


def renamed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Issue]:
    """A fault for each member by which an entry names somebody, where a new version would name somebody else."""
    kind, found = before["resourceType"], []
    if kind not in DIRECTORY:
        return found
    if identity.known_as(before.get("identifier") or ()) != identity.known_as(after.get("identifier") or ()):
        found.append("identifier")
    if kind == ROLE:
        found += [name for name in ("practitioner", "organization") if _leads(before.get(name)) != _leads(after.get(name))]
    said = "rights may refer to this entry: who is known otherwise gets an entry of his own"
    return [Issue("error", "business-rule", said, f"{kind}.{name}") for name in found]


def _leads(reference: Mapping[str, Any] | None) -> tuple:
    one = reference or {}
    return one.get("reference"), one.get("identifier")


async def claimed(inside: Context, texts: Iterable[str]) -> None:
    """Of who writes a right and who deletes an entry that it refers to, one comes after the other. texts: of its references."""
    named = {here(inside, text) for text in texts}
    keys = {_claim(inside, one.type, one.id) for one in named if one.kind == "local" and one.type in DIRECTORY}
    if keys:
        await inside.transaction.claim(keys)


async def free(inside: Context, type_name: str, id: str) -> None:
    """409 while something refers to an entry that is about to be deleted. inside: the context of that transaction."""
    if type_name not in DIRECTORY:
        return
    await inside.transaction.claim([_claim(inside, type_name, id)])
    if await referred(inside, type_name, id):
        raise FhirError("conflict", "something refers to this entry: say by `active` that it is used no more, and leave it")


async def referred(context: Context, type_name: str, id: str) -> bool:
    """Whether a current resource, of a dossier or of the directory, refers to an entry; old versions, traces and seals aside."""
    hash64 = context.store.vault.hash64
    address = signed(blind.self_hash(type_name, id, hash64))
    direct = [hash64(key(source, code, "ref", address)) for source, code in _sources(type_name)]
    if await context.reads.count({"g": {"$in": direct}}, hint="selective", limit=1):
        return True
    if type_name != "Practitioner":
        return False
    holders = [blind.common_token(source, *blind.holder(code), hash64) for source, code in CONTAINED]
    held = [hash64(key(source, code, "ref", address)) for source, code in CONTAINED]
    return bool(await context.reads.count({"g": {"$in": holders}, "x": {"$in": held}}, hint="selective", limit=1))


@cache
def _sources(type_name: str) -> tuple[tuple[str, str], ...]:
    return tuple(_referring(type_name))


def _referring(type_name: str) -> Iterator[tuple[str, str]]:
    """(type, parameter) of the references that may lead to entries of a type."""
    for source in tables.RESOURCE_TYPES:
        if source not in TELLING:
            for code, parameter in parameters(source).items():
                if parameter.type == "reference" and type_name in parameter.targets:
                    yield source, code


def _claim(context: Context, type_name: str, id: str) -> bytes:
    return signed(context.store.vault.hash64(f"entry\0{type_name}/{id}".encode()))
