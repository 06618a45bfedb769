"""Facts of access in clear form: what a row keeps as keyed hashes, told so that another host can keep it under its own key.

See fhir_dmp/consent/predicate.py for what a row keeps.

A hash is not undone: every name, type and address that the dossier itself tells is hashed again and compared. A fact that nothing in the
dossier tells stops the export: a package without it would change who sees what.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fhir_dmp.consent import companions
from fhir_dmp.consent.directives import SHAPES
from fhir_dmp.consent.predicate import LABEL_BITS, LET_IN, Hash64, hashed
from fhir_dmp.dmp import documents, identity, spaces
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir.instants import MAX_MS, MIN_MS

# Fields of a row that are hashes -> what they are hashes of.
KINDS = {"ty": "type", "og": "organization", "rt": "root", "au": "author", LET_IN: "author"}

_Moment = Annotated[int, Meta(ge=MIN_MS, le=MAX_MS)]
_Bound = Annotated[int, Meta(ge=-(2**62), le=2**62)]


class Clear(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a row may keep, in the clear. What else a package says of one may be what hides it there, and is not known here: not taken."""

    lb: Annotated[int, Meta(ge=0, le=sum(LABEL_BITS.values()))] | UnsetType = UNSET
    ty: str | UnsetType = UNSET
    au: tuple[str, ...] | UnsetType = UNSET
    og: str | UnsetType = UNSET
    fd: _Moment | UnsetType = UNSET
    rl: _Moment | UnsetType = UNSET
    st: Annotated[int, Meta(ge=0, lt=len(documents.STATUSES))] | UnsetType = UNSET
    rt: str | UnsetType = UNSET
    pa: _Bound | UnsetType = UNSET
    pb: _Bound | UnsetType = UNSET
    da: _Bound | UnsetType = UNSET
    db: _Bound | UnsetType = UNSET
    sp: bool | UnsetType = UNSET
    hr: bool | UnsetType = UNSET
    be: bool | UnsetType = UNSET
    oa: str | UnsetType = UNSET
    s1: _Moment | UnsetType = UNSET
    s2: _Moment | UnsetType = UNSET
    s4: _Moment | UnsetType = UNSET


class Names:
    """What the dossier tells, by its hashes. values: parsed resources of the dossier. addresses: "Type/id" of all of them."""

    def __init__(self, hash64: Hash64, values: Iterable[Mapping[str, Any]], addresses: Iterable[str], others: Iterable[str] = ()) -> None:
        types = {companions.TRACE, companions.NOTICE, "|", "consent:", *companions.SEEN_AS, *spaces.types(), *documents.JUDGED_AS.values()}
        types |= {f"consent:{category}" for category in SHAPES}
        names = {identity.HOLDER, *others}
        for value in values:
            types.add(documents.type_of(value))
            names |= set(_names(value))
        told = {"type": types, "root": set(addresses), "author": names, "organization": names}
        self._by_hash = {(kind, hashed(kind, one, hash64)): one for kind, those in told.items() for one in those}

    def clear(self, facts: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Facts of one row in the clear. 422 when one of them is told by nothing. where: for the error."""
        # The driver has integers of its own.
        found = {name: int(one) if isinstance(one, int) and not isinstance(one, bool) else one for name, one in facts.items()}
        for field, kind in KINDS.items():
            if field in facts:
                found[field] = (
                    [self._one(kind, one, where) for one in facts[field]] if field == "au" else self._one(kind, facts[field], where)
                )
        return found

    def _one(self, kind: str, value: int, where: str) -> str:
        if not value:
            return ""
        if (kind, value) not in self._by_hash:
            raise FhirError("business-rule", f"the {kind} that {where} is judged by cannot be told: nothing in the dossier names it")
        return self._by_hash[kind, value]


def judged(clear: Any) -> None:
    """msgspec.ValidationError for what are no facts: those of one row, a list of several, or none."""
    msgspec.convert(clear, Clear | Annotated[tuple[Clear, ...], Meta(min_length=1)] | None)


def sealed(clear: Mapping[str, Any], hash64: Hash64, address: Callable[[str], str]) -> dict[str, Any]:
    """The same facts under the key of this host. address: of a resource there -> here."""
    found = dict(clear)
    for field, kind in KINDS.items():
        if field in clear:
            if field == "au":
                found[field] = sorted(hashed(kind, one, hash64) for one in clear[field])
            else:
                found[field] = hashed(kind, address(clear[field]) if kind == "root" else clear[field], hash64)
    return found


def _names(value: Any) -> Iterator[str]:
    """Every professional and structure that the identifiers in a resource may name."""
    if isinstance(value, Mapping):
        text = value.get("value")
        if isinstance(text, str) and 0 < len(text) <= 200:
            yield from identity.known_as([value] if isinstance(value.get("system"), str) else [])
            yield identity.ps(identity.professional(None, text))
            yield identity.org(identity.structure(None, text))
        for part in value.values():
            yield from _names(part)
    elif isinstance(value, list):
        for part in value:
            yield from _names(part)
