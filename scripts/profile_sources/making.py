"""From compact rows to StructureDefinitions with differential and snapshot.

https://hl7.org/fhir/R4/structuredefinition.html and https://hl7.org/fhir/R4/elementdefinition.html
The snapshot is made from the tables of fhir_dmp/fhir/definitions: structure only, with sentences of this project.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

from fhir_dmp import __version__
from fhir_dmp.fhir import tables
from fhir_dmp.fhir.tables import Element

CANONICAL = "https://fhir-dmp.example.org/fhir/"
R4 = "http://hl7.org/fhir/StructureDefinition/"
DATE = "2026-11-22"
PUBLISHER = "fhir_dmp"
TRANSLATION = R4 + "translation"
FRANCE = [{"coding": [{"system": "urn:iso:std:iso:3166", "code": "FR"}]}]
SYSTEM_STRING = "http://hl7.org/fhirpath/System.String"
_INHERITED = {
    **dict.fromkeys(("meta", "implicitRules", "language"), "Resource"),
    **dict.fromkeys(("text", "contained"), "DomainResource"),
}


def canonical(kind: str, id: str) -> str:
    return f"{CANONICAL}{kind}/{id}"


def structure(id: str) -> str:
    """Url of one of our StructureDefinitions; base types stay as they are.

    >>> structure("Patient"), structure("dmp-patient")
    ('http://hl7.org/fhir/StructureDefinition/Patient', 'https://fhir-dmp.example.org/fhir/StructureDefinition/dmp-patient')
    """
    return (R4 if id[0].isupper() else CANONICAL + "StructureDefinition/") + id


def value_set(id: str) -> str:
    return id if ":" in id else canonical("ValueSet", id)


def translated(name: str, en: str, fr: str) -> dict[str, Any]:
    """A text with its French translation: {name: en, _name: {extension}}."""
    if not fr:
        return {name: en}
    said = [{"url": "lang", "valueCode": "fr"}, {"url": "content", "valueString": fr}]
    return {name: en, f"_{name}": {"extension": [{"extension": said, "url": TRANSLATION}]}}


def pascal(id: str) -> str:
    return "".join(part[0].upper() + part[1:] for part in id.replace(".", "-").split("-"))


def head(kind: str, id: str, en: str, fr: str, about: tuple[str, str] = ("", ""), *, language: str = "en") -> dict[str, Any]:
    """The members that every canonical resource begins with. about: description in English and French."""
    return {
        "resourceType": kind,
        "id": id,
        "language": language,
        "url": canonical(kind, id),
        "version": __version__,
        "name": pascal(id),
        **translated("title", en, fr),
        "status": "active",
        "experimental": False,
        "date": DATE,
        "publisher": PUBLISHER,
        **translated("description", about[0] or en + ".", about[1] or fr + "."),
        "jurisdiction": FRANCE,
    }


@dataclass(slots=True)
class Rule:
    """A rule on one element: key, severity, English, French, FHIRPath."""

    key: str
    severity: str
    en: str
    fr: str
    expression: str


@dataclass(slots=True)
class E:
    """One row of a differential.

    path: from the type, "" for the root, "identifier:ins.system" inside a slice. card: "1..1". types: of a choice.
    targets: of a Reference, base types or our ids. profile: our StructureDefinitions of an extension or resource.
    slicing: discriminators, each type and path in turn. closed: no value may be outside the slices.
    """

    path: str
    card: str = ""
    en: str = ""
    fr: str = ""
    ms: bool = False
    types: tuple[str, ...] = ()
    fixed: Any = None
    pattern: Any = None
    binding: tuple[str, str] | None = None
    targets: tuple[str, ...] = ()
    profile: tuple[str, ...] = ()
    slicing: tuple[str, ...] | None = None
    closed: bool = False
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Profile:
    """One StructureDefinition in compact form. base: a type or our id. about: description, English and French."""

    id: str
    base: str
    en: str
    fr: str
    rows: list[E]
    about: tuple[str, str] = ("", "")
    context: tuple[str, ...] = ()
    abstract: bool = False


class Node:
    """An element of a snapshot: data is its ElementDefinition, place its path in the tables for what is inside."""

    def __init__(self, data: dict[str, Any], place: str) -> None:
        self.data, self.place = data, place
        self.children: dict[str, Node] = {}
        self.slices: dict[str, Node] = {}

    def expand(self) -> None:
        """List what is inside, from the type; what R4 itself lists there as well, since a snapshot holds all of it."""
        if not self.children and self.place:
            for element in tables.elements(self.place).values():
                name = element.name + ("[x]" if element.choice else "")
                made = self.children[name] = _base(self, element, name)
                if made.place == f"{self.place}.{element.name}":
                    made.expand()

    def sliced(self, name: str) -> "Node":
        """A slice of this element, with what is said of the inside of every one of them."""
        old, new = self.data["id"], f"{self.data['id']}:{name}"
        made = copy.deepcopy(self)
        for one in made.flat():
            one["id"] = new + one["id"].removeprefix(old)
        made.slices.clear()
        made.data = {key: value for key, value in made.data.items() if key not in ("slicing", "constraint")}
        made.data |= {"sliceName": name, "min": 0}
        return made

    def flat(self) -> list[dict[str, Any]]:
        found = [self.data]
        for child in self.children.values():
            found += child.flat()
        for inner in self.slices.values():
            found += inner.flat()
        return found


def _base(owner: Node, element: Element, name: str) -> Node:
    path, low = f"{owner.data['path']}.{name}", element.min
    high = "*" if element.max == tables.MANY else str(element.max)
    origin = _INHERITED.get(element.name) if tables.known_type(owner.place) else None
    if element.name in ("id", "extension"):
        origin = "Element" if not tables.known_type(owner.place) else "Resource" if element.name == "id" else "DomainResource"
    elif element.name == "modifierExtension":
        origin = "DomainResource" if tables.known_type(owner.place) else "BackboneElement"
    base = f"{origin or owner.place}.{name}"
    data: dict[str, Any] = {
        "id": f"{owner.data['id']}.{name}",
        "path": path,
        "definition": f"As R4 defines {base}.",
        "min": low,
        "max": high,
        "base": {"path": base, "min": low, "max": high},
    }
    inner = tables.child_path(element, element.types[0]) if not element.choice else ""
    if element.types == ("BackboneElement",) and inner != f"{owner.place}.{element.name}":
        data["contentReference"] = f"#{inner}"
    else:
        data["type"] = _types(element, owner.place)
    if element.binding:
        data["binding"] = {"strength": "required", "valueSet": f"{element.binding}|4.0.1"}
    data["isModifier"] = element.modifier
    if element.modifier:
        data["isModifierReason"] = "It changes how the rest is understood."
    data["isSummary"] = element.summary
    return Node(data, "" if "contentReference" in data else inner)


def _types(element: Element, place: str) -> list[dict[str, Any]]:
    if element.attribute and element.types != ("xhtml",):
        said = "uri" if (place, element.name) == ("Extension", "url") else element.types[0]
        return [{"extension": [{"url": R4 + "structuredefinition-fhir-type", "valueUrl": said}], "code": SYSTEM_STRING}]
    listed: list[dict[str, Any]] = []
    for name in element.types:
        one: dict[str, Any] = {"code": "Quantity" if name == "SimpleQuantity" else name}
        if name == "SimpleQuantity":
            one["profile"] = [R4 + name]
        if name in ("Reference", "canonical") and element.targets:
            one["targetProfile"] = [R4 + target for target in element.targets]
        listed.append(one)
    if place in tables.RESOURCE_TYPES or "." in place:
        return listed
    return [one if one["code"] != "BackboneElement" else {"code": "Element"} for one in listed]


class Book:
    """Every profile made so far, so that one can stand on another."""

    def __init__(self) -> None:
        self.trees: dict[str, Node] = {}
        self.types: dict[str, str] = {}

    def type_of(self, id: str) -> str:
        return self.types.get(id, id)

    def make(self, profile: Profile) -> dict[str, Any]:
        """The StructureDefinition."""
        type_name = self.type_of(profile.base)
        tree = copy.deepcopy(self.trees[profile.base]) if profile.base in self.trees else _root(type_name)
        touched: dict[str, dict[str, Any]] = {}
        root_said = translated("short", profile.en, profile.fr)
        tree.data |= root_said | translated("definition", profile.about[0] or profile.en + ".", profile.about[1] or profile.fr + ".")
        touched[tree.data["id"]] = {"id": type_name, "path": type_name, **root_said}
        rows = list(profile.rows)
        if type_name == "Extension":
            rows.insert(0, E("url", fixed=structure(profile.id)))
        for row in rows:
            node = _find(tree, row.path)
            said = self._row(node, row)
            node.data |= {key: value for key, value in said.items() if key != "constraint"}
            if row.rules:
                node.data.setdefault("constraint", []).extend(said["constraint"])
            if "max" in said and node.data["max"] == "0":
                node.children.clear()
            known = touched.setdefault(node.data["id"], {"id": node.data["id"], "path": node.data["path"]})
            if "sliceName" in node.data:
                known["sliceName"] = node.data["sliceName"]
            known |= said
        self.trees[profile.id], self.types[profile.id] = tree, type_name
        snapshot = tree.flat()
        kind = "complex-type" if type_name == "Extension" else "resource"
        return {
            **head("StructureDefinition", profile.id, profile.en, profile.fr, profile.about),
            "fhirVersion": "4.0.1",
            "kind": kind,
            "abstract": profile.abstract,
            **({"context": [{"type": "element", "expression": one} for one in profile.context]} if profile.context else {}),
            "type": type_name,
            "baseDefinition": structure(profile.base),
            "derivation": "constraint",
            "snapshot": {"element": snapshot},
            "differential": {"element": [touched[one["id"]] for one in snapshot if one["id"] in touched]},
        }

    def _row(self, node: Node, row: E) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if row.slicing:
            said["slicing"] = {
                "discriminator": [{"type": kind, "path": path} for kind, path in zip(row.slicing[::2], row.slicing[1::2], strict=True)],
                "ordered": False,
                "rules": "closed" if row.closed else "open",
            }
        if row.en:
            said |= translated("short", row.en, row.fr)
            said |= translated("definition", row.en + ".", row.fr + ".")
        if row.card:
            low, high = row.card.split("..")
            said |= {"min": int(low), "max": high}
        if row.types:
            said["type"] = [{"code": name} for name in row.types]
        if row.profile:
            code = self.type_of(row.profile[0]) if node.data["type"][0]["code"] == "Resource" else node.data["type"][0]["code"]
            profiles = [structure(id) for id in row.profile if id != code]
            said["type"] = [{"code": code} | ({"profile": profiles} if profiles else {})]
        if row.targets:
            kept = [one for one in said.get("type", node.data["type"]) if one["code"] != "Reference"]
            said["type"] = [*kept, {"code": "Reference", "targetProfile": [structure(target) for target in row.targets]}]
        for key, value in (("fixed", row.fixed), ("pattern", row.pattern)):
            if value is not None:
                said[key + _suffix(said.get("type", node.data.get("type", [])))] = value
        if row.rules:
            said["constraint"] = [
                {
                    "key": rule.key,
                    "severity": rule.severity,
                    **translated("human", rule.en, rule.fr),
                    "expression": rule.expression,
                }
                for rule in row.rules
            ]
        if row.ms:
            said["mustSupport"] = True
        if row.binding:
            said["binding"] = {"strength": row.binding[0], "valueSet": value_set(row.binding[1])}
        return said


def _suffix(types: list[dict[str, Any]]) -> str:
    if types and types[0]["code"] == SYSTEM_STRING:
        code = types[0]["extension"][0]["valueUrl"]
    else:
        assert len(types) == 1, types
        code = types[0]["code"]
    return code[0].upper() + code[1:]


def _root(type_name: str) -> Node:
    data = {
        "id": type_name,
        "path": type_name,
        "min": 0,
        "max": "*",
        "base": {"path": type_name, "min": 0, "max": "*"},
        "isModifier": False,
    }
    node = Node(data, type_name)
    node.expand()
    return node


def _find(tree: Node, path: str) -> Node:
    """The node of a path, made where it is not there yet."""
    at = tree
    for part in path.split(".") if path else ():
        name, _, inner = part.partition(":")
        types = at.data.get("type", [])
        if not at.children and not at.place and len(types) == 1:
            code = types[0]["code"]
            at.place = code if tables.is_data_type(code) or tables.known_type(code) else ""
        at.expand()
        at = at.children[name]
        if inner:
            if inner not in at.slices:
                at.slices[inner] = at.sliced(inner)
            at = at.slices[inner]
    return at
