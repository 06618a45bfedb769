"""What others define and the package needs to be read on its own: short forms of their extensions, fragments of their code systems.

https://hl7.org/fhir/R4/codesystem-definitions.html#CodeSystem.content ; where the original is loaded as well, the original prevails.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from scripts.profile_sources.making import CANONICAL, TRANSLATION, Book, E, Profile, structure
from scripts.profile_sources.systems import FR_0203, FR_CORE, MHD, PDSM, TRE_R13

PREVAILS = (
    "Short form of a definition of {owner}, so that this package can be read on its own. The original prevails.",
    "Forme brève d'une définition de {owner}, pour que ce paquet se lise seul. L'original prévaut.",
)
# Original address, version known here, type of the value, where it is used, English, French.
EXTENSIONS = (
    (MHD + "ihe-designationType", "4.2.3", "CodeableConcept", ("List",), "What gathers the documents", "Ce qui réunit les documents"),
    (MHD + "ihe-sourceId", "4.2.3", "Identifier", ("List",), "System that submitted", "Système émetteur"),
    (MHD + "ihe-intendedRecipient", "4.2.3", "Reference", ("List",), "For whom it is meant", "Destinataire"),
    (MHD + "ihe-authorOrg", "4.2.3", "Reference", ("Element",), "Structure of whom submitted", "Structure de qui a soumis"),
    (PDSM + "pdsm-ext-is-archived", "3.1.1", "boolean", ("DocumentReference", "List"), "Archived", "Archivé"),
    (PDSM + "pdsm-ext-intended-recipient", "3.1.1", "Reference", ("List",), "For whom it is meant", "Destinataire"),
    (FR_CORE + "fr-core-identity-reliability", "2.1.0", "", ("Patient",), "How sure the identity is", "Fiabilité de l'identité"),
    (FR_CORE + "fr-core-address-insee-code", "2.1.0", "Coding", ("Address",), "INSEE code of the place", "Code INSEE du lieu"),
    (FR_CORE + "fr-core-patient-birth-list-given-name", "2.1.0", "string", ("HumanName",), "Given names at birth", "Prénoms de naissance"),
)
OWNERS = {MHD: "IHE MHD", PDSM: "PDSm", FR_CORE: "HL7 France Core", "https://hl7.fr/": "HL7 France Core"}
# Codes of lists that no value set of ours enumerates, and that examples and profiles name.
NAMED = {
    FR_0203: {
        "INS-NIR": "NIR définitif",
        "INS-NIA": "NIR temporaire",
        "INS-NIR-TEST": "NIR de test",
        "INS-NIR-DEMO": "NIR de démonstration",
        "INS-C": "Identifiant calculé",
        "IDNPS": "Identifiant national des professionnels",
        "RPPS": "Numéro RPPS",
        "IDNST": "Identifiant national des structures",
        "FINEG": "FINESS d'entité géographique",
    },
    TRE_R13: {"35238": "Rennes"},
}
# Systems whose owners publish them with FHIR itself, or whose use is licensed.
LEFT = ("http://terminology.hl7.org/", "http://hl7.org/", "http://loinc.org", "http://snomed.info/", CANONICAL)


def owner(url: str) -> str:
    return next((name for start, name in OWNERS.items() if url.startswith(start)), "ANS")


def said(url: str) -> tuple[str, str]:
    en, fr = PREVAILS
    return en.format(owner=owner(url)), fr.format(owner=owner(url))


def inner() -> Iterator[E]:
    """The parts of fr-core-identity-reliability."""
    yield E("extension", "1..*", slicing=("value", "url"))
    for name, card, kind in (
        ("methodCollection", "0..1", "Coding"),
        ("dateInterrogationINSi", "0..1", "date"),
        ("identityStatus", "0..1", "Coding"),
        ("comment", "0..*", "CodeableConcept"),
        ("validationDate", "0..1", "date"),
        ("validationMode", "0..1", "Coding"),
    ):
        yield E(f"extension:{name}", card)
        yield E(f"extension:{name}.url", fixed=name)
        yield E(f"extension:{name}.value[x]", "1..1", types=(kind,))


def extensions() -> Iterator[dict[str, Any]]:
    """Short forms of extensions, under the addresses of their owners."""
    for url, version, kind, contexts, en, fr in EXTENSIONS:
        id = url.rpartition("/")[2]
        rows = [E("extension", "0..0"), E("value[x]", "1..1", types=(kind,))] if kind else [*inner(), E("value[x]", "0..0")]
        made = Book().make(Profile(id, "Extension", en, fr, rows, said(url), context=contexts))
        foreign = json.loads(json.dumps(made, ensure_ascii=False).replace(structure(id), url))
        yield foreign | {"version": version, "publisher": owner(url), "experimental": False}


def fragments(value_sets: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """For each code system of others, the codes that our value sets name."""
    known: dict[str, dict[str, dict[str, Any]]] = {
        system: {code: {"code": code, "display": display} for code, display in codes.items()} for system, codes in NAMED.items()
    }
    for one in value_sets:
        for include in one["compose"]["include"]:
            if not include.get("system", CANONICAL).startswith(LEFT) and include.get("concept"):
                codes = known.setdefault(include["system"], {})
                codes |= {each["code"]: {name: each[name] for name in ("code", "display") if name in each} for each in include["concept"]}
    for system, codes in sorted(known.items()):
        en, fr = said(system)
        translation = [{"url": "lang", "valueCode": "fr"}, {"url": "content", "valueString": fr}]
        id = system.rpartition("/")[2] if "/" in system else "oid-" + system.rpartition(":")[2]
        yield {
            "resourceType": "CodeSystem",
            "id": id,
            "language": "fr",
            "url": system,
            "name": "".join(part[:1].upper() + part[1:] for part in id.replace(".", "-").split("-")),
            "title": id,
            "status": "active",
            "experimental": False,
            "publisher": owner(system),
            "description": en,
            "_description": {"extension": [{"extension": translation, "url": TRANSLATION}]},
            "caseSensitive": True,
            "content": "fragment",
            "count": len(codes),
            "concept": [codes[code] for code in sorted(codes)],
        }
