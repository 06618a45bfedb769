"""References between resources: what they say, where they are, and their rewriting when a server gives new ids.

https://hl7.org/fhir/R4/references.html and https://hl7.org/fhir/R4/http.html#trules
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape, unescape
from typing import Literal

from fhir_dmp.fhir import tables

# Texts up to this length are remembered when they were parsed.
LONGEST_KEPT = 256
# ASCII only: str.isdigit and \w accept digits and letters of every script.
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}")
_REST_TAIL = re.compile(
    r"(?:(?P<base>.*)/)?(?P<type>[A-Z][A-Za-z]{0,63})/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?",
    re.DOTALL,
)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_LINK = re.compile(r"""(\b(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")

Kind = Literal["local", "absolute", "fragment", "urn", "conditional", "other"]


@dataclass(frozen=True, slots=True)
class Ref:
    """What a reference text says.

    kind: local (`Patient/1`, also under one of our base addresses), absolute (another server's address), fragment (`#x` or `#`),
    urn (`urn:uuid:...`), conditional (`Patient?identifier=...`), other (none of these: not a legal reference).
    type, id, version: "" where the text has none; an absolute reference of REST form has them too. base: the address before `Type/id`.
    query: of a conditional reference, without `?`. fragment: without `#`.
    """

    kind: Kind
    type: str = ""
    id: str = ""
    version: str = ""
    query: str = ""
    fragment: str = ""
    base: str = ""

    @property
    def relative(self) -> str:
        """`Type/id`, or "" where the text names none."""
        return f"{self.type}/{self.id}" if self.id else ""

    @property
    def perhaps_here(self) -> bool:
        """Whether it may name a resource of this server, under whatever address a client once knew it by: ids of a real store say whose
        they are.
        """
        return self.kind == "local" or (self.kind == "absolute" and self.id != "")


def is_id(text: str) -> bool:
    """A logical id: 1 to 64 ASCII letters, digits, `-`, `.`.

    >>> is_id("a-1."), is_id("a_1"), is_id("１"), is_id("")
    (True, False, False, False)
    """
    return _ID.fullmatch(text) is not None


def parse_reference(text: str, base_urls: Sequence[str] = ()) -> Ref:
    """What `text` of a Reference.reference (or a fullUrl) says. base_urls: addresses that mean this server, with or without final slash.

    >>> parse_reference("https://a.example/fhir/Patient/1/_history/2", ["https://a.example/fhir"]).kind
    'local'
    >>> parse_reference("Patient?identifier=s|1")
    Ref(kind='conditional', type='Patient', id='', version='', query='identifier=s|1', fragment='', base='')
    """
    # What is long comes once, and would fill the memory.
    return (_parsed if len(text) <= LONGEST_KEPT else _parsed.__wrapped__)(text, tuple(base_urls))


@lru_cache(maxsize=4096)
def _parsed(text: str, base_urls: tuple[str, ...]) -> Ref:
    """The same text comes several times with a resource, and again with those beside it."""
    address, _, fragment = text.partition("#")
    if not address:
        return Ref("fragment", fragment=fragment) if text else Ref("other")
    if address[:4].lower() == "urn:":
        return Ref("urn", fragment=fragment)
    own = next((base for base in (url.rstrip("/") for url in base_urls) if address.startswith(base + "/")), None)
    rest = address if own is None else address[len(own) + 1 :]
    if own is None and _ABSOLUTE.match(address):
        found = None if "?" in address else _REST_TAIL.fullmatch(address)
        if found and found["base"]:
            return Ref("absolute", found["type"], found["id"], found["version"] or "", fragment=fragment, base=found["base"])
        return Ref("absolute", fragment=fragment)
    type_name, asked, query = rest.partition("?")
    if asked:
        return Ref("conditional", type_name, query=text.partition("?")[2], base=own or "") if _TYPE.fullmatch(type_name) else Ref("other")
    found = _REST_TAIL.fullmatch(rest)
    if found and found["base"] is None:
        return Ref("local", found["type"], found["id"], found["version"] or "", fragment=fragment, base=own or "")
    return Ref("other")


def references(resource: dict) -> Iterator[tuple[str, dict]]:
    """(FHIRPath, Reference) for each element with a `reference` text, contained resources included, in document order.

    >>> [(path, ref["reference"]) for path, ref in references({"resourceType": "List", "entry": [{"item": {"reference": "Patient/1"}}]})]
    [('List.entry[0].item', 'Patient/1')]
    """
    waiting: list[tuple[str, object]] = [(resource.get("resourceType") or "", resource)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("reference"), str):
                yield path, value
            waiting += [(f"{path}.{name}", part) for name, part in reversed(value.items()) if isinstance(part, (dict, list))]
        elif isinstance(value, list):
            waiting += [(f"{path}[{i}]", part) for i, part in reversed(list(enumerate(value))) if isinstance(part, (dict, list))]


def reference_texts(value: object) -> list[str]:
    """The texts of `references`, without their places and in no order: ten times as fast.

    >>> reference_texts({"resourceType": "List", "entry": [{"item": {"reference": "Patient/1"}}, {"item": {"display": "x"}}]})
    ['Patient/1']
    """
    found: list[str] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            if "reference" in one and type(text := one["reference"]) is str:
                found.append(text)
            for part in one.values():
                if type(part) is dict or type(part) is list:
                    waiting.append(part)
        elif type(one) is list:
            waiting += one
    return found


def rewrite(resource: dict, mapping: Mapping[str, str], *, base: str = "") -> dict:
    """`resource` with links to the entries of a Bundle replaced; parts without such a link, up to the whole, are the same objects.

    mapping: fullUrl (also a conditional reference, as written) -> new reference, e.g. {"urn:uuid:...": "Patient/p1"}.
    base: address against which relative references are resolved before they are looked up (that of the entry's own fullUrl).

    Links are Reference.reference, elements of type uri, url, oid and uuid, and href and src in the narrative; canonicals, strings and
    Identifier.value are not. A fragment stays; a version of another server is dropped, as it does not exist here.
    """
    return _Rewriting(mapping, base.rstrip("/")).value(resource, "Resource") if mapping else resource


@cache
def _member_types(path: str) -> Mapping[str, str]:
    """JSON member name -> path of the elements inside it, or its primitive type, or "Resource"."""
    found = {name: tables.child_path(element, type_name) or type_name for name, (element, type_name) in tables.members(path).items()}
    return found | {f"_{name}": "Element" for name, type_name in found.items() if tables.is_primitive(type_name)}


@dataclass(frozen=True, slots=True)
class _Rewriting:
    mapping: Mapping[str, str]
    base: str

    def value(self, value: object, type_name: str) -> object:
        if isinstance(value, dict):
            if type_name == "Resource":  # elsewhere a member of this name is an ordinary one, as in ExampleScenario.instance
                type_name = value.get("resourceType")
                types = _member_types(type_name) if tables.known_type(type_name) else {}
            else:
                types = _member_types(type_name)
            changed = {}
            for name, old in value.items():
                if name in types and (new := self.member(old, type_name, name, types[name])) is not old:
                    changed[name] = new
            return {**value, **changed} if changed else value
        if isinstance(value, list):
            parts = [self.value(part, type_name) for part in value]
            return parts if any(new is not old for new, old in zip(parts, value, strict=True)) else value
        return self.text(value, type_name) if isinstance(value, str) else value

    def member(self, value: object, owner: str, name: str, type_name: str) -> object:
        if owner == "Reference" and name == "reference":
            return self.reference(value) if isinstance(value, str) else value
        return self.value(value, type_name)

    def text(self, text: str, type_name: str) -> str:
        match type_name:
            case "url":
                return self.reference(text)
            case "uri" | "oid" | "uuid":
                # The canonical uri of a definition is often its fullUrl too; it must stay what it is. Only urns are links here.
                return self.reference(text) if text[:4].lower() == "urn:" else text
            case "xhtml" if "href" in text or "src" in text:
                linked = _LINK.sub(self.link, text)
                return text if linked == text else linked
        return text

    def reference(self, text: str) -> str:
        """The new text, or `text` itself."""
        if (new := self.mapping.get(text)) is not None:
            return new
        address, hash_mark, fragment = text.partition("#")
        if not address:
            return text
        if self.base and not _ABSOLUTE.match(address):
            address = f"{self.base}/{address}"
        new = self.mapping.get(address)
        if new is None:
            unversioned = address.partition("/_history/")[0]
            new = self.mapping.get(unversioned)
            if new is not None and f"/{unversioned}".endswith(f"/{new}"):
                return text  # the resource keeps its id, so its versions are the ones meant
        return text if new is None else new + hash_mark + fragment

    def link(self, found: re.Match) -> str:
        quoted = found[2]
        old = unescape(quoted[1:-1])
        new = self.reference(old)
        return found[0] if new is old else f"{found[1]}{quoted[0]}{escape(new)}{quoted[0]}"
