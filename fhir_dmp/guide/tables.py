"""Tables that are read from what the server runs on: types, matrix, rules, cases, settings, search parameters, operations.

profiles/, fhir_dmp/consent/, fhir_dmp/settings.py, capability_statement.json, tests/cases/access/
"""

import json
import re
from functools import lru_cache
from html import escape

from fhir_dmp.consent import rules
from fhir_dmp.consent.explain import WORDS
from fhir_dmp.dmp import habilitation, spaces
from fhir_dmp.guide import sources
from fhir_dmp.guide.grid import Cell, Choice, code, table
from fhir_dmp.settings import PREFIX, SETTINGS, shown

VOLETS = {
    "donnees-generales": ("Données générales", "General data"),
    "soins": ("Soins", "Care"),
    "prevention": ("Prévention", "Prevention"),
    "imagerie": ("Images", "Imaging"),
    "expression-titulaire": ("Expression du titulaire", "The holder's own words"),
    "remboursement": ("Remboursements", "Reimbursements"),
    "identification": ("Identification", "Identification"),
}
SPACES = {
    "compte-rendu": ("Compte rendu", "Reports"),
    "imagerie": ("Imagerie", "Imaging"),
    "synthese": ("Synthèse", "Summaries"),
    "traitement": ("Traitement", "Treatments"),
    "analyse": ("Analyse", "Laboratory"),
    "prevention": ("Prévention", "Prevention"),
    "certificat": ("Certificat", "Certificates"),
    "historique-remboursement": ("Historique de remboursement", "Reimbursement history"),
    "espace-personnel": ("Espace personnel", "Personal space"),
    "hors-espace": ("Hors espace", "In no space"),
}
EFFECTS = {
    "permit": ("ouvre", "opens"),
    "hide": ("cache", "hides"),
    "refuse": ("refuse", "refuses"),
}
ACTORS = {
    "holder": ("Titulaire majeur", "Adult holder"),
    "minor with a professional": ("Titulaire mineur, avec un professionnel", "Minor holder, with a professional"),
    "parent": ("Parent", "Parent"),
    "guardian": ("Tuteur", "Guardian"),
    "mandataire": ("Mandataire", "Mandataire"),
    "medecin traitant": ("Médecin traitant", "Médecin traitant"),
    "assimilated": ("Professionnel aux mêmes droits que le médecin traitant", "Professional with the médecin traitant's rights"),
    "author": ("Auteur du document", "Author of the document"),
    "colleague in charge": ("Collègue en charge, même établissement", "Colleague in charge, same establishment"),
    "care team": ("Équipe de soins", "Care team"),
    "consented": ("Professionnel autorisé", "Authorised professional"),
    "unrelated": ("Professionnel sans relation", "Unrelated professional"),
    "blocked": ("Professionnel bloqué", "Blocked professional"),
    "regulation physician": ("Médecin régulateur du SAMU", "SAMU regulation physician"),
    "break-glass": ("Bris de glace ouvert", "Break-glass grant open"),
    "occupational physician": ("Médecin du travail, accord exprès", "Occupational physician, express consent"),
    "structure": ("Certificat de structure", "Certificate of an establishment"),
    "host": ("Autre hébergeur", "Another host"),
    "feed": ("Flux de l'Assurance Maladie", "Assurance Maladie feed"),
    "admin": ("Administrateur", "Administrator"),
    "support": ("Support", "Support"),
}
STATES = {
    "normal": ("sans étiquette", "no label"),
    "MASQUE_PS": ("MASQUE_PS", "MASQUE_PS"),
    "INVISIBLE_PATIENT": ("INVISIBLE_PATIENT", "INVISIBLE_PATIENT"),
    "INVISIBLE_REPRESENTANTS_LEGAUX": ("INVISIBLE_ REPRESENTANTS_ LEGAUX", "INVISIBLE_ REPRESENTANTS_ LEGAUX"),
    "personal space": ("espace personnel", "personal space"),
    "not in matrix": ("hors matrice", "not in the matrix"),
}
CASE = re.compile(r"table 3: (?P<who>.+?)(?:, profession \w+)?, (?P<state>[^,]+), read")
CASES = sources.ROOT / "tests" / "cases" / "access" / "table-3.json"


def pick(pair: tuple[str, str], language: str) -> str:
    return pair[language == "en"]


def types(language: str) -> str:
    """Every document type with its class, its volet of 2007 and its space of 2018."""
    classes = spaces.classes()
    rows = [
        (
            [
                code(one.code),
                one.display,
                f"{one.document_class} {classes.get(one.document_class, '')}",
                volet(one, language),
                space(one, language),
            ],
            {"volet": one.volet, "space": one.space, "kind": one.document_class},
        )
        for one in sorted(spaces.types().values(), key=lambda one: (one.document_class, one.code))
    ]
    heads = {
        "fr": ["Type", "Libellé", "Classe", "Volet 2007", "Espace 2018"],
        "en": ["Type", "Display", "Class", "Volet of 2007", "Space of 2018"],
    }
    choices = [
        Choice("space", pick(("Espace", "Space"), language), [(name, pick(said, language)) for name, said in SPACES.items()]),
        Choice("volet", "Volet", [(name, pick(said, language)) for name, said in VOLETS.items()]),
        Choice("kind", pick(("Classe", "Class"), language), sorted(classes.items())),
    ]
    return table(language, heads[language], rows, choices)


def volet(one: spaces.DocumentType, language: str) -> str:
    return pick(VOLETS[one.volet], language)


def space(one: spaces.DocumentType, language: str) -> str:
    return pick(SPACES[one.space], language)


def spaces_of_2018(language: str) -> str:
    """The nine spaces: how many types, and which ones first."""
    return counted(language, SPACES, lambda one: one.space)


def volets_of_2007(language: str) -> str:
    """The volets: how many types, and which ones first."""
    return counted(language, VOLETS, lambda one: one.volet)


def counted(language: str, names: dict[str, tuple[str, str]], of) -> str:
    rows = []
    for name, said in names.items():
        inside = [one for one in spaces.types().values() if of(one) == name]
        rows.append(
            ([pick(said, language), len(inside), ", ".join(one.display for one in inside[:4]) + (" …" if len(inside) > 4 else "")], {})
        )
    heads = {"fr": ["Nom", "Types", "Par exemple"], "en": ["Name", "Types", "For instance"]}
    return table(language, heads[language], rows, filtered=False)


def matrix(language: str) -> str:
    """Types by professions: L reads, E writes (R, W in English), as the matrix in force answers without specialty or facility."""
    in_force, classes = habilitation.default(), spaces.classes()
    letters = {"fr": ("L", "E"), "en": ("R", "W")}[language]
    columns = [one for one in professions() if one[0].startswith(("G15|", "A00|", "R94|")) and speaks(one[0])]
    allowed = {
        token: tuple(in_force.allowed([token], frozenset(), action) for action in (habilitation.READ, habilitation.WRITE))
        for token, _ in columns
    }
    rows = []
    for one in sorted(spaces.types().values(), key=lambda one: (one.document_class, one.code)):
        cells: list[Cell | str] = [
            Cell(f"<code>{escape(one.code)}</code> {escape(one.display)}"),
            f"{one.document_class} {classes.get(one.document_class, '')}",
        ]
        for token, _ in columns:
            said = " ".join(letter for letter, may in zip(letters, allowed[token], strict=True) if one.code in may)
            cells.append(Cell(said or "·", "yes" if said else "no", token))
        rows.append((cells, {"kind": one.document_class}))
    heads = [pick(("Type de document", "Document type"), language), pick(("Classe", "Class"), language)]
    choices = [
        Choice("column", "Profession", [(token, said) for token, said in columns]),
        Choice("kind", pick(("Classe", "Class"), language), sorted(classes.items())),
    ]
    return table(language, [*heads, *(Cell(escape(said), "", token) for token, said in columns)], rows, choices, kind="grid")


@lru_cache(maxsize=1)
def professions() -> list[tuple[str, str]]:
    """(token, display) of every profession the matrix knows."""
    made = json.loads((sources.PROFILES / "professions.json").read_text("utf-8"))["professions"]
    return [(f"{one['system']}|{one['code']}", one["display"]) for one in made]


def speaks(token: str) -> bool:
    """Whether the matrix opens anything to this profession."""
    in_force = habilitation.default()
    return any(in_force.allowed([token], frozenset(), action).named for action in (habilitation.READ, habilitation.WRITE))


def matrix_rows(language: str) -> str:
    """The rows of the matrix as they are, with where each comes from."""
    made = json.loads((sources.PROFILES / "habilitations.json").read_text("utf-8"))["rows"]
    certainties = {
        "sourced": ("sourcée", "sourced"),
        "inferred": ("déduite", "inferred"),
        "partly sourced": ("en partie sourcée", "partly sourced"),
    }
    rows = []
    for one in made:
        if "sameAs" in one:
            continue
        target = one["target"]
        what = ", ".join(target.get("types") or target.get("classes") or [pick(("tout", "all"), language)])
        certainty = pick(certainties.get(one.get("certainty", ""), (one.get("certainty", ""),) * 2), language)
        effect = pick({"permit": ("oui", "yes"), "deny": ("non", "no")}[one["effect"]], language)
        verb = pick({"read": ("lire", "read"), "write": ("écrire", "write")}.get(one["action"], (one["action"],) * 2), language)
        cells = [code(one["id"]), ", ".join(one["professions"]), what, verb, Cell(effect, "yes" if one["effect"] == "permit" else "no")]
        rows.append(([*cells, certainty, one.get("source", "") or one.get("note", "")], {"certainty": one.get("certainty", "")}))
    heads = {
        "fr": ["Ligne", "Professions", "Types ou classes", "Action", "Permis", "Certitude", "Source"],
        "en": ["Row", "Professions", "Types or classes", "Action", "Permitted", "Certainty", "Source"],
    }
    known = sorted({facts["certainty"] for _, facts in rows})
    choices = [
        Choice(
            "certainty",
            pick(("Certitude", "Certainty"), language),
            [(one, pick(certainties.get(one, (one, one)), language)) for one in known],
        )
    ]
    return table(language, heads[language], rows, choices)


def rules_in_order(language: str) -> str:
    """Every rule of reading in the order in which it speaks."""
    parts = (*((one, "1") for one in rules.ADMISSION), *((one, "2") for one in rules.CURTAINS), *((one, "3") for one in rules.PERMITS))
    rows = []
    for number, (rule, _) in enumerate(parts, 1):
        kind = {"permit": "yes", "hide": "maybe", "refuse": "no"}[rule.effect]
        said = WORDS.get(rule.name)
        rows.append(
            (
                [str(number), code(rule.name), Cell(pick(EFFECTS[rule.effect], language), kind), pick(said, language) if said else ""],
                {"effect": rule.effect},
            )
        )
    heads = {"fr": ["Ordre", "Règle", "Effet", "Ce qu'elle dit"], "en": ["Order", "Rule", "Effect", "What it says"]}
    choices = [Choice("effect", pick(("Effet", "Effect"), language), [(name, pick(said, language)) for name, said in EFFECTS.items()])]
    return table(language, heads[language], rows, choices)


def sight(language: str) -> str:
    """Who sees what: the cases that the tests put to the decision, to the query and to the database."""
    seen: dict[str, dict[str, tuple[str, str]]] = {}
    for case in json.loads(CASES.read_text("utf-8")):
        if found := CASE.fullmatch(case["description"]):
            expected = case["expect"]
            effect = "warn" if expected.get("warn") else expected["effect"]
            seen.setdefault(found["who"], {})[found["state"]] = effect
    signs = {
        "permit": ("voit", "sees", "yes"),
        "warn": ("voit, averti", "sees, warned", "yes"),
        "hide": ("caché", "hidden", "maybe"),
        "refuse": ("refusé", "refused", "no"),
    }
    rows = []
    for who, states in seen.items():
        cells: list[Cell | str] = [pick(ACTORS[who], language)]
        for state in STATES:
            sign = signs.get(states.get(state, ""))
            cells.append(Cell(sign[language == "en"], sign[2], state) if sign else Cell("–", "", state))
        rows.append((cells, {}))
    heads = [pick(("Qui", "Who"), language), *(Cell(escape(pick(said, language)), "", state) for state, said in STATES.items())]
    choices = [
        Choice("column", pick(("Document", "Document"), language), [(state, pick(said, language)) for state, said in STATES.items()])
    ]
    return table(language, heads, rows, choices, kind="grid")


def settings(language: str) -> str:
    """The table of settings: in English as on the command line, in French as ig/settings.fr.json says."""
    french = json.loads((sources.ROOT / "ig" / "settings.fr.json").read_text("utf-8"))
    rows = [
        (
            [
                code(one.name),
                code(shown(one, one.default)),
                french[one.name] if language == "fr" else one.help,
                code(PREFIX + one.name.upper()),
            ],
            {},
        )
        for one in SETTINGS
    ]
    heads = {"fr": ["Réglage", "Défaut", "Ce que c'est", "Variable"], "en": ["Setting", "Default", "What it is", "Variable"]}
    return table(language, heads[language], rows)


@lru_cache(maxsize=1)
def capabilities() -> dict:
    """The CapabilityStatement as it is served."""
    return json.loads((sources.ROOT / "capability_statement.json").read_text("utf-8"))["rest"][0]


def search_parameters(language: str) -> str:
    """Every search parameter that is served, by type."""
    rows = []
    for resource in capabilities()["resource"]:
        for one in resource.get("searchParam", ()):
            own = not one.get("definition", "").startswith("http://hl7.org/fhir/")
            cells = [resource["type"], code(one["name"]), one["type"], Cell(link(one.get("definition", "")))]
            rows.append((cells, {"type": resource["type"], "kind": one["type"], "own": "own" if own else "r4"}))
    heads = {"fr": ["Type", "Paramètre", "Sorte", "Définition"], "en": ["Type", "Parameter", "Kind", "Definition"]}
    kinds = sorted({facts["kind"] for _, facts in rows})
    choices = [
        Choice("type", "Type", [(one, one) for one in sorted({facts["type"] for _, facts in rows})]),
        Choice("kind", pick(("Sorte", "Kind"), language), [(one, one) for one in kinds]),
        Choice("own", pick(("Origine", "Origin"), language), [("r4", "FHIR R4"), ("own", pick(("PDSm, DMP", "PDSm, DMP"), language))]),
    ]
    return table(language, heads[language], rows, choices)


def interactions(language: str) -> str:
    """What is served on each type."""
    rows = []
    for resource in capabilities()["resource"]:
        done = [one["code"] for one in resource.get("interaction", ())]
        asked = [f"${one['name']}" for one in resource.get("operation", ())]
        rows.append(([code(resource["type"]), ", ".join(done), ", ".join(asked)], {}))
    heads = {"fr": ["Type", "Interactions", "Opérations"], "en": ["Type", "Interactions", "Operations"]}
    return table(language, heads[language], rows)


def link(address: str) -> str:
    """An address: of the outside as a link, of this project as its last word."""
    if address.startswith("http://hl7.org/fhir/"):
        return f'<a href="{escape(address)}">{escape(address.rsplit("/", 1)[1])}</a>'
    return code(address).html


TABLES = {
    "types": types,
    "spaces": spaces_of_2018,
    "volets": volets_of_2007,
    "matrix": matrix,
    "matrix_rows": matrix_rows,
    "rules": rules_in_order,
    "sight": sight,
    "settings": settings,
    "search_parameters": search_parameters,
    "interactions": interactions,
}
