#!/usr/bin/env python3
"""Write the compact tables of fhir_dmp/fhir/definitions/ from the official FHIR R4 (4.0.1) definitions.

https://hl7.org/fhir/R4/downloads.html

Usage: scripts/generate_definitions.py [--source ../shared/fhir-r4] [--target fhir_dmp/fhir/definitions]

The source folder holds the bundles of StructureDefinitions, SearchParameters and CompartmentDefinitions and the expanded value sets.
The same source always gives the same bytes. Only names, types, numbers, codes and expressions are kept, no prose.
"""

import argparse
import gzip
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROFILE = "http://hl7.org/fhir/StructureDefinition/"
SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
FHIR_TYPE = PROFILE + "structuredefinition-fhir-type"
FILES = (
    "types.json",
    "elements.json",
    "bindings.json",
    "search_parameters.json",
    "compartments.json",
    "value_sets.json",
    "hierarchies.json",
)
TERMINOLOGY = ("valuesets.json", "v3-codesystems.json", "v2-tables.json")
# Value sets of more codes are left out: too many for one search.
MOST_CODES = 2_000


def read(source: Path, name: str) -> object:
    plain = source / name
    data = plain.read_bytes() if plain.exists() else gzip.decompress((source / f"{name}.gz").read_bytes())
    return json.loads(data)


def structures(source: Path) -> dict[str, dict]:
    """StructureDefinitions of the base types by name; SimpleQuantity and MoneyQuantity are profiles on Quantity, not types."""
    found = {}
    for name in ("profiles-resources.json", "profiles-types.json"):
        for entry in read(source, name)["entry"]:
            definition = entry["resource"]
            if definition["resourceType"] == "StructureDefinition" and definition.get("derivation") != "constraint":
                found[definition["id"]] = definition
    return found


def type_names(element: dict) -> list[str]:
    names = []
    for listed in element.get("type", ()):
        code = listed["code"]
        if code.startswith(SYSTEM_TYPE):
            # Resource.id is announced as string in R4's own data; the chapter on resources and the published schema say id.
            said = [e["valueUrl"] for e in listed.get("extension", ()) if e["url"] == FHIR_TYPE]
            code = "id" if element["base"]["path"] == "Resource.id" else said[0]
        if PROFILE + "SimpleQuantity" in listed.get("profile", ()):
            code = "SimpleQuantity"
        names.append(code)
    return names


def element_row(element: dict) -> list:
    """[name, types joined by |, min, max (0 = many), flags, details]; flags: s summary, m modifier, a attribute (no `_name`)."""
    details = {}
    if "contentReference" in element:
        details["content"] = element["contentReference"].removeprefix("#")
    binding = element.get("binding", {})
    if binding.get("strength") == "required":
        details["binding"] = binding["valueSet"].split("|")[0]
    targets = [
        profile.removeprefix(PROFILE) for t in element.get("type", ()) if t["code"] == "Reference" for profile in t.get("targetProfile", ())
    ]
    if targets and "Resource" not in targets:
        details["targets"] = targets
    plain = any(t["code"].startswith(SYSTEM_TYPE) for t in element.get("type", ()))
    flags = ("s" if element.get("isSummary") else "") + ("m" if element.get("isModifier") else "") + ("a" if plain else "")
    row = [
        element["path"].rsplit(".", 1)[1],
        "|".join(type_names(element)),
        element["min"],
        0 if element["max"] == "*" else int(element["max"]),
        flags,
        details,
    ]
    while row and row[-1] in ("", {}):
        row.pop()
    return row


def element_tables(found: dict[str, dict]) -> dict[str, list]:
    """Path of a type or of a backbone element -> rows of its elements, in the order of the standard."""
    tables: dict[str, list] = {}
    for name, definition in found.items():
        if definition["kind"] == "primitive-type":
            continue
        tables[name] = []
        for element in definition["snapshot"]["element"][1:]:
            parent = element["path"].rsplit(".", 1)[0]
            tables.setdefault(parent, []).append(element_row(element))
    return tables


def kinds(found: dict[str, dict]) -> dict[str, list[str]]:
    def those(kind: str, *, abstract: bool = False) -> list[str]:
        return sorted(n for n, d in found.items() if d["kind"] == kind and bool(d.get("abstract")) is abstract)

    return {
        "resources": those("resource"),
        "abstract": sorted(those("resource", abstract=True) + those("complex-type", abstract=True)),
        "complex": those("complex-type"),
        "primitives": those("primitive-type"),
    }


def bindings(source: Path, tables: dict[str, list]) -> dict[str, dict | None]:
    """Value set -> {code system: [codes]}, null when it cannot be enumerated; only those that some element requires."""
    used = {row[5]["binding"] for rows in tables.values() for row in rows if len(row) > 5 and "binding" in row[5]}
    listed = read(source, "required-bindings.json")["valueSets"]
    answer: dict[str, dict | None] = {}
    for url in sorted(used):
        codes = listed[url]["codes"]
        if codes is None:
            answer[url] = None
            continue
        systems: dict[str, set[str]] = {}
        for system, code in codes:
            systems.setdefault(system, set()).add(code)
        answer[url] = {system: sorted(codes) for system, codes in sorted(systems.items())}
    return answer


def terminology(source: Path, required: dict[str, dict | None]) -> tuple[dict[str, dict], dict[str, dict]]:
    """Value sets made of code systems that the standard publishes whole, beside those some element requires.

    And code system -> code -> codes directly below, without those that have none: {} for a system without hierarchy.
    """
    resources = [entry["resource"] for name in TERMINOLOGY for entry in read(source, name)["entry"]]
    systems = {r["url"]: r for r in resources if r["resourceType"] == "CodeSystem" and r.get("content") == "complete"}
    sets = {r["url"]: r for r in resources if r["resourceType"] == "ValueSet"}
    below = {url: children(r.get("concept", ())) for url, r in systems.items()}
    abstract = {url: unselectable(r.get("concept", ())) for url, r in systems.items()}

    def filtered(system: str, condition: dict) -> set[str] | None:
        if (
            condition["property"] != "concept"
            or condition["op"] not in ("is-a", "descendent-of")
            or condition["value"] not in below[system]
        ):
            return None
        found, waiting = set(), [condition["value"]]
        while waiting:
            for each in below[system][waiting.pop()]:
                if each not in found:
                    found.add(each)
                    waiting.append(each)
        return found | {condition["value"]} if condition["op"] == "is-a" else found

    def part(include: dict, depth: int) -> set[tuple[str, str]] | None:
        found = None
        if depth > 5:
            return None
        if system := include.get("system"):
            listed = {concept["code"] for concept in include["concept"]} if "concept" in include else below.get(system)
            if listed is None:
                return None
            for condition in include.get("filter", ()):
                narrowed = filtered(system, condition)
                if narrowed is None:
                    return None
                listed = narrowed.intersection(listed)
            left_out = frozenset() if "concept" in include else abstract.get(system, frozenset())
            found = {(system, code) for code in listed if code not in left_out}
        for url in include.get("valueSet", ()):
            codes = whole(url.partition("|")[0], depth + 1)
            if codes is None:
                return None
            found = codes if found is None else found & codes
        return found

    def whole(url: str, depth: int = 0) -> set[tuple[str, str]] | None:
        compose = sets.get(url, {}).get("compose", {})
        included, excluded = ([part(each, depth) for each in compose.get(name, ())] for name in ("include", "exclude"))
        if not included or None in (*included, *excluded):
            return None
        return set().union(*included) - set().union(*excluded)

    answer: dict[str, dict] = {}
    for url in sorted(sets.keys() - required.keys()):
        codes = whole(url)
        if codes and len(codes) <= MOST_CODES:
            answer[url] = {system: sorted(code for owner, code in codes if owner == system) for system in sorted({s for s, _ in codes})}
    return answer, {url: {code: inner for code, inner in codes.items() if inner} for url, codes in sorted(below.items())}


def children(concepts: list[dict]) -> dict[str, list[str]]:
    """Code -> codes directly below it, of a code system: concepts inside it, and those it names as its children."""
    found: dict[str, list[str]] = {}
    waiting = list(concepts)
    while waiting:
        concept = waiting.pop(0)
        inner = list(concept.get("concept", ()))
        named = [each["valueCode"] for each in concept.get("property", ()) if each["code"] == "child"]
        there = found.setdefault(concept["code"], [])
        there += [code for code in dict.fromkeys([*(each["code"] for each in inner), *named]) if code not in there]
        waiting = inner + waiting
    return found


def unselectable(concepts: list[dict]) -> frozenset[str]:
    """Codes of a code system that only group others: they are in no value set that does not name them."""
    found: set[str] = set()
    for concept in concepts:
        if any(each["code"] == "notSelectable" and each.get("valueBoolean") for each in concept.get("property", ())):
            found.add(concept["code"])
        found |= unselectable(concept.get("concept", []))
    return frozenset(found)


def search_parameters(source: Path) -> list[dict]:
    """One row per SearchParameter, by url; expressions as published."""
    rows = []
    for entry in read(source, "search-parameters.json")["entry"]:
        parameter = entry["resource"]
        row = {key: parameter[key] for key in ("url", "code", "type", "base")}
        for key in ("expression", "target"):
            if key in parameter:
                row[key] = parameter[key]
        if parameter["xpathUsage"] != "normal":
            row["xpathUsage"] = parameter["xpathUsage"]
        if "component" in parameter:
            row["component"] = [[part["definition"], part["expression"]] for part in parameter["component"]]
        rows.append(row)
    return sorted(rows, key=lambda row: (row["url"], row["base"]))


def compartments(source: Path) -> dict[str, dict[str, list[str]]]:
    """Compartment -> resource type -> search parameters that put a resource in it; types never in it are absent."""
    answer = {}
    for path in sorted(source.glob("compartmentdefinition-*.json")):
        definition = json.loads(path.read_bytes())
        answer[definition["code"]] = {r["code"]: r["param"] for r in definition["resource"] if r.get("param")}
    return dict(sorted(answer.items()))


def compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lines(value: dict | list) -> bytes:
    """Compact JSON with one line for each top-level member, so that a change of the source shows as changed lines."""
    if isinstance(value, dict):
        body = ",\n".join(f"{compact(key)}:{compact(member)}" for key, member in sorted(value.items()))
        return f"{{\n{body}\n}}\n".encode()
    return ("[\n" + ",\n".join(map(compact, value)) + "\n]\n").encode()


def generate(source: Path) -> dict[str, bytes]:
    """File name -> content."""
    found = structures(source)
    tables = element_tables(found)
    required = bindings(source, tables)
    contents = (kinds(found), tables, required, search_parameters(source), compartments(source), *terminology(source, required))
    return {name: lines(content) for name, content in zip(FILES, contents, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT.parent / "shared" / "fhir-r4", help="folder of the official definitions")
    parser.add_argument("--target", type=Path, default=ROOT / "fhir_dmp" / "fhir" / "definitions", help="folder to write to")
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    for name, content in generate(arguments.source).items():
        (arguments.target / name).write_bytes(content)
        print(f"{name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
