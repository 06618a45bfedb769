#!/usr/bin/env python3
"""Write the FHIR artefacts of `profiles/` from the compact sources of scripts/profile_sources, the same bytes each time.

https://hl7.org/fhir/R4/profiling.html

Usage: scripts/generate_profiles.py [--check] [--target profiles]
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.profile_sources import conformance, consents, documents, others, people, terminology, traces  # noqa: E402
from scripts.profile_sources.examples import bad, good  # noqa: E402
from scripts.profile_sources.making import Book  # noqa: E402

MANIFEST = "generated.json"
PROFILES = (*people.PROFILES, *documents.PROFILES, *consents.PROFILES, *traces.PROFILES)
# Arrays whose members each take a line.
LONG = frozenset({"element", "concept", "parameter", "include", "group"})


def artefacts() -> Iterator[dict[str, Any]]:
    book = Book()
    for profile in PROFILES:
        yield book.make(profile)
    yield from terminology.all_of()
    yield from conformance.all_of()


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def text(value: object, depth: int = 0, name: str = "") -> str:
    """JSON with a line for each top-level member, and one for each member of a long array.

    >>> print(text({"a": {"b": 1}, "element": [{"c": 1}, {"d": 2}]}))
    {
     "a":{"b":1},
     "element":[
      {"c":1},
      {"d":2}
     ]
    }
    """
    space = " " * (depth + 1)
    if isinstance(value, dict) and value and (depth == 0 or LONG & value.keys()):
        parts = ",\n".join(f"{space}{compact(key)}:{text(inner, depth + 1, key)}" for key, inner in value.items())
        return f"{{\n{parts}\n{' ' * depth}}}"
    if isinstance(value, list) and name in LONG:
        return "[\n" + ",\n".join(space + text(inner, depth + 1) for inner in value) + f"\n{' ' * depth}]"
    return compact(value)


def files() -> dict[str, bytes]:
    """Path below profiles/ -> content."""
    found = {f"{one['resourceType']}-{one['id']}.json": one for one in artefacts()}
    answer = {name: (text(one) + "\n").encode() for name, one in found.items()}
    value_sets = [one for one in found.values() if one["resourceType"] == "ValueSet"]
    for one in (*others.extensions(), *others.fragments(value_sets)):
        answer[f"others/{one['resourceType']}-{one['id']}.json"] = (text(one) + "\n").encode()
    for name, example in good.examples().items():
        answer[f"examples/good/{name}.json"] = (json.dumps(example, ensure_ascii=False, indent=1) + "\n").encode()
    index = {}
    for name, (example, about) in bad.examples().items():
        answer[f"examples/bad/{name}.json"] = (json.dumps(example, ensure_ascii=False, indent=1) + "\n").encode()
        index[f"{name}.json"] = about
    answer["examples/bad/index.json"] = (json.dumps(index, ensure_ascii=False, indent=1) + "\n").encode()
    answer[MANIFEST] = (json.dumps(sorted([*answer, MANIFEST]), indent=1) + "\n").encode()
    return answer


def listed(target: Path) -> set[str]:
    """Files of profiles/ that this script wrote the last time; others may stand beside them, and are left alone."""
    manifest = target / MANIFEST
    return set(json.loads(manifest.read_bytes())) if manifest.exists() else set()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", type=Path, default=ROOT / "profiles", help="folder to write to")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something differs")
    arguments = parser.parse_args()
    made = files()
    # Nothing is removed but what this script itself made before: profiles/ is shared with tables and artefacts made elsewhere.
    stale = {name for name in listed(arguments.target) - set(made) if (arguments.target / name).exists()}
    changed = [n for n, content in made.items() if not (p := arguments.target / n).exists() or p.read_bytes() != content]
    if arguments.check:
        print("\n".join([*changed, *sorted(stale)]))
        return 1 if changed or stale else 0
    for name in changed:
        path = arguments.target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[name])
    for name in stale:
        (arguments.target / name).unlink()
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes: {len(changed)} written, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
