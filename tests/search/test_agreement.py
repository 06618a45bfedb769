"""The two evaluators agree: what MongoDB gives for a filter is what `matches` says of the indexes, or more where the filter says so."""

import asyncio
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.search.criteria import PREFIXES
from fhir_dmp.search.extract import extract
from fhir_dmp.search.narrow import to_mongo
from fhir_dmp.search.parameters import parameters
from fhir_dmp.search.predicate import matches
from fhir_dmp.search.query import parse
from fhir_dmp.search.terminology import terminology_of
from tests.search.building import CODES, DATES, IDS, NUMBERS, SYSTEMS, URIS, WORDS, add
from tests.search.hosting import BASE, rows_of

# Types with every kind of parameter: composites of each form, numbers, quantities, periods, canonicals, extensions, birth dates.
TYPES = (
    "Patient", "Observation", "DocumentReference", "List", "Encounter", "RiskAssessment", "MolecularSequence", "ValueSet",
    "ActivityDefinition", "Invoice", "Group", "Practitioner", "Condition", "Consent", "AuditEvent",
)  # fmt: skip
SHIPPED = terminology_of(
    [
        {"resourceType": "CodeSystem", "url": "http://loinc.org", "concept": [{"code": "85354-9", "concept": [{"code": "8480-6"}]}]},
        {"resourceType": "ValueSet", "url": "http://v", "compose": {"include": [{"system": "http://loinc.org"}]}},
    ]
)
UCUM = "http://unitsofmeasure.org"
MODIFIERS = {
    "token": ("", "", "not", "text", "missing", "in", "not-in", "of-type", "below", "above"),
    "reference": ("", "", "identifier", "missing", "Patient", "Practitioner"),
    "string": ("", "exact", "contains", "missing"),
    "uri": ("", "above", "below", "missing"),
}


def token(draw: Random) -> str:
    code, system = draw.choice((*CODES, "male", "true", "false")).replace(",", "\\,"), draw.choice(SYSTEMS)
    escaped = (system or "").replace("|", "\\|")
    return draw.choice((code, f"{escaped}|{code}", f"|{code}", f"{escaped or 'http://loinc.org'}|"))


def value_for(draw: Random, kind: str, modifier: str, components: tuple) -> str:
    """A value for a parameter of this type, mostly well formed."""
    match kind, modifier:
        case _, "missing":
            return draw.choice(("true", "false"))
        case "token", "text":
            return draw.choice(WORDS)[: draw.randint(1, 5)]
        case "token", "in" | "not-in":
            return "http://v"
        case "token", "of-type":
            return f"http://v2|MR|{draw.choice(CODES)}"
        case "token", "below" | "above":
            return f"http://loinc.org|{draw.choice(CODES[4:])}"
        case "reference", "identifier":
            return token(draw)
        case "token", _:
            return token(draw)
        case "reference", _:
            id_ = draw.choice(IDS)
            return draw.choice(
                (id_, f"Patient/{id_}", f"Practitioner/{id_}/_history/2", f"http://other.example/fhir/Patient/{id_}", draw.choice(URIS))
            )
        case "string", "exact":
            return draw.choice(WORDS)
        case "string", _:
            word = draw.choice(WORDS)
            start = 0 if modifier == "" else draw.randint(0, 2)
            return word[start : start + draw.randint(1, 12)] or word
        case "uri", _:
            return draw.choice(URIS) + draw.choice(("", "/x/y", "/"))
        case "date", _:
            return draw.choice(("", *PREFIXES)) + draw.choice(DATES)
        case "number", _:
            return draw.choice(("", *PREFIXES)) + draw.choice(NUMBERS)
        case "quantity", _:
            unit = draw.choice(
                ("", f"|{UCUM}|mg", f"|{UCUM}|g", f"|{UCUM}|mm[Hg]", "||mg", "|http://units.example|tab", "|urn:iso:std:iso:4217|EUR")
            )
            return draw.choice(("", *PREFIXES)) + draw.choice(NUMBERS) + unit
        case "composite", _:
            return "$".join(value_for(draw, component.type, "", ()) for component in components)
    return "1|2"


def question(draw: Random, type_name: str) -> tuple[str, str]:
    known = [p for p in parameters(type_name).values() if p.type != "special"]
    parameter = draw.choice(known)
    modifier = draw.choice(MODIFIERS.get(parameter.type, ("", "", "", "missing")))
    values = [
        value_for(draw, parameter.type, modifier, parameter.components)
        for _ in range(1 if modifier == "missing" else draw.choice((1, 1, 2)))
    ]
    return parameter.code + (f":{modifier}" if modifier else ""), ",".join(values)


async def test_mongodb_and_the_pure_evaluator_agree(sandbox_store):
    store, random = sandbox_store, Random(20)
    indexes: dict[str, dict[bytes, dict]] = {}
    for type_name in TYPES:
        known = list(parameters(type_name).values())
        for number in range(25):
            made = {"resourceType": type_name, "id": f"r{number}"}
            for parameter in random.sample(known, k=min(len(known), random.randint(0, 12))):
                if parameter.code not in ("_id", "_lastUpdated") and parameter.type != "special":
                    add(made, parameter, random)
            row = rows_of(store, made)
            await store.create(row)
            opened = (await store.load(row.key)).body
            indexes.setdefault(type_name, {})[row.key] = extract(type_name, json.parse(opened), base_urls=(BASE,))
    loop, seen = asyncio.get_running_loop(), {"exact": 0, "narrowed": 0, "met": 0, "modifiers": set()}

    @settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 2**32))
    def check(seed: int) -> None:
        draw = Random(seed)
        type_name = draw.choice(TYPES)
        pairs = [question(draw, type_name) for _ in range(draw.choice((1, 1, 2)))]
        try:
            ((_, predicate),) = parse(type_name, pairs, now_ms=1_700_000_000_000, terminology=SHIPPED, base_urls=(BASE,)).alternatives
        except FhirError:
            return
        expected = {key for key, index in indexes[type_name].items() if matches(predicate, index, store.vault.hash64)}
        narrow = to_mongo(predicate, type_name, store.vault.hash64, store.vault.locate)
        asked = store.find(narrow.filter, types=(type_name,), limit=1000, bodies=False)
        found = {row.key for row in asyncio.run_coroutine_threadsafe(asked, loop).result()}
        assert found == expected if narrow.exact else found >= expected, (type_name, pairs, narrow)
        seen["exact" if narrow.exact else "narrowed"] += 1
        seen["met"] += bool(expected)
        seen["modifiers"] |= {(parameters(type_name)[name.partition(":")[0]].type, name.partition(":")[2]) for name, _ in pairs}

    await asyncio.to_thread(check)
    # The questions were not empty ones.
    assert seen["met"] > 100 and seen["exact"] > 300 and seen["narrowed"] > 20
    assert {"token", "reference", "string", "uri", "date", "number", "quantity", "composite"} == {kind for kind, _ in seen["modifiers"]}
    assert {(kind, modifier) for kind, modifiers in MODIFIERS.items() for modifier in modifiers} <= seen["modifiers"]
