"""What is remembered of members gives the same index as reading the resource whole, whatever was read before."""

import gzip
import json
import random
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from fhir_dmp.bench import mixed
from fhir_dmp.consent import predicate
from fhir_dmp.fhir import instants, references, rules, schema
from fhir_dmp.fhir import json as exact
from fhir_dmp.fhir.tables import RESOURCE_TYPES
from fhir_dmp.interactions.prepare import patients_named
from fhir_dmp.search import blind, extract, remembered
from fhir_dmp.store.vault import Vault
from tests.fhir.generated import MUTATIONS, mutated

ROOT = Path(__file__).parents[2]
FIXTURES = (ROOT / "tests" / "fixtures" / "import", ROOT.parent / "shared" / "corpora")
OURS = ("https://host.example/fhir",)
HASH = Vault(bytes(range(32))).hash64


@cache
def bodies() -> list[bytes]:
    """The resources of all fixtures and of a few invented dossiers."""
    found = [json.dumps(one, ensure_ascii=False).encode() for number in range(3) for one in mixed.dossier(number)]
    for path in sorted(path for folder in FIXTURES for path in folder.rglob("*") if path.is_file()):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in data.splitlines() if ".ndjson" in path.name else [data] if ".json" in path.name else []:
            tree = exact.parse_exact(line)
            inner = tree.get("entry", []) if tree["resourceType"] == "Bundle" else [{"resource": tree}]
            found += [exact.dump(one["resource"]) for one in inner if isinstance(one.get("resource"), dict)]
    return found


@cache
def sampled(step: int) -> list[bytes]:
    """Of them: for every member of every type the first three that have it, and one in `step` of the others."""
    kept, met = [], Counter()
    for number, body in enumerate(bodies()):
        value = exact.parse(body)
        names = [(value["resourceType"], name) for name in value]
        met.update(names)
        if number % step == 0 or min(met[name] for name in names) <= 3:
            kept.append(body)
    return kept


def told(memory: remembered.Memory, body: bytes) -> remembered.Told:
    value = exact.parse(body)
    return memory.told(value["resourceType"], value, exact.members(body))


@pytest.mark.parametrize("members", [rules.MEMBERS, 3], ids=["all", "three at a time"])
def test_members_that_were_sound_are_sound_again_and_faults_stay_faults(monkeypatch, members, histories):
    monkeypatch.setattr(rules, "MEMBERS", members)
    chance = random.Random(11)
    sound = sampled(histories(12, 1))
    short = [one for one in sound if len(one) < 20_000]
    broken = (mutated(exact.parse(chance.choice(short)), kind, chance) for kind in MUTATIONS for _ in range(8))
    wrong = [exact.dump(one[0]) for one in broken if one is not None]
    faulty = 0
    for body in [*sound, *wrong, *wrong, *sound]:
        value = exact.parse(body)
        whole = schema.validate(value)
        assert schema.validate(value, members=exact.members(body)) == whole, body
        faulty += bool(whole)
    assert faulty > 2 * len(MUTATIONS)


@pytest.mark.parametrize("members", [remembered.MEMBERS, 3], ids=["all", "three at a time"])
def test_it_is_the_index_of_the_whole_resource(monkeypatch, members, histories):
    monkeypatch.setattr(remembered, "MEMBERS", members)
    memory, some = remembered.Memory(HASH, OURS), sampled(histories(12, 1))
    for body in [*some, *some]:
        value = exact.parse(body)
        kind = value["resourceType"]
        index = extract.extract(kind, value, base_urls=OURS)
        found, named = told(memory, body), patients_named(kind, index)
        assert found.patients == named
        for patient in (None, *(f"Patient/{id}" for id in named)):
            whole, parts = blind.entries(kind, index, HASH, patient), found.entries(patient)
            for field in ("x", "g", "c", "n"):
                assert sorted(getattr(parts, field)) == sorted(getattr(whole, field)), (kind, field)


def test_the_same_bytes_in_another_member_another_type_or_another_dossier_are_something_else():
    memory = remembered.Memory(HASH, OURS)
    one = b'{"resourceType":"Condition","subject":{"reference":"Patient/a"},"asserter":{"reference":"Patient/a"}}'
    other = b'{"resourceType":"Observation","subject":{"reference":"Patient/a"}}'
    first, second = told(memory, one), told(memory, other)
    assert not set(first.entries("Patient/a").x) & set(second.entries("Patient/a").x)
    assert set(second.entries(None).g) > set(second.entries("Patient/a").g)
    assert told(memory, other).entries("Patient/a") == second.entries("Patient/a")


def test_a_reference_into_what_is_contained_is_read_with_what_it_leads_to():
    memory = remembered.Memory(HASH, OURS)

    def author(family: str) -> set[int]:
        holder = {"resourceType": "Practitioner", "id": "p", "name": [{"family": family}]}
        body = {"resourceType": "DocumentReference", "contained": [holder], "author": [{"reference": "#p"}]}
        return set(told(memory, json.dumps(body).encode()).entries(None).x)

    assert author("OZENNE") != author("PASTOUREAU")


def test_what_several_members_say_is_known_for_every_type():
    for type_name in RESOURCE_TYPES:
        for several in extract.several_members(type_name):
            assert several.members and several.needs


def test_what_is_long_is_not_kept():
    long = "x" * 100_000
    instants._interval.cache_clear()
    before = [one.cache_info().currsize for one in (references._parsed, instants._interval, blind._common, predicate._hashed_once)]
    assert references.parse_reference(f"https://a.example/{long}").kind == "absolute"
    assert instants.interval(f"2026-01-01T00:00:00.{'0' * 5000}Z")[0] == instants.interval("2026-01-01T00:00:00Z")[0]
    assert blind.common_token("Basic", "code", "month", long, HASH) == HASH(blind.key("Basic", "code", "month", long))
    assert predicate.often("author", long, HASH) == predicate.hashed("author", long, HASH)
    after = [one.cache_info().currsize for one in (references._parsed, instants._interval, blind._common, predicate._hashed_once)]
    assert [b - a for a, b in zip(before, after, strict=True)] == [0, 1, 0, 0]
    memory = remembered.Memory(HASH, OURS)
    told(memory, json.dumps({"resourceType": "Basic", "code": {"text": long}}).encode())
    assert not any(len(part) > remembered.LONGEST for key in memory._young for part in key)
