"""Real resources: whatever the index finds in one, a search for it finds the resource. Runs where the corpora are."""

import asyncio
import gzip
import json
from decimal import Decimal
from pathlib import Path

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS, to_instant
from fhir_dmp.interactions import search_type
from fhir_dmp.search.extract import each_contained, extract
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.values import Composite, DateRange, Number, Position, Quantity, Reference, String, Token, Uri
from tests.search.hosting import BASE, context_on, rows_of

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"


def resources() -> list[dict]:
    """Resources with an id, each id once: examples, documents of the share, one bundle of dossiers."""
    found: dict[tuple[str, str], dict] = {}
    files = [
        *sorted(CORPORA.glob("r4-examples/*.ndjson")),
        *sorted(CORPORA.glob("pdsm*/*.json")),
        *sorted(CORPORA.glob("synthea/*.gz"))[:1],
    ]
    for file in files:
        text = (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()
        for line in text.splitlines() if file.suffix == ".ndjson" else (text,):
            if line.strip():
                waiting = [json.loads(line, parse_float=Decimal)]
                while waiting:
                    each = waiting.pop()
                    if tables.known_type(each.get("resourceType")) and each.get("id"):
                        found.setdefault((each["resourceType"], each["id"]), each)
                    if each.get("resourceType") == "Bundle":
                        waiting += [entry["resource"] for entry in each.get("entry", ()) if "resource" in entry]
    return list(found.values())


def escaped(text: str) -> str:
    return "".join("\\" + ch if ch in "\\,|$" else ch for ch in text)


def token(value: Token) -> str:
    return f"{escaped(value.system)}|{escaped(value.code)}" if value.system else escaped(value.code)


def questions(code: str, value: object) -> list[tuple[str, str]]:
    """What may be asked to find this value."""
    match value:
        case Token(_, None, None) | Position() | Reference(None, None, None, None, None):
            return [(f"{code}:missing", "false")]
        case Token(_, None, text):
            return [(f"{code}:text", text[:30])] if any(ch.isalnum() for ch in text[:30]) else []
        case Token():
            return [(code, token(value))]
        case Reference(type_name, id_, version, url, identifier):
            if id_ is not None and type_name is not None:
                return [(code, f"{type_name}/{id_}")]
            if identifier is not None and identifier.code:
                return [(f"{code}:identifier", token(identifier))]
            return [(code, escaped(url) + (f"|{version}" if version else ""))] if url and not url.startswith("#") else []
        case String(raw, folded):
            asked = [(f"{code}:exact", escaped(raw))] if len(raw) < 1000 else []
            return [*asked, (code, escaped(raw[:20]))] if folded and any(ch.isalnum() for ch in raw[:20]) else asked
        case DateRange(lo, hi):
            if lo < MIN_MS or hi > MAX_MS:
                return [(code, "gt" + to_instant(max(lo, MIN_MS)))] if hi > MAX_MS else [(code, "lt" + to_instant(hi))]
            return [(code, "ge" + to_instant(lo)), (code, "le" + to_instant(hi))]
        case Number(lo, _):
            return [(code, f"ge{lo}")] if lo.is_finite() else []
        case Quantity(lo, hi, system, unit, words, _):
            number = lo if lo.is_finite() else hi
            named = f"|{escaped(system)}|{escaped(unit)}" if system and unit else f"||{escaped(words)}" if words else ""
            return [(code, f"{'ge' if lo.is_finite() else 'le'}{number}{named}")] if len(str(number)) < 40 else []
        case Uri(text):
            return [(code, escaped(text)), (f"{code}:below", escaped(text))]
        case Composite(parts):
            inner = [questions("", part[0]) for part in parts]
            plain = [asked[0][1] for asked in inner if asked and asked[0][0] == ""]
            return [(code, "$".join(plain))] if len(plain) == len(parts) else []
    raise AssertionError(value)


async def test_what_is_found_in_a_resource_finds_the_resource(sandbox_store, histories):
    context, wrong, asked = context_on(sandbox_store), [], 0
    # Resources for each parameter.
    several = histories(1, 2)
    made = resources()
    rows = [rows_of(sandbox_store, resource) for resource in made]
    await asyncio.gather(*(sandbox_store.create(row) for row in rows))
    seen: dict[tuple[str, str], int] = {}
    for resource in made:
        type_name = resource["resourceType"]
        for code, values in extract(type_name, resource, base_urls=(BASE,)).items():
            if ">" in code or code == "_lastUpdated" or parameters(type_name)[code].type == "special":
                continue
            seen[type_name, code] = seen.get((type_name, code), 0) + 1
            if seen[type_name, code] > several:
                continue
            for question in questions(code, values[0]):
                asked += 1
                try:
                    result = await search_type.search(context, type_name, [question, ("_id", resource["id"]), ("_total", "none")])
                except FhirError as error:
                    wrong.append((type_name, question, error.message))
                    continue
                if [entry.id for entry in result.entries] != [resource["id"]]:
                    wrong.append((type_name, resource["id"], question, values[0]))
    assert wrong == []
    assert asked > 1000 or not made


async def test_what_is_found_in_a_contained_resource_finds_its_container(sandbox_store):
    context, wrong, asked, seen = context_on(sandbox_store), [], 0, set()
    made = [resource for resource in resources() if resource.get("contained") and resource["resourceType"] != "Bundle"]
    await asyncio.gather(*(sandbox_store.create(rows_of(sandbox_store, resource)) for resource in made))
    for resource in made:
        container = f"{resource['resourceType']}/{resource['id']}"
        for _, type_name, index in each_contained(resource, base_urls=(BASE,)):
            for code, values in index.items():
                if ">" in code or parameters(type_name)[code].type == "special" or (type_name, code) in seen:
                    continue
                seen.add((type_name, code))
                for question in questions(code, values[0])[:1]:
                    asked += 1
                    result = await search_type.search(context, type_name, [question, ("_contained", "true"), ("_count", "1000")])
                    if container not in {entry.address for entry in result.entries}:
                        wrong.append((container, type_name, question))
    assert wrong == []
    assert asked > 100 or not made
