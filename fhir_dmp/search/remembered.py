"""The index of a resource, each of its top-level members read once as long as its bytes are remembered.

https://hl7.org/fhir/R4/search.html

Most members of a resource say what those of others said before: codes, authors, the patient, the encounter. What a member gives depends
on its bytes alone, so extract and blind are asked once for each that differs. A resource that contains others is read whole.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain

from fhir_dmp.fhir.tables import compartment
from fhir_dmp.search import blind, extract
from fhir_dmp.search.blind import DATE, OWN_FIELDS, Entries, Tokens
from fhir_dmp.search.predicate import Hash64
from fhir_dmp.search.values import Index, Reference

# Members that are remembered, in each of two generations, and the longest that are.
MEMBERS, LONGEST = 4096, 512


class Part:
    """What a part of a resource gives. patients: logical ids of those in whose compartment it places the resource. dates: of `date`.

    Its tokens depend on the patient whose dossier it is, where it names one.
    """

    __slots__ = ("_index", "_tokens", "_type", "dates", "patients")

    def __init__(self, type_name: str, index: Index) -> None:
        self._type = type_name
        self._index = {code: values for code, values in index.items() if code not in OWN_FIELDS}
        self._tokens: dict[str | None, Tokens] = {}
        self.dates = index.get(DATE, ())
        placing = compartment("Patient").get(type_name, ())
        self.patients = frozenset(
            v.id for code in placing for v in index.get(code, ()) if isinstance(v, Reference) and v.type == "Patient" and v.id
        )

    def tokens(self, hash64: Hash64, patient: str | None) -> Tokens:
        """Its tokens in the dossier of a patient, `Patient/id`."""
        asked = patient if self.patients else None
        found = self._tokens.get(asked)
        if found is None:
            found = self._tokens[asked] = blind.tokens(self._type, self._index, hash64, asked)
        return found


class Told:
    """What the search parameters of a resource find in it."""

    __slots__ = ("_hash64", "_parts", "_type", "patients")

    def __init__(self, type_name: str, parts: list[Part], hash64: Hash64) -> None:
        self._type, self._parts, self._hash64 = type_name, parts, hash64
        self.patients: frozenset[str] = frozenset().union(*(part.patients for part in parts if part.patients))

    def entries(self, patient: str | None) -> Entries:
        """As blind.entries."""
        dates = chain.from_iterable(part.dates for part in self._parts if part.dates)
        return blind.joined(self._type, [part.tokens(self._hash64, patient) for part in self._parts], dates, self._hash64)


class Memory:
    """What members gave. base_urls: addresses of this server."""

    def __init__(self, hash64: Hash64, base_urls: tuple[str, ...]) -> None:
        self._hash64, self._base_urls = hash64, base_urls
        self._young: dict[tuple, Part] = {}
        self._old: dict[tuple, Part] = {}

    def told(self, type_name: str, value: dict, members: Mapping[str, object]) -> Told:
        """What is found in a resource. members: its top-level members, as bytes."""
        if value.get("contained"):
            return Told(type_name, [Part(type_name, extract.extract(type_name, value, base_urls=self._base_urls))], self._hash64)
        parts = []
        single = extract.single_members(type_name)
        for name, raw in members.items():
            if name in single and name != "id":
                key = (type_name, name, bytes(raw))
                part = self._young.get(key) or self._earlier(key)
                if part is None:
                    index = extract.of_member(type_name, name, value[name], value, self._base_urls) if value[name] is not None else {}
                    part = self._keep(key, Part(type_name, index), len(key[2]))
                parts.append(part)
        for several in extract.possible_members(type_name, tuple(members)):
            raws = [bytes(members[name]) if name in members else b"" for name in several.members]
            key = (type_name, several.code, *raws, "")
            part = self._young.get(key) or self._earlier(key)
            if part is None:
                index = extract.of_several(type_name, several.code, value, self._base_urls)
                part = self._keep(key, Part(type_name, index), sum(map(len, raws)))
            parts.append(part)
        return Told(type_name, parts, self._hash64)

    def _earlier(self, key: tuple) -> Part | None:
        found = self._old.get(key)
        return None if found is None else self._keep(key, found, 0)

    def _keep(self, key: tuple, part: Part, size: int) -> Part:
        if size <= LONGEST:
            if len(self._young) >= MEMBERS:
                self._old, self._young = self._young, {}
            self._young[key] = part
        return part


@lru_cache(maxsize=8)
def memory(hash64: Hash64, base_urls: tuple[str, ...]) -> Memory:
    """The memory of a store under an address."""
    return Memory(hash64, base_urls)


def told(type_name: str, value: dict, members: Mapping[str, object], hash64: Hash64, base_urls: tuple[str, ...]) -> Told:
    """What the search parameters of a resource find in it. members: of its top level, as fhir.json.members gives them."""
    return memory(hash64, base_urls).told(type_name, value, members)
