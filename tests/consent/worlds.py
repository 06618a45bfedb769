"""Cases of access as data, and the values of the rules that they stand for.

The files are tests/cases/access/*.json; a lawyer can add one.
"""

import hashlib
import json
from pathlib import Path

from fhir_dmp.consent.asking import Request, asking
from fhir_dmp.consent.dossier import Dossier, MaskRule, Permit, Right, Title
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.documents import Facts
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.dmp.paris import span, window
from fhir_dmp.dmp.visibility import release_ms
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS, from_instant
from fhir_dmp.identity.actor import Actor

FOLDER = Path(__file__).resolve().parents[1] / "cases" / "access"


def cases() -> list[dict]:
    """Every case of every file: a file holds one case or a list."""
    people = json.loads((FOLDER / "people.json").read_text(encoding="utf-8"))
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        if path.name != "people.json":
            value = json.loads(path.read_text(encoding="utf-8"))
            found += [{**one, "file": path.name} for one in (value if isinstance(value, list) else [value])]
    for one in found:
        one["who"], one["dossier"] = like(one["who"], people["who"]), like(one["dossier"], people["dossiers"])
    return found


def like(value: str | dict | None, known: dict[str, dict]) -> dict | None:
    """A person or dossier by name, or like a named one with what differs."""
    if isinstance(value, str):
        return known[value]
    return {**known[value["like"]], **value} if value and "like" in value else value


def hash64(data: bytes) -> int:
    """A keyed hash as the vault's."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=b"test").digest(), "big", signed=True)


def now_of(case: dict) -> int:
    return from_instant(case["when"])


def request_of(case: dict) -> Request:
    """The request that a token would make."""
    who, about = case["who"], dict(case.get("about") or {})
    actor = Actor(
        kind=who["kind"],
        issuer="https://issuer.example.org",
        subject="somebody",
        expires=0,
        subject_name_id=who.get("idnps") or (f"8{who['rpps']}" if "rpps" in who else ""),
        roles=(role_of(who["profession"]),) if "profession" in who else (),
        category=who.get("category", ""),
        specialties=(who["specialty"],) if "specialty" in who else (),
        organization=f"1{who['organization']}" if "organization" in who else "",
        sector=who.get("sector", ""),
        auth_mode=who.get("authMode", ""),
        regulation=who.get("regulation", False),
        purposes=tuple(("http://terminology.hl7.org/CodeSystem/v3-ActReason", code) for code in who.get("purpose", ())),
        secret_session=who.get("secretSession", False),
        patient=who.get("patient", ""),
        related_person=who.get("relatedPerson", ""),
        with_professional=f"8{who['with']}" if "with" in who else "",
        host=who.get("host", ""),
        level=who.get("level", 0),
        ticket=who.get("ticket", ""),
        role=who.get("role", ""),
    )
    if "about" in about:
        about["about"] = frozenset(name_of(one) for one in about["about"])
    return asking(actor, case["action"], authored_here=who.get("authoredHere", False), opener=who.get("opener", False), **about)


def role_of(profession: str) -> str:
    """A role as tokens claim it: in the value set of all roles, unless the case names the system."""
    return profession if "^" in profession else f"{profession}^1.2.250.1.213.1.1.5.5"


def dossier_of(case: dict) -> Dossier | None:
    """The policy a case describes."""
    d = case["dossier"]
    if d is None:
        return None
    return Dossier(
        patient=d["patient"],
        birth_date=d["birthDate"],
        status=Status(d.get("status", "open")),
        closed_ms=span(d["closed"])[0] if "closed" in d else None,
        deceased_ms=span(d["deceased"])[0] if "deceased" in d else None,
        traitant=frozenset(identity.ps("8" + one) for one in d.get("medecinTraitant", ())),
        assimilated=rights(d, "assimilated"),
        team=rights(d, "careTeam"),
        access=rights(d, "consents"),
        blocks=rights(d, "blocks"),
        grants=rights(d, "grants"),
        titles=tuple(
            Title(t["relatedPerson"], t["kind"], *window(t.get("since"), t.get("until")), who=frozenset(map(name_of, t.get("who", ()))))
            for t in d.get("titles", ())
        ),
        regulation=d.get("regulation", True),
        break_glass=d.get("breakGlass", True),
        emergency_masked=d.get("emergencyMasked", False),
        masks=tuple(map(mask_of, d.get("masks", ()))),
        permits=tuple(Permit(kind) for kind in d.get("permits", ())),
    )


def rights(dossier: dict, name: str) -> tuple[Right, ...]:
    return tuple(Right(name_of(one), *moments(one)) for one in dossier.get(name, ()))


def moments(one: dict) -> tuple[int, int]:
    """A period: a moment with a zone ends there, a day includes itself."""
    since, until = one.get("since"), one.get("until")
    return (
        span(since)[0] if since else MIN_MS,
        (from_instant(until) if "T" in until else span(until)[1]) if until else MAX_MS,
    )


def name_of(one: dict) -> str:
    """A professional or a structure as rules name them."""
    if "finess" in one:
        return identity.org("1" + one["finess"])
    return identity.ps(one.get("idnps") or "8" + one["rpps"])


def mask_of(one: dict) -> MaskRule:
    authors = frozenset(name_of(author) for author in one["authors"]) if "authors" in one else None
    return MaskRule(
        roots=frozenset(one["documents"]) if "documents" in one else None,
        authors=authors,
        types=frozenset(one["types"]) if "types" in one else None,
        dated=window(*one["dated"]) if "dated" in one else None,
    )


def facts_of(case: dict) -> Facts | None:
    """The document of a case."""
    d = case["document"]
    if d is None:
        return None
    first = from_instant(d["firstDeposit"])
    return Facts(
        type=d["type"],
        authors=frozenset(one if one == "holder" else identity.ps("8" + one) for one in d.get("authors", ())),
        organization=identity.org("1" + d["organization"]) if "organization" in d else "",
        labels=frozenset(d.get("labels", ())),
        first_deposit_ms=first,
        release_ms=release_ms(first),
        status=d.get("status", "current"),
        root=d.get("root", "DocumentReference/doc"),
        period=window(*d["dated"]) if "dated" in d else (first, first + 1),
    )
