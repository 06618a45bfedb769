"""Habilitation matrix: which profession reads and writes which type of document, as data a host can replace.

https://www.legifrance.gouv.fr/jorf/id/JORFTEXT000048368244 (arrêté of 26 October 2023)
The rows and their sources are in profiles/habilitations.json.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce

from fhir_dmp.dmp.spaces import PROFILES, class_of, types

READ, WRITE = "read", "write"
FEED = "A00|ALIM_AM"
PATIENT = "A00|EXP_PATIENT"
HEALTH = ("G15|", "G16|")


@dataclass(frozen=True, slots=True)
class Target:
    """What a row speaks about: types, else classes, else all. A named content is narrowed to the types that carry it."""

    types: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()

    @property
    def level(self) -> int:
        """3 types, 2 classes, 1 all."""
        return 3 if self.types else 2 if self.classes else 1

    def covers(self, token: str, document_class: str) -> bool:
        """Whether a type (spaces.type_token) is meant."""
        if self.types:
            return token in self.types
        return document_class in self.classes if self.classes else True


@dataclass(frozen=True, slots=True)
class Row:
    """One row. professions: "G15|10", "G15|*" or "*". any_of, none_of: specialty and facility codes, None when it does not ask."""

    id: str
    professions: frozenset[str]
    target: Target
    action: str
    permits: bool
    any_of: frozenset[str] | None = None
    none_of: frozenset[str] | None = None

    def names(self, profession: str) -> int:
        """2 when the profession is named, 1 by a wildcard, 0 not at all."""
        if profession in self.professions:
            return 2
        system = profession.partition("|")[0]
        health = "G15|*" in self.professions and profession.startswith(HEALTH)
        return 1 if health or f"{system}|*" in self.professions or "*" in self.professions else 0

    def asks(self) -> bool:
        """Whether it has a requirement."""
        return self.any_of is not None or self.none_of is not None

    def satisfied(self, traits: frozenset[str]) -> bool:
        """Whether its requirement, if any, is met. traits: specialty and facility codes."""
        if self.any_of is not None and not (self.any_of & traits):
            return False
        return not (self.none_of is not None and self.none_of & traits)


@dataclass(frozen=True, slots=True)
class TypeSet:
    """The types a profession may touch: those named, and, if `others`, every type outside the table too."""

    named: frozenset[str]
    others: bool = False

    def __contains__(self, token: str) -> bool:
        return token in self.named or (self.others and token not in types())

    def union(self, other: "TypeSet") -> "TypeSet":
        """What either may touch."""
        return TypeSet(self.named | other.named, self.others or other.others)


NO_TYPES = TypeSet(frozenset())


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """The matrix in force, one object however often it is asked. same_as: a profession in training -> the one whose rows apply to it."""

    version: str
    rows: tuple[Row, ...]
    same_as: tuple[tuple[str, str], ...] = ()

    def evaluate(self, profession: str, traits: frozenset[str], token: str, action: str) -> tuple[bool, str]:
        """(permitted, id of the row that spoke; "" when none did).

        A row on types beats classes beats all; then a met requirement beats none; then a named profession beats a wildcard; then deny.
        """
        profession = dict(self.same_as).get(profession, profession)
        document_class = class_of(token)
        best: tuple[tuple[int, bool, int, bool], Row] | None = None
        for row in self.rows:
            if row.action != action or not row.target.covers(token, document_class) or not row.satisfied(traits):
                continue
            if named := row.names(profession):
                rank = (row.target.level, row.asks(), named, not row.permits)
                if best is None or rank > best[0]:
                    best = rank, row
        return (best[1].permits, best[1].id) if best else (False, "")

    def allowed(self, professions: Iterable[str], traits: frozenset[str], action: str) -> TypeSet:
        """Every type that one of the professions may read or write."""
        found = [_allowed(self, profession, traits, action) for profession in professions]
        return found[0] if len(found) == 1 else reduce(TypeSet.union, found, NO_TYPES)


@lru_cache(maxsize=4096)
def _allowed(matrix: Matrix, profession: str, traits: frozenset[str], action: str) -> TypeSet:
    named = frozenset(code for code in types() if matrix.evaluate(profession, traits, code, action)[0])
    return TypeSet(named, matrix.evaluate(profession, traits, "|", action)[0])


def parse(data: bytes) -> Matrix:
    """A matrix from its file; ValueError naming the row that cannot be used."""
    table = json.loads(data)
    rows, same = [], {}
    for raw in table["rows"]:
        if "sameAs" in raw:
            same.update(raw["sameAs"])
        else:
            rows.append(_row(raw))
    return Matrix(str(table.get("version", "")), tuple(rows), tuple(sorted(same.items())))


@lru_cache(maxsize=1)
def default() -> Matrix:
    """The matrix that comes with the project."""
    return parse((PROFILES / "habilitations.json").read_bytes())


def _row(raw: Mapping) -> Row:
    target, requires = raw.get("target") or {}, raw.get("requires") or {}
    if raw.get("effect") not in ("permit", "deny") or not (target.get("all") or target.get("types") or target.get("classes")):
        raise ValueError(f"row `{raw.get('id')}` of the habilitation matrix has no effect or no target")
    if set(requires) - {"anyOf", "noneOf"} or not raw.get("professions") or not raw.get("action"):
        raise ValueError(f"row `{raw.get('id')}` of the habilitation matrix names no profession or action, or asks something unknown")
    return Row(
        raw["id"],
        frozenset(raw["professions"]),
        Target(frozenset(target.get("types", ())), frozenset(() if target.get("types") else target.get("classes", ()))),
        raw["action"],
        raw["effect"] == "permit",
        _traits(requires.get("anyOf")),
        _traits(requires.get("noneOf")),
    )


def _traits(asked: Mapping | None) -> frozenset[str] | None:
    return None if asked is None else frozenset(code for codes in asked.values() for code in codes)


# ---- professions as tokens claim them


@lru_cache(maxsize=4096)
def profession(role: str, category: str = "") -> str:
    """A claimed role with its system, "" when it is none we know. category E: in training, the code is read in G16.

    >>> profession("10^1.2.250.1.213.1.1.5.5"), profession("10", "E"), profession("93"), profession("G15|60"), profession("60", "E")
    ('G15|10', 'G16|10', 'R95|93', 'G15|60', 'G16|60')
    >>> profession("10^1.2.250.1.71.1.2.7"), profession("10^1.2.250.1.71.1.2.7", "E"), profession("G15|10", "E")
    ('G15|10', 'G16|10', 'G16|10')
    """
    in_training = category.strip().upper() == IN_TRAINING
    found = _claimed(role, in_training)
    # Some issuers name the system of those who are qualified: who is in training is none of them, whatever the role says.
    return found.replace("G15|", "G16|", 1) if in_training else found


def _claimed(role: str, in_training: bool) -> str:
    code, _, oid = role.partition("^")
    if "|" in code:
        system, _, code = code.partition("|")
        return f"{system}|{code}" if system in _systems() and code else ""
    if oid in ("", _MIXED):
        if in_training:
            return f"G16|{code}"
        return next((f"{system}|{code}" for system, (_, codes) in _systems().items() if system != "G16" and code in codes), "")
    return next((f"{system}|{code}" for system, (own, codes) in _systems().items() if own == oid and code in codes), "")


IN_TRAINING = "E"
# The value set of all roles, which says nothing of the system of a code.
_MIXED = "1.2.250.1.213.1.1.5.5"


@lru_cache(maxsize=1)
def _systems() -> dict[str, tuple[str | None, frozenset[str]]]:
    table = json.loads((PROFILES / "professions.json").read_bytes())
    return {
        system: (named["oid"], frozenset(p["code"] for p in table["professions"] if p["system"] == system))
        for system, named in table["systems"].items()
    }


def specialty(claimed: str) -> str:
    """The part of a specialty that rows name.

    >>> specialty("G15_10/SM03"), specialty("SM03^1.2.250.1.71.4.2.5"), specialty("SM03")
    ('SM03', 'SM03', 'SM03')
    """
    return claimed.partition("^")[0].rpartition("/")[2]
