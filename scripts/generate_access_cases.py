"""Writes tests/cases/access/table-*.json: the tables of the law of the dossier, cell by cell.

Code de la santé publique L1111-14 to L1111-19, R1111-40 to R1111-53

What is expected is written here by hand, as the tables say it; nothing is asked of the rules themselves.
A cell is Y permit, Yw permit with a warning, H hide, F refuse, - nothing to test; then the rule that speaks, if the table settles it.
Run: python scripts/generate_access_cases.py ; the output is committed and a test compares it.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "cases" / "access"
NOW = "2026-11-22T10:00:00+01:00"
EFFECTS = {"Y": "permit", "H": "hide", "F": "refuse"}

# ---- the people: invented, every RPPS begins with 1000000

TRAITANT, ASSIMILATED, AUTHOR, COLLEAGUE, TEAM = ("10000000001", "10000000002", "10000000003", "10000000004", "10000000005")
CONSENTED, UNRELATED, BLOCKED, REGULATOR, BREAKER, OCCUPATIONAL = (
    "10000000006", "10000000007", "10000000008", "10000000009", "10000000010", "10000000011",
)  # fmt: skip
HOSPITAL, PRACTICE = "750000010", "750000001"


def professional(rpps, organization=PRACTICE, **more):
    """A physician unless a case says otherwise."""
    return {"kind": "professional", "rpps": rpps, "profession": "10", "organization": organization, "purpose": ["TREAT"], **more}


WHO = {
    "holder": {"kind": "patient", "patient": "adult"},
    "minor with a professional": {"kind": "patient", "patient": "child", "with": TRAITANT},
    "minor alone": {"kind": "patient", "patient": "child"},
    "parent": {"kind": "representative", "patient": "child", "relatedPerson": "mother"},
    "guardian": {"kind": "representative", "patient": "adult-protected", "relatedPerson": "guardian"},
    "mandataire": {"kind": "mandataire", "patient": "adult", "relatedPerson": "mandataire"},
    "medecin traitant": professional(TRAITANT),
    "assimilated": professional(ASSIMILATED),
    "author": professional(AUTHOR, HOSPITAL, authoredHere=True),
    "colleague in charge": professional(COLLEAGUE, HOSPITAL),
    "care team": professional(TEAM),
    "consented": professional(CONSENTED),
    "unrelated": professional(UNRELATED),
    "blocked": professional(BLOCKED),
    "regulation physician": professional(REGULATOR, purpose=["ETREAT"], regulation=True),
    "break-glass": professional(BREAKER),
    "occupational physician": professional(OCCUPATIONAL, specialty="SM25"),
    "structure": {"kind": "structure", "organization": HOSPITAL},
    "host": {"kind": "host", "host": "other-host"},
    "feed": {"kind": "feed"},
    "admin": {"kind": "operator", "role": "admin"},
    "support": {"kind": "support", "level": 2, "ticket": "T-1"},
}

DOSSIER = {
    "patient": "adult",
    "birthDate": "1980-05-17",
    "medecinTraitant": [TRAITANT],
    "assimilated": [{"rpps": ASSIMILATED}],
    "careTeam": [{"rpps": COLLEAGUE}, {"rpps": TEAM}],
    "consents": [{"rpps": CONSENTED}, {"rpps": BLOCKED}, {"rpps": OCCUPATIONAL}],
    "blocks": [{"rpps": BLOCKED}],
    "grants": [{"rpps": BREAKER, "since": "2026-11-22T09:30:00+01:00", "until": "2026-11-22T10:30:00+01:00"}],
    "titles": [{"relatedPerson": "mandataire", "kind": "mandataire", "until": "2027-01-01"}],
    "permits": ["reimbursement"],
}
CHILD = {**DOSSIER, "patient": "child", "birthDate": "2012-03-04", "titles": [{"relatedPerson": "mother", "kind": "parent"}]}
PROTECTED = {
    **DOSSIER,
    "patient": "adult-protected",
    "titles": [{"relatedPerson": "guardian", "kind": "guardian", "since": "2020-01-01", "until": "2029-12-31"}],
}
DOSSIERS = {"adult": DOSSIER, "child": CHILD, "protected adult": PROTECTED}
DOSSIER_OF = {"minor with a professional": CHILD, "minor alone": CHILD, "parent": CHILD, "guardian": PROTECTED}

# ---- table 3: reading a document of an open dossier

COLUMNS = ("normal", "MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX", "personal space", "not in matrix")

TABLE_3 = """
holder                    | Y holder | Y holder | H hidden-from-patient | Y holder | Y holder | Y holder
minor with a professional | Y minor-with-professional | Y minor-with-professional | H hidden-from-patient | Y minor-with-professional | Y minor-with-professional | Y minor-with-professional
parent                    | Y representative | Y representative | H hidden-from-patient | H hidden-from-representatives | Y representative | Y representative
guardian                  | Y representative | Y representative | H hidden-from-patient | H hidden-from-representatives | Y representative | Y representative
mandataire                | F mandataire-reads-nothing | F mandataire-reads-nothing | F mandataire-reads-nothing | F mandataire-reads-nothing | F mandataire-reads-nothing | F mandataire-reads-nothing
medecin traitant          | Y medecin-traitant | Yw medecin-traitant | Yw medecin-traitant | Yw medecin-traitant | Y medecin-traitant | H habilitation
assimilated               | Y assimilated | Yw assimilated | Yw assimilated | Yw assimilated | Y assimilated | H habilitation
author                    | Y author | Y author | Yw author | Yw author | - | H habilitation
colleague in charge       | Y care-team | Y care-team | Yw care-team | Yw care-team | Y care-team | H habilitation
care team                 | Y care-team | H masked | Yw care-team | Yw care-team | Y care-team | H habilitation
consented                 | Y consent | H masked | Yw consent | Yw consent | Y consent | H habilitation
unrelated                 | F unrelated | F unrelated | F unrelated | F unrelated | F unrelated | F unrelated
blocked                   | F blocked | F blocked | F blocked | F blocked | F blocked | F blocked
regulation physician      | Y regulation | H masked | Yw regulation | Yw regulation | H personal-space-in-emergency | H habilitation
break-glass               | Y break-glass | H masked | Yw break-glass | Yw break-glass | H personal-space-in-emergency | H habilitation
occupational physician    | Y consent | H masked | Yw consent | Yw consent | H personal-space-and-occupational-medicine | H habilitation
structure                 | F deposit-only | F deposit-only | F deposit-only | F deposit-only | F deposit-only | F deposit-only
host                      | F deposit-only | F deposit-only | F deposit-only | F deposit-only | F deposit-only | F deposit-only
feed                      | F deposit-only | F deposit-only | F deposit-only | F deposit-only | F deposit-only | F deposit-only
admin                     | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket
support                   | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket | F staff-without-ticket
"""  # noqa: E501 (a row is a row)

# Profession and category -> a type the matrix opens to it, and one it does not.
PROFESSIONS = {
    ("10", ""): ("11488-4", "ATTEST-RESID"),
    ("10", "E"): ("34112-3", "ATTEST-RESID"),
    ("21", ""): ("57833-6", "ATTEST-DROITS-AM"),
    ("40", ""): ("18748-4", "83901-9"),
    ("50", ""): ("15508-5", "86531-1"),
    ("60", ""): ("11502-2", "75496-0"),
    ("70", ""): ("77436-4", "80788-3"),
}
ONLY_PHYSICIANS = ("medecin traitant", "regulation physician", "break-glass", "occupational physician")
PERSONAL = ("EXPPAT_2", "74465-6")


def document(column, types):
    """The document of a column, deposited three days ago by AUTHOR at HOSPITAL, but for what the holder wrote."""
    if column == "personal space":
        return {"type": PERSONAL[0], "authors": ["holder"], "firstDeposit": "2026-11-19T09:00:00+01:00"}
    label = [] if column in ("normal", "not in matrix") else [column]
    kind = types[1] if column == "not in matrix" else types[0]
    return {"type": kind, "authors": [AUTHOR], "organization": HOSPITAL, "labels": label, "firstDeposit": "2026-11-19T09:00:00+01:00"}


def table_3():
    """One case for each cell, profession and way of asking."""
    for line in TABLE_3.strip().splitlines():
        actor, *cells = (part.strip() for part in line.split("|"))
        who = WHO[actor]
        plain = who["kind"] != "professional" or actor in ONLY_PHYSICIANS
        for profession, category in [("10", "")] if plain else PROFESSIONS:
            asker = {**who, "profession": profession, "category": category} if who["kind"] == "professional" else who
            for column, cell in zip(COLUMNS, cells, strict=True):
                if cell == "-":
                    continue
                for action in ("read", "search"):
                    suffix = "" if plain else f", profession {profession}{category}"
                    yield case(
                        f"table 3: {actor}{suffix}, {column}, {action}",
                        asker,
                        DOSSIER_OF.get(actor, DOSSIER),
                        document(column, PROFESSIONS[profession, category]),
                        cell,
                        action,
                        warned=column,
                    )


def table_3_more():
    """What the table says in words beside its cells."""
    for actor, rule in (("regulation physician", "regulation"), ("break-glass", "break-glass")):
        for kind, cell in (("EXPPAT_1", f"Y {rule}"), ("EXPPAT_3", f"Y {rule}"), *((p, "H personal-space-in-emergency") for p in PERSONAL)):
            yield case(
                f"table 3: {actor}, personal space {kind}", WHO[actor], DOSSIER, {**document("personal space", ()), "type": kind}, cell
            )
        masked = document("MASQUE_PS", PROFESSIONS["10", ""])
        permits = {**DOSSIER, "emergencyMasked": True}
        yield case(f"table 3: {actor}, MASQUE_PS, emergency-masked permits", WHO[actor], permits, masked, f"Y {rule}")
        opposed = {**permits, "regulation" if rule == "regulation" else "breakGlass": False}
        yield case(f"table 3: {actor}, opposed", WHO[actor], opposed, document("normal", PROFESSIONS["10", ""]), f"F {rule}-opposed")
        other = {**permits, "breakGlass" if rule == "regulation" else "regulation": False}
        yield case(f"table 3: {actor}, only the other way opposed", WHO[actor], other, masked, f"Y {rule}")
    # The clock of INVISIBLE_PATIENT: (first deposit, last hidden instant, first visible instant).
    for first, last, visible in (
        ("2026-01-31T09:00:00+01:00", "2026-02-28T08:59:59.999+01:00", "2026-02-28T09:00:00+01:00"),
        ("2024-01-31T09:00:00+01:00", "2024-02-29T08:59:59.999+01:00", "2024-02-29T09:00:00+01:00"),
        ("2026-03-15T10:00:00+01:00", "2026-04-15T09:59:59.999+02:00", "2026-04-15T10:00:00+02:00"),
        ("2026-09-30T10:00:00+02:00", "2026-10-30T09:59:59.999+01:00", "2026-10-30T10:00:00+01:00"),
        ("2025-12-31T23:30:00+01:00", "2026-01-31T23:29:59.999+01:00", "2026-01-31T23:30:00+01:00"),
        ("2026-05-31T00:00:00+02:00", "2026-06-29T23:59:59.999+02:00", "2026-06-30T00:00:00+02:00"),
    ):
        paper = {**document("INVISIBLE_PATIENT", PROFESSIONS["10", ""]), "firstDeposit": first}
        for actor in ("holder", "minor with a professional", "parent", "guardian"):
            dossier, rule = DOSSIER_OF.get(actor, DOSSIER), RULE_OF_HOLDERS[actor]
            for moment, cell in ((first, "H hidden-from-patient"), (last, "H hidden-from-patient"), (visible, f"Y {rule}")):
                yield case(f"table 3: {actor}, INVISIBLE_PATIENT of {first}, at {moment}", WHO[actor], dossier, paper, cell, when=moment)
        title = f"table 3: care team, INVISIBLE_PATIENT of {first}, released"
        yield case(title, WHO["care team"], DOSSIER, paper, "Y care-team", when=visible)
    # Majority: the parent's right ends, whatever the token; on 29 February the birthday of a common year is the last day of the month.
    plain = document("normal", PROFESSIONS["10", ""])
    for born, before, after in (
        ("2008-03-04", "2026-03-03T23:59:59.999+01:00", "2026-03-04T00:00:00+01:00"),
        ("2008-07-14", "2026-07-13T23:59:59.999+02:00", "2026-07-14T00:00:00+02:00"),
        ("2008-02-29", "2026-02-27T23:59:59.999+01:00", "2026-02-28T00:00:00+01:00"),
    ):
        child = {**CHILD, "birthDate": born}
        yield case(f"majority of {born}: the parent before", WHO["parent"], child, plain, "Y representative", when=before)
        yield case(f"majority of {born}: the parent after", WHO["parent"], child, plain, "F no-valid-title", when=after)
        yield case(f"majority of {born}: the holder alone before", WHO["minor alone"], child, plain, "F minor-alone", when=before)
        yield case(f"majority of {born}: the holder alone after", WHO["minor alone"], child, plain, "Y holder", when=after)
    # The states of the dossier.
    professionals = ("medecin traitant", "author", "care team", "consented", "break-glass", "unrelated")
    for state, rule, closed_to in (
        ({"status": "closed"}, "dossier-closed", ("holder", *professionals)),
        ({"deceased": "2026-11-01"}, "holder-deceased", ("holder", *professionals)),
        ({"status": "rights-lost"}, "rights-lost", professionals),
    ):
        for actor in closed_to:
            yield case(f"{rule}: {actor}", WHO[actor], {**DOSSIER, **state}, plain, f"F {rule}")
    yield case("rights-lost: the holder reads", WHO["holder"], {**DOSSIER, "status": "rights-lost"}, plain, "Y holder")
    for actor in ("holder", "medecin traitant", "care team", "unrelated", "host"):
        yield case(f"no dossier: {actor}", WHO[actor], None, plain, "F no-dossier")


RULE_OF_HOLDERS = {
    "holder": "holder",
    "minor with a professional": "minor-with-professional",
    "parent": "representative",
    "guardian": "representative",
}

# ---- table 4: doing

ACTORS_4 = (
    "holder", "minor with a professional", "parent", "mandataire", "medecin traitant", "author", "care team", "consented", "unrelated",
    "blocked", "break-glass", "structure", "host", "feed", "admin", "support",
)  # fmt: skip

# action : what it is about : cells in the order of ACTORS_4
TABLE_4 = """
close              | reason=holder-request        | Y F Y F F F F F F F F F F F F F
close              | reason=deceased              | F F F F F F F F F F F F Y F Y F
close              | reason=rights-lost           | F F F F F F F F F F F F Y F Y F
close              | reason=transfer              | F F F F F F F F F F F F Y F Y F
change-host        |                              | Y F Y F F F F F F F F F F F F F
appoint-mandataire |                              | Y F Y F F F F F F F F F F F F F
authorise          | about=10000000007            | Y F Y Y F F F F F F F F F F F F
block              | about=10000000007            | Y F Y Y F F F F F F F F F F F F
block              | about=10000000001            | F F F F F F F F F F F F F F F F
lift-block         | about=10000000007            | Y F Y Y F F F F F F F F F F F F
lift-block         | about=10000000001            | Y F Y Y F F F F F F F F F F F F
emergency-consents |                              | Y F Y Y F F F F F F F F F F F F
give-traitant-rights | about=10000000007          | Y F Y F F F F F F F F F F F F F
mask-by-rule       |                              | Y F Y F F F F F F F F F F F F F
permit-use         |                              | Y F Y F F F F F F F F F F F F F
wills              |                              | Y F Y F F F F F F F F F F F F F
edit-identification|                              | Y F Y F F F F F F F F F F F F F
declare-traitant   | about=10000000007            | Y F Y F F F F F F F F F F Y F F
edit-care-team     | about=10000000007            | Y F Y F Y F Y F F F F F F F F F
access-list        |                              | Y F Y Y F F F F F F F F F F F F
export             |                              | Y F Y F F F F F F F F F Y F F F
read-traces        |                              | Y Y Y F Y Y Y Y F F Y F F F F F
self-authorise     | evidence                     | F F F F Y Y Y Y Y F Y F F F F F
self-authorise     |                              | F F F F F F F F F F F F F F F F
break-glass        | justification=unconscious    | F F F F F Y F F Y F F F F F F F
break-glass        | justification=               | F F F F F F F F F F F F F F F F
mask               | document                     | Y F Y F F F F F F F F F F F F F
unmask             | document                     | Y F Y F F F F F F F F F F F F F
unmask             | document MASQUE_PS           | Y F Y F F F H H F F H F F F F F
hide-from-patient  | document                     | F F F F F Y F F F F F F F F F F
announce           | document INVISIBLE_PATIENT   | H H H F Y Y Y Y F F Y F F F F F
announce           | document MASQUE_PS           | F F F F Y Y H H F F H F F F F F
hide-from-representatives | document              | F Y F F F F F F F F F F F F F F
withdraw           | document                     | F F F F F Y F F F F F F F F F F
withdraw           | document MASQUE_PS           | F F F F F Y H H F F H F F F F F
archive            | document                     | Y F Y F Y Y F F F F F F F F F F
classify           | document                     | Y F Y F Y Y F F F F F F F F F F
replace            | document                     | F F F F Y Y Y Y F F Y F F F F F
replace            | document MASQUE_PS           | F F F F Y Y H H F F H F F F F F
deposit            | new 11488-4                  | F F F F Y Y Y Y Y F Y Y F F F F
deposit            | new SYNTH                    | F F F F Y Y Y Y Y F Y Y F F F F
deposit            | new 11502-2                  | F F F F F F F F F F F Y F F F F
deposit            | new REMB                     | F F F F F F F F F F F F F Y F F
deposit            | new EXPPAT_1                 | Y F Y F F F F F F F F F F F F F
deposit            | new EXPPAT_3                 | Y F Y F F F F F F F F F F F F F
deposit            | new DOCPAT06                 | Y F Y F F F F F F F F F F F F F
"""


def table_4():
    """One case for each cell."""
    for line in TABLE_4.strip().splitlines():
        action, about, cells = (part.strip() for part in line.split("|"))
        for actor, cell in zip(ACTORS_4, cells.split(), strict=True):
            kind, _, rest = about.partition(" ")
            paper, more = None, {}
            if kind == "document":
                paper = document(rest or "normal", PROFESSIONS["10", ""])
            elif kind == "new":
                paper = {"type": rest, "authors": [], "firstDeposit": NOW}
            elif about:
                name, _, value = about.partition("=")
                more = {name: True if name == "evidence" else [{"rpps": value}] if name == "about" else value}
            title = f"table 4: {action} {about}: {actor}".replace("  ", " ")
            yield case(title, WHO[actor], DOSSIER_OF.get(actor, DOSSIER), paper, cell, action, more=more)


def case(description, who, dossier, paper, cell, action="read", *, warned="", when=NOW, more=None):
    """One case as it is written."""
    verdict, _, rule = cell.partition(" ")
    expect = {"effect": EFFECTS[verdict[0]]}
    if rule:
        expect["rule"] = rule
    if action in ("read", "search") and verdict[0] == "Y":
        expect["warn"] = [warned] if verdict == "Yw" else []
    who, dossier = named(who, WHO), named(dossier, DOSSIERS) if dossier else None
    found = {"description": description, "when": when, "action": action, "who": who, "dossier": dossier, "document": paper}
    return {**found, **({"about": more} if more else {}), "expect": expect}


def named(value, known):
    """A value by its name in people.json, with what differs."""
    best = min(known, key=lambda name: len(differences(value, known[name])) + (100 if set(known[name]) - set(value) else 0))
    differs = differences(value, known[best])
    return {"like": best, **differs} if differs else best


def differences(value, known):
    return {key: part for key, part in value.items() if known.get(key) != part and not (part == "" and key not in known)}


def people():
    """The people and dossiers that cases name."""
    return {"who": WHO, "dossiers": DOSSIERS}


def written(cases):
    """The file of a table: one case a line; of the people, one a line."""
    if isinstance(cases, dict):
        parts = (
            f' "{kind}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in known.items()) + "\n }"
            for kind, known in cases.items()
        )
        return "{\n" + ",\n".join(parts) + "\n}\n"
    lines = ",\n".join(" " + json.dumps(one, ensure_ascii=False) for one in cases)
    return f"[\n{lines}\n]\n"


FILES = {"people.json": people, "table-3.json": table_3, "table-3-more.json": table_3_more, "table-4.json": table_4}

if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, cases in FILES.items():
        (FOLDER / name).write_text(written(cases()), encoding="utf-8")
