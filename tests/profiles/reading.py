"""Examples of profiles/, as tests read them."""

import copy
import json as plain
from pathlib import Path

from fhir_dmp.fhir import json
from fhir_dmp.fhir.profiles import faults, url_of

PROFILES = Path(__file__).resolve().parents[2] / "profiles"
GOOD = sorted((PROFILES / "examples" / "good").glob("*.json"))
BAD = plain.loads((PROFILES / "examples" / "bad" / "index.json").read_bytes())


def read(path: Path) -> dict:
    return json.parse(path.read_bytes())


def good(name: str) -> dict:
    """A copy of a good example, e.g. "DocumentReference-consultation"."""
    return copy.deepcopy(read(PROFILES / "examples" / "good" / f"{name}.json"))


def bad(name: str) -> dict:
    return read(PROFILES / "examples" / "bad" / name)


def artefacts(kind: str) -> dict[str, dict]:
    """Resources of a kind by url, ids where they have none."""
    found = (read(path) for path in sorted(PROFILES.glob(f"{kind}-*.json")))
    return {one.get("url", one["id"]): one for one in found}


def broken(resource: dict, profile: str) -> list[tuple[str, str]]:
    """(rule, expression) of every fault. profile: id of ours."""
    return [(fault.rule, fault.expression) for fault in faults(resource, url_of(profile))]
