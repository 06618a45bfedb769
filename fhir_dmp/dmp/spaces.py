"""Document types, the class each one belongs to, and the volet and space where people find it.

https://mos.esante.gouv.fr/NOS/JDV_J66-TypeCode-DMP/FHIR/JDV-J66-TypeCode-DMP ; data in profiles/document-types.json
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
PERSONAL = "espace-personnel"
REIMBURSEMENT = "REMB"
# What an emergency may read of the personal space: persons to warn, advance directives.
EMERGENCY_PERSONAL = frozenset({"EXPPAT_1", "EXPPAT_3"})


class DocumentType(NamedTuple):
    """code: unique over all systems of the table. volet: of 2007. space: of 2018."""

    code: str
    system: str
    display: str
    document_class: str
    volet: str
    space: str


@lru_cache(maxsize=1)
def types() -> dict[str, DocumentType]:
    """Every type of the DMP by its code."""
    rows = _table()["types"]
    return {r["code"]: DocumentType(r["code"], r["system"], r["display"], r["class"], r["volet2007"], r["space2018"]) for r in rows}


@lru_cache(maxsize=1)
def classes() -> dict[str, str]:
    """Display of every class by its code."""
    return dict(_table()["classes"])


@lru_cache(maxsize=1)
def class_system() -> str:
    """Code system of the classes."""
    return _table()["classSystem"]


def systems_of(code: str) -> tuple[str, ...]:
    """Every spelling of the system of a type, () for one outside the table."""
    return _spellings().get(code, ())


@lru_cache(maxsize=4096)
def type_token(system: str | None, code: str) -> str:
    """One name for a type: its code where the table knows it, else system|code, which no row of the matrix names.

    >>> type_token("http://loinc.org", "11488-4"), type_token("urn:oid:2.16.840.1.113883.6.1", "11488-4")
    ('11488-4', '11488-4')
    >>> type_token("http://example.org", "11488-4")
    'http://example.org|11488-4'
    """
    return code if code and (system or "") in _spellings().get(code, ()) else f"{system or ''}|{code}"


def class_of(token: str) -> str:
    """Class derived from the type; "" for a type outside the table.

    >>> class_of("11502-2"), class_of("|strange")
    ('10', '')
    """
    known = types().get(token)
    return known.document_class if known else ""


@lru_cache(maxsize=64)
def of_class(code: str) -> frozenset[str]:
    """The types of a class."""
    return frozenset(t.code for t in types().values() if t.document_class == code)


@lru_cache(maxsize=1)
def personal_space() -> frozenset[str]:
    """The types of the holder's personal space."""
    return frozenset(t.code for t in types().values() if t.space == PERSONAL)


def space_of(token: str) -> str:
    """Space of 2018 where a type is shown; `hors-espace` for a type outside the table."""
    known = types().get(token)
    return known.space if known else "hors-espace"


def volet_of(token: str) -> str:
    """Volet of 2007 where a type is shown; `soins` for a type outside the table."""
    known = types().get(token)
    return known.volet if known else "soins"


@lru_cache(maxsize=1)
def _spellings() -> dict[str, tuple[str, ...]]:
    return {row["code"]: (row["system"], f"urn:oid:{row['oid']}") for row in _table()["types"]}


@lru_cache(maxsize=1)
def _table() -> dict:
    return json.loads((PROFILES / "document-types.json").read_bytes())
