"""StructureDefinitions of `profiles/` as trees: differentials of a profile and of those it stands on, laid over one another.

https://hl7.org/fhir/R4/profiling.html#snapshot
What R4 itself asks is the business of schema.py; the tree holds what the profiles add.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from fhir_dmp.fhir.profile_codes import PROFILES
from fhir_dmp.fhir.profile_faults import Text

BASE = "http://hl7.org/fhir/StructureDefinition/"
TRANSLATION = BASE + "translation"


class Node:
    """One element of a profile. data: its ElementDefinition, merged. children by name, slices by slice name."""

    __slots__ = ("id", "data", "children", "slices")

    def __init__(self, id: str) -> None:
        self.id = id
        self.data: dict[str, Any] = {}
        self.children: dict[str, Node] = {}
        self.slices: dict[str, Node] = {}

    @property
    def low(self) -> int:
        """Minimum the profile asks, 0 when it says nothing."""
        return self.data.get("min", 0)

    @property
    def high(self) -> int | None:
        """Maximum the profile asks, None when it says nothing or `*`."""
        said = self.data.get("max", "*")
        return None if said == "*" else int(said)

    def value(self, kind: str) -> Any:
        """What fixed[x] or pattern[x] says, None when there is none. kind: fixed or pattern."""
        return next((value for key, value in self.data.items() if key.startswith(kind) and key[len(kind) :][:1].isupper()), None)

    def types(self) -> tuple[str, ...]:
        """Types the profile leaves, () when it says nothing."""
        return tuple(one["code"] for one in self.data.get("type", ()))

    def profiles(self) -> tuple[str, ...]:
        """Profiles that values must follow."""
        return tuple(url for one in self.data.get("type", ()) for url in one.get("profile", ()))


@cache
def definitions() -> Mapping[str, dict]:
    """StructureDefinitions of profiles/ by url, without their snapshots."""
    found = {}
    for path in sorted(PROFILES.glob("StructureDefinition-*.json")):
        one = json.loads(path.read_bytes())
        one.pop("snapshot", None)
        found[one["url"]] = one
    return found


def definition(url: str) -> dict | None:
    """A StructureDefinition of profiles/, by url or url|version; None when there is none of that version."""
    plain, _, version = url.partition("|")
    found = definitions().get(plain)
    return found if found is not None and version in ("", found["version"]) else None


def chain(url: str) -> list[dict]:
    """The definitions a profile stands on, the one nearest to R4 first."""
    found: list[dict] = []
    while (one := definitions().get(url)) is not None:
        found.insert(0, one)
        url = one["baseDefinition"]
    return found


def tree(url: str) -> Node:
    """The merged tree of a profile."""
    root: Node | None = None
    for one in chain(url):
        for element in one["differential"]["element"]:
            root = root or Node(element["id"])
            _lay(_node(root, element["id"]), element)
    assert root is not None, url
    return root


def _lay(node: Node, element: dict[str, Any]) -> None:
    rules = [*node.data.get("constraint", ()), *element.get("constraint", ())]
    node.data |= element
    if rules:
        node.data["constraint"] = rules


def _node(root: Node, id: str) -> Node:
    at, path = root, root.id
    for part in id.split(".")[1:]:
        name, _, inner = part.partition(":")
        path = f"{path}.{name}"
        at = at.children.setdefault(name, Node(path))
        if inner:
            path = f"{path}:{inner}"
            at = at.slices.setdefault(inner, Node(path))
    return at


def words(owner: Mapping[str, Any], name: str) -> Text:
    """A text of a definition in English and French."""
    en = owner.get(name, "")
    return Text(en, next(_french(owner.get(f"_{name}", {})), en))


def _french(companion: Mapping[str, Any]) -> Iterator[str]:
    for extension in companion.get("extension", ()):
        if extension["url"] == TRANSLATION:
            said = {part["url"]: part for part in extension["extension"]}
            if said["lang"].get("valueCode") == "fr":
                yield said["content"]["valueString"]
