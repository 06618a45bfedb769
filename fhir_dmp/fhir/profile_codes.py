"""Value sets of `profiles/` and of R4, as sets of codes to look in.

https://hl7.org/fhir/R4/terminologies.html#strength and https://hl7.org/fhir/R4/valueset.html#compositions
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from fhir_dmp.fhir import tables

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
Codes = Mapping[str, frozenset[str]]


@cache
def members(url: str) -> Codes | None:
    """Code system -> codes of a value set; None when it is unknown or cannot be enumerated.

    >>> "11488-4" in members("https://fhir-dmp.example.org/fhir/ValueSet/dmp-document-type")["http://loinc.org"]
    True
    """
    plain = url.partition("|")[0]
    found = _published("ValueSet").get(plain)
    if found is None:
        listed = tables.known_codes(plain)
        return None if listed is None else {system: frozenset(codes) for system, codes in listed.items()}
    codes: dict[str, frozenset[str]] = {}
    for include in found["compose"]["include"]:
        system = include["system"]
        listed = include["concept"] if "concept" in include else _published("CodeSystem")[system]["concept"]
        codes[system] = codes.get(system, frozenset()) | {one["code"] for one in listed}
    return codes


def holds(codes: Codes, value: object) -> bool | None:
    """Whether a code, Coding or CodeableConcept has a code of the set; None when it names no code at all."""
    if isinstance(value, str):
        return any(value in listed for listed in codes.values())
    if not isinstance(value, dict):
        return None
    if "coding" in value:
        coded = [one for one in value["coding"] if isinstance(one, dict) and "code" in one] if isinstance(value["coding"], list) else []
        return any(holds(codes, one) for one in coded) if coded else None
    code, system = value.get("code"), value.get("system")
    if not isinstance(code, str):
        return None
    return isinstance(system, str) and code in codes.get(system, ())


@cache
def _published(kind: str) -> Mapping[str, dict]:
    """Resources of a kind in profiles/, by url."""
    read = (json.loads(path.read_bytes()) for path in sorted(PROFILES.glob(f"{kind}-*.json")))
    return {one["url"]: one for one in read}
