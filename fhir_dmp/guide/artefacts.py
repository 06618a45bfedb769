"""The artefacts of profiles/ as pages: profiles as trees that show what they change, code lists, operations, parameters, examples.

https://hl7.org/fhir/R4/profiling.html
"""

import json
import re
from collections.abc import Callable
from functools import cache, lru_cache
from html import escape

from fhir_dmp.guide import package, sources, tree
from fhir_dmp.guide.grid import Cell, Choice, breakable, code, table
from fhir_dmp.guide.layout import pretty
from fhir_dmp.guide.site import LANGUAGES, Site
from fhir_dmp.guide.tree import said
from fhir_dmp.guide.writing import Blocks, coloured

# Of a long list of codes, what a page shows.
MOST_CODES = 1000
PAGES = (
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "ConceptMap",
    "NamingSystem",
    "OperationDefinition",
    "SearchParameter",
    "TestScript",
)
LABELS = {
    "canonical": ("Adresse canonique", "Canonical"),
    "base": ("Fondé sur", "Based on"),
    "version": ("Version", "Version"),
    "file": ("Fichier", "File"),
    "context": ("S'emploie sur", "Used on"),
}
HEADINGS = {
    "tree": ("Ce que le profil demande", "What the profile asks"),
    "rules": ("Règles", "Rules"),
    "examples": ("Exemples", "Examples"),
    "codes": ("Codes", "Codes"),
    "parameters": ("Paramètres", "Parameters"),
    "definition": ("Définition", "Definition"),
    "identifiers": ("Identifiants", "Identifiers"),
    "conversations": ("Dans les conversations", "In the conversations"),
    "maps": ("Correspondances", "Mappings"),
}


@lru_cache(maxsize=1)
def resources() -> dict[str, dict]:
    """ "Type/id" -> artefact."""
    return {f"{one['resourceType']}/{one['id']}": one for _, one in package.conformance() if one["resourceType"] in PAGES}


@lru_cache(maxsize=1)
def examples_of() -> dict[str, list[dict]]:
    """Canonical of a profile -> its good examples."""
    found: dict[str, list[dict]] = {}
    for _, one in package.examples():
        for profile in one.get("meta", {}).get("profile", ()):
            found.setdefault(profile.partition("|")[0], []).append(one)
    return found


def name_of(one: dict) -> str:
    """The page of an artefact."""
    return f"artefacts/{one['resourceType']}-{one['id']}"


def page_of(url: str) -> str:
    """The page of a canonical, "" when it is none of ours."""
    url = url.partition("|")[0]
    return next((name_of(one) for one in resources().values() if one.get("url") == url), "")


def add(site: Site) -> None:
    """A page for each artefact."""
    for key, one in resources().items():
        site.files[f"artefacts/{package.file_name(one)}"] = package.encoded(one)
        texts = {}
        for language in LANGUAGES:
            blocks = Blocks()
            texts[language] = page(one, language, blocks) + conversations(one, language, site, blocks), blocks
        site.add(
            name_of(one), "artefacts", texts, {language: said(one, "title", language) or one.get("name", key) for language in LANGUAGES}
        )


def page(one: dict, language: str, blocks: Blocks) -> str:
    """One artefact in Markdown."""
    title = said(one, "title", language) or one.get("name") or one["id"]
    facts = [(LABELS["canonical"], code(one["url"]).html)] if one.get("url") else []
    if one.get("baseDefinition"):
        facts.append((LABELS["base"], reference(one["baseDefinition"])))
    if one.get("context") and one["resourceType"] == "StructureDefinition":
        facts.append((LABELS["context"], ", ".join(f"<code>{escape(each['expression'])}</code>" for each in one["context"])))
    facts.append((LABELS["version"], escape(one.get("version", ""))))
    facts.append((LABELS["file"], f'<a href="file:artefacts/{package.file_name(one)}">{breakable(package.file_name(one))}</a>'))
    rows = "".join(f'<tr><th scope="row">{label[language == "en"]}</th><td>{html}</td></tr>' for label, html in facts if html)
    parts = [f"# {title}", said(one, "description", language), blocks.keep(f'<table class="facts">{rows}</table>')]
    parts += SECTIONS.get(one["resourceType"], definition)(one, language, blocks)
    return "\n\n".join(part for part in parts if part)


def heading(name: str, language: str) -> str:
    return f"## {HEADINGS[name][language == 'en']}"


def profile(one: dict, language: str, blocks: Blocks) -> list[str]:
    """Tree, rules, examples."""
    parts = [heading("tree", language), blocks.keep(tree.html(one, language, reference))]
    if rules := tree.rules(one, language):
        parts += [heading("rules", language), blocks.keep(rules)]
    if shown := examples_of().get(one["url"]):
        parts.append(heading("examples", language))
        parts += [blocks.keep(example(each)) for each in shown]
    return parts


def example(one: dict) -> str:
    """An example, closed until it is wanted."""
    name = f"{one['resourceType']}/{one.get('id', '')}"
    return f"<details><summary><code>{escape(name)}</code></summary>{coloured(laid_out(package.encoded(one)), 'json')}</details>"


@cache
def laid_out(text: bytes) -> str:
    """JSON for people."""
    return pretty(json.loads(text))


def codes(one: dict, language: str, blocks: Blocks) -> list[str]:
    """Codes of a ValueSet or CodeSystem."""
    rows = []
    if one["resourceType"] == "CodeSystem":
        rows = [(concept, one.get("url", "")) for concept in flat(one.get("concept", ()))]
    else:
        for include in one.get("compose", {}).get("include", ()):
            rows += [(concept, include.get("system", "")) for concept in include.get("concept", ())]
            if not include.get("concept"):
                other = include.get("system") or ", ".join(include.get("valueSet", ()))
                rows.append(({"code": "*", "display": other}, other))
    if not rows:
        return definition(one, language, blocks)
    systems = sorted({system for _, system in rows})
    shown = [
        ([code(concept["code"]), said(concept, "display", language), Cell(reference(system))], {"system": system})
        for concept, system in rows[:MOST_CODES]
    ]
    heads = {"fr": ["Code", "Libellé", "Système"], "en": ["Code", "Display", "System"]}
    choices = (
        [Choice("system", {"fr": "Système", "en": "System"}[language], [(each, each.rsplit("/", 1)[-1]) for each in systems])]
        if len(systems) > 1
        else []
    )
    return [heading("codes", language), blocks.keep(table(language, heads[language], shown, choices, filtered=len(rows) > 15))]


def flat(concepts: list[dict]) -> list[dict]:
    """Concepts and those below them."""
    found = []
    for one in concepts:
        found += [one, *flat(one.get("concept", ()))]
    return found


def operation(one: dict, language: str, blocks: Blocks) -> list[str]:
    """Parameters of an OperationDefinition."""
    uses = {"in": {"fr": "entrée", "en": "in"}, "out": {"fr": "sortie", "en": "out"}}
    rows = [
        (
            [
                uses[each["use"]][language],
                code(each["name"]),
                f"{each['min']}..{each['max']}",
                each.get("type", ""),
                said(each, "documentation", language),
            ],
            {},
        )
        for each in one.get("parameter", ())
    ]
    heads = {"fr": ["Sens", "Nom", "Nombre", "Type", "Ce que c'est"], "en": ["Use", "Name", "Cardinality", "Type", "What it is"]}
    asked = [", ".join(f"`{each}`" for each in addresses(one))]
    return [*asked, heading("parameters", language), blocks.keep(table(language, heads[language], rows, filtered=False))] if rows else asked


def addresses(one: dict) -> list[str]:
    """Where an operation is asked, below the base.

    >>> addresses({"code": "merge", "resource": ["Patient"], "type": True, "instance": True})
    ['Patient/$merge', 'Patient/[id]/$merge']
    """
    types = [each if each != "Resource" else "[type]" for each in one.get("resource", ())]
    made = [f"${one['code']}"] if one.get("system") else []
    made += [f"{each}/${one['code']}" for each in types if one.get("type")]
    return made + [f"{each}/[id]/${one['code']}" for each in types if one.get("instance")]


def conversations(one: dict, language: str, site: Site, blocks: Blocks) -> str:
    """Exchanges of the guide in which an operation is asked for, "" where there is none."""
    if one["resourceType"] != "OperationDefinition":
        return ""
    asked = re.compile(rf"(^|/)\${re.escape(one['code'])}([/?]|$)")
    rows = [
        f'<li><a href="page:{page}#ex-{name}">{escape(exchange.title[language])}</a></li>'
        for name, (page, exchange) in site.shown.items()
        if asked.search(exchange.path) and exchange.title
    ]
    return f"\n\n{heading('conversations', language)}\n\n{blocks.keep(f'<ul>{chr(10).join(rows)}</ul>')}" if rows else ""


def definition(one: dict, language: str, blocks: Blocks) -> list[str]:
    """The resource as it is."""
    return [heading("definition", language), blocks.keep(coloured(laid_out(package.encoded(one)), "json"))]


SECTIONS: dict[str, Callable[[dict, str, Blocks], list[str]]] = {
    "StructureDefinition": profile,
    "ValueSet": codes,
    "CodeSystem": codes,
    "OperationDefinition": operation,
}


def reference(url: str) -> str:
    """A canonical as a link: to our page, to HL7's, else as code."""
    if name := page_of(url):
        return f'<a href="page:{name}">{escape(url.rsplit("/", 1)[1])}</a>'
    if url.startswith("http://hl7.org/fhir/StructureDefinition/") and url.rsplit("/", 1)[1].isalpha():
        last = url.rsplit("/", 1)[1]
        return f'<a href="http://hl7.org/fhir/R4/{last.lower()}.html">{escape(last)}</a>'
    return code(url).html


def listed(language: str, *kinds: str) -> str:
    """Artefacts of some types, with what they are for."""
    found = [one for one in resources().values() if one["resourceType"] in kinds]
    abouts = [about(one) for one in found]
    told = len(set(abouts)) > 1
    rows = []
    for one, said_of in zip(found, abouts, strict=True):
        title = said(one, "title", language) or one.get("name") or one["id"]
        cells = [Cell(f'<a href="page:{name_of(one)}">{escape(title)}</a>'), *([code(said_of)] if told else [])]
        rows.append(([*cells, said(one, "description", language)], {}))
    heads = {"fr": ["Nom", "Porte sur", "Ce que c'est"], "en": ["Name", "About", "What it is"]}[language]
    return table(language, heads if told else [heads[0], heads[2]], rows, filtered=len(rows) > 12)


def about(one: dict) -> str:
    """What an artefact is about, in a word: a type, an address, a parameter."""
    if one["resourceType"] == "OperationDefinition":
        return ", ".join(addresses(one))
    if one["resourceType"] == "SearchParameter":
        return ", ".join(f"{base}?{one['code']}" for base in one["base"])
    return one["type"] if one["resourceType"] == "StructureDefinition" else one["resourceType"]


def bad_examples(language: str) -> str:
    """Examples that are refused, each with the rule it breaks and what it looks like."""
    folder = sources.PROFILES / "examples" / "bad"
    rows = []
    for name, told in json.loads((folder / "index.json").read_text("utf-8")).items():
        shown = coloured(laid_out((folder / name).read_bytes()), "json")
        example = f"<details><summary>{escape(told[language])}</summary>{shown}</details>"
        severity = tree.SEVERITIES[told["severity"]][language == "en"]
        cells = [Cell(example), code(told["rule"]), code(told["element"]), Cell(reference(told["profile"])), severity]
        rows.append((cells, {"profile": told["profile"].rsplit("/", 1)[1]}))
    heads = {
        "fr": ["Ce qui ne va pas", "Règle", "Élément", "Profil", "Gravité"],
        "en": ["What is wrong", "Rule", "Element", "Profile", "Severity"],
    }
    profiles = sorted({facts["profile"] for _, facts in rows})
    choices = [Choice("profile", {"fr": "Profil", "en": "Profile"}[language], [(each, each) for each in profiles])]
    return table(language, heads[language], rows, choices)


LISTS = {"artefacts": listed, "bad_examples": bad_examples}
