"""Code lists: ValueSets of the lists of ANS and HL7 France the DMP uses, CodeSystems of this project, ConceptMaps, NamingSystems.

https://hl7.org/fhir/R4/terminology-module.html ; each list names where it was read. The lists are in lists.json beside this file.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fhir_dmp.dmp import spaces
from fhir_dmp.dmp.visibility import ALIASES
from scripts.profile_sources.making import CANONICAL, DATE, FRANCE, PUBLISHER, canonical, head
from scripts.profile_sources.systems import ACT_REASON, CATEGORY, LOINC, ROLE_CODE, TRE_A03, TRE_A07, TRE_A08

HERE = Path(__file__).parent
Lists = dict[str, Any]

# id: English title, French title, [(code, English, French)]
OWN: dict[str, tuple[str, str, tuple[tuple[str, str, str], ...]]] = {
    "dmp-consent-category": (
        "Categories of Consents of a DMP",
        "Catégories de consentements du DMP",
        (
            ("opening", "Opening of the DMP", "Ouverture du DMP"),
            ("access", "Access of a professional or structure", "Accès d'un professionnel ou d'une structure"),
            ("administrator", "Rights of the médecin traitant", "Droits du médecin traitant"),
            ("block", "Block of a professional or structure", "Blocage d'un professionnel ou d'une structure"),
            ("emergency-regulation", "Emergency call centres", "Centres de régulation (SAMU)"),
            ("emergency-break-glass", "Breaking the glass", "Bris de glace"),
            ("emergency-masked", "Masked documents in an emergency", "Documents masqués en urgence"),
            ("mask", "Masking by rule", "Masquage par règle"),
            ("mandate", "Mandate to manage access", "Mandat de gestion des accès"),
            ("reimbursement", "Display of reimbursements", "Affichage des remboursements"),
            ("takeover", "Takeover of an experimental dossier", "Reprise d'un dossier d'expérimentation"),
            ("feed", "Feeding by other dossiers", "Alimentation par d'autres dossiers"),
        ),
    ),
    "dmp-consent-evidence": (
        "Evidence of the holder's agreement",
        "Preuve de l'accord du titulaire",
        (
            ("carte-vitale", "Vitale card read", "Carte Vitale lue"),
            ("signed-form", "Signed form kept", "Formulaire signé conservé"),
            ("oral", "By word of mouth", "Accord oral"),
            ("online", "Online, by the holder himself", "En ligne, par le titulaire lui-même"),
        ),
    ),
    "dmp-actor-kind": (
        "Kinds of askers",
        "Natures de demandeurs",
        (
            ("professional", "Professional", "Professionnel"),
            ("patient", "Holder", "Titulaire"),
            ("representative", "Parent or guardian", "Parent ou tuteur"),
            ("mandataire", "Person given a mandate", "Mandataire"),
            ("structure", "Establishment by its certificate", "Établissement par son certificat"),
            ("host", "Another host", "Autre hébergeur"),
            ("feed", "Assurance Maladie feed", "Alimentation par l'Assurance Maladie"),
            ("system", "Test system of a sandbox", "Système de test d'un bac à sable"),
            ("support", "Support", "Support"),
            ("operator", "Staff of the host", "Personnel de l'hébergeur"),
        ),
    ),
    "dmp-audit-act": (
        "Acts told by traces",
        "Actes dits par les traces",
        (
            ("consent", "Act about rights", "Acte sur les droits"),
            ("mask", "Masking", "Masquage"),
            ("unmask", "Unmasking", "Démasquage"),
            ("key", "Act about a key", "Acte sur une clé"),
            ("backup", "Backup", "Sauvegarde"),
            ("restore", "Restore", "Restauration"),
            ("erasure", "Destruction of a dossier", "Destruction d'un dossier"),
        ),
    ),
    "dmp-notice": (
        "Notices",
        "Avis",
        (
            ("emergency-access", "Somebody used an emergency access", "Un accès d'urgence a été utilisé"),
            ("access", "A professional read the DMP", "Un professionnel a lu le DMP"),
            ("authorisation", "A professional authorised himself", "Un professionnel s'est autorisé"),
            ("mandate-act", "The mandataire acted", "Le mandataire a agi"),
            ("announcement", "A document waits for its announcement", "Un document attend son annonce"),
            ("dossiers-joined", "Another dossier was joined to this one", "Un autre dossier a été réuni à celui-ci"),
            ("dossiers-parted", "Two dossiers were parted", "Deux dossiers ont été séparés"),
        ),
    ),
    "dmp-proof-level": (
        "Levels of proof",
        "Niveaux de preuve",
        (
            ("seal", "Seal of the host on arrival", "Cachet de l'hébergeur à l'arrivée"),
            ("message", "Seal of the message", "Cachet du message"),
            ("author", "Signature of the author", "Signature de l'auteur"),
        ),
    ),
    "dmp-space": (
        "Spaces of the DMP of 2018",
        "Espaces du DMP de 2018",
        (
            ("compte-rendu", "Reports", "Comptes rendus"),
            ("imagerie", "Imaging", "Imagerie médicale"),
            ("synthese", "Summaries", "Synthèses"),
            ("traitement", "Treatments and care", "Traitements et soins"),
            ("analyse", "Laboratory results", "Analyses de laboratoire"),
            ("prevention", "Prevention", "Prévention"),
            ("certificat", "Certificates", "Certificats"),
            ("historique-remboursement", "Reimbursement history", "Historique de remboursements"),
            ("espace-personnel", "Personal space", "Espace personnel"),
            ("hors-espace", "Outside the nine spaces", "Hors des neuf espaces"),
        ),
    ),
    "dmp-volet": (
        "Volets of the DMP of 2007",
        "Volets du DMP de 2007",
        (
            ("identification", "Identification", "Identification"),
            ("donnees-generales", "General data", "Données générales"),
            ("soins", "Care", "Soins"),
            ("prevention", "Prevention", "Prévention"),
            ("imagerie", "Imaging", "Imagerie"),
            ("expression-titulaire", "Expression of the holder", "Expression du titulaire"),
            ("remboursement", "Reimbursement", "Remboursement"),
        ),
    ),
    "dmp-closing-reason": (
        "Why a DMP is closed or opened again",
        "Motifs de fermeture ou de réouverture",
        (
            ("holder-request", "Asked by the holder", "Demande du titulaire"),
            ("deceased", "The holder died", "Décès du titulaire"),
            ("rights-lost", "Loss of beneficiary status", "Perte de la qualité de bénéficiaire"),
            ("rights-recovered", "Recovery of beneficiary status", "Recouvrement de la qualité de bénéficiaire"),
            ("transfer", "Transfer to another host", "Transfert vers un autre hébergeur"),
        ),
    ),
}
SOURCES = {
    "dmp-space": "the nine spaces of the DMP of 2018 as presented to the public; mapping of this project",
    "dmp-volet": "the volets of the DMP of 2006 and 2007 as presented to professionals; mapping of this project",
}
# List -> title in English and French.
TITLES = {
    "dmp-author-specialty": ("Specialties of authors", "Spécialités des auteurs"),
    "dmp-confidentiality": ("Confidentiality and visibility of documents", "Confidentialité et visibilité des documents"),
    "dmp-document-class": ("Classes of documents", "Classes de documents"),
    "dmp-document-type": ("Types of documents", "Types de documents"),
    "dmp-facility-type": ("Kinds of establishments", "Secteurs d'activité"),
    "dmp-facility-type-cisis": ("Kinds of establishments, whole list", "Secteurs d'activité, liste complète"),
    "dmp-function": ("Functions toward the patient", "Fonctions auprès du patient"),
    "dmp-identity-status": ("Status of an identity", "Statut d'une identité"),
    "dmp-patient-relation": ("Relations to the patient", "Liens avec le patient"),
    "dmp-practice-setting": ("Practice settings", "Cadres d'exercice"),
    "dmp-profession": ("Professions and producers of documents", "Professions et producteurs de documents"),
    "dmp-purpose-of-use": ("Purposes of use", "Buts d'usage"),
    "dmp-related-identifier": ("Identifiers of related things", "Types d'identifiants liés"),
}
LICENCE = "LOINC codes are used under the licence of the Regenstrief Institute, https://loinc.org/license/."


def lists() -> Lists:
    return json.loads((HERE / "lists.json").read_bytes())


def value_sets(data: Lists) -> Iterator[dict[str, Any]]:
    for id, one in data["lists"].items():
        en, fr = TITLES[id]
        about = (f"The codes of {one['name']}, for {one['used']}.", f"Les codes de {one['name']}, pour {one['used']}.")
        codes = one["codes"]
        if id == "dmp-confidentiality":
            codes = [*codes, *_aliased(codes)]
        if id == "dmp-patient-relation":
            # Of HL7, beside the list: a guardian as the rest of the world writes it.
            codes = [*codes, [ROLE_CODE, "GUARD", "Tuteur"]]
        found = head("ValueSet", id, en, fr, about)
        if any(system == LOINC for system, _, _ in codes):
            found["copyright"] = LICENCE
        if one["oid"]:
            found["identifier"] = [{"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{one['oid']}"}]
        found["purpose"] = f"Source: {one['source']}. Published as {one['of']}."
        found["compose"] = {"include": list(_includes(codes))}
        yield _ordered(found)
    for id, (en, fr, _) in OWN.items():
        yield head("ValueSet", id, en, fr) | {"compose": {"include": [{"system": canonical("CodeSystem", id)}]}}


def _aliased(codes: list[list[str]]) -> Iterator[list[str]]:
    """The same codes in the spellings of their systems met in published examples."""
    for alias, system in ALIASES.items():
        if not alias.startswith("urn:"):
            yield from ([alias, code, display] for owner, code, display in codes if owner == system)
    yield from ([alias, "N", "Normal"] for alias, system in ALIASES.items() if system == TRE_A07 and not alias.startswith("urn:"))


def _includes(codes: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
    by_system: dict[str, list[dict[str, str]]] = {}
    for system, code, display in codes:
        by_system.setdefault(system, []).append({"code": code} | ({"display": display} if display else {}))
    for system, concepts in by_system.items():
        yield {"system": system, "concept": concepts}


def _ordered(found: dict[str, Any]) -> dict[str, Any]:
    last = found.pop("compose")
    return found | {"compose": last}


def code_systems(data: Lists) -> Iterator[dict[str, Any]]:
    for id, (en, fr, codes) in OWN.items():
        yield head("CodeSystem", id, en, fr) | {
            "purpose": f"Source: {SOURCES.get(id, 'this project')}.",
            "caseSensitive": True,
            "valueSet": canonical("ValueSet", id),
            "content": "complete",
            "count": len(codes),
            "concept": [
                {"code": code, "display": said, "designation": [{"language": "fr", "value": french}]} for code, said, french in codes
            ],
        }
    yield _pilot_sites(data["pilotSites"])


def _pilot_sites(pilots: dict[str, Any]) -> dict[str, Any]:
    about = ("The 17 sites of the experiment, with region and host.", "Les 17 sites de l'expérimentation, avec région et hébergeur.")
    return head("CodeSystem", "dmp-pilot-site", "Sites of the 2006 experiment", "Sites de l'expérimentation de 2006", about) | {
        "purpose": f"Source: {pilots['source']}.",
        "caseSensitive": True,
        "content": "complete",
        "count": len(pilots["sites"]),
        "property": [{"code": code, "type": "string"} for code in ("region", "host")],
        "concept": [
            {
                "code": code,
                "display": name,
                "property": [{"code": "region", "valueString": region}, {"code": "host", "valueString": host}],
            }
            for code, name, region, host in pilots["sites"]
        ],
    }


def concept_maps() -> Iterator[dict[str, Any]]:
    kinds = list(spaces.types().values())
    table = (
        ("dmp-type-to-class", "Type to class", "Du type à la classe", "dmp-document-class", TRE_A03, "document_class"),
        (
            "dmp-type-to-space",
            "Type to space of 2018",
            "Du type à l'espace de 2018",
            "dmp-space",
            canonical("CodeSystem", "dmp-space"),
            "space",
        ),
        (
            "dmp-type-to-volet",
            "Type to volet of 2007",
            "Du type au volet de 2007",
            "dmp-volet",
            canonical("CodeSystem", "dmp-volet"),
            "volet",
        ),
    )
    for id, en, fr, target, system, name in table:
        groups = []
        for source in dict.fromkeys(kind.system for kind in kinds):
            elements = [
                {"code": kind.code, "target": [{"code": getattr(kind, name), "equivalence": "wider"}]}
                for kind in kinds
                if kind.system == source
            ]
            groups.append({"source": source, "target": system, "element": elements})
        yield _map(id, en, fr, "", target, groups)
    groups = [
        {
            "source": alias,
            "target": system,
            "element": [{"code": code, "target": [{"code": code, "equivalence": "equal"}]} for code in codes],
        }
        for alias, system in ALIASES.items()
        for codes in [("N", "R", "V") if system == TRE_A08 else ("MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX")]
    ]
    yield _map(
        "dmp-confidentiality-aliases",
        "Spellings of confidentiality codes",
        "Écritures des codes de confidentialité",
        "",
        "dmp-confidentiality",
        groups,
    )
    pairs = (("TREAT", "access"), ("ETREAT", "emergency-regulation"), ("BTG", "emergency-break-glass"))
    groups = [
        {
            "source": ACT_REASON,
            "target": CATEGORY,
            "element": [{"code": purpose, "target": [{"code": category, "equivalence": "relatedto"}]} for purpose, category in pairs],
        }
    ]
    yield _map(
        "dmp-purpose-to-category",
        "Purpose of use to the Consent that decides it",
        "Du but d'usage au consentement qui en décide",
        "dmp-purpose-of-use",
        "dmp-consent-category",
        groups,
    )


def _map(id: str, en: str, fr: str, source: str, target: str, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """source: value set of what is mapped, "" where no value set holds all of it or its codes can only be checked by a licensed server."""
    scope = {"sourceCanonical": canonical("ValueSet", source)} if source else {}
    return head("ConceptMap", id, en, fr) | {
        **scope,
        "targetCanonical": canonical("ValueSet", target),
        "group": groups,
    }


def naming_systems(data: Lists) -> Iterator[dict[str, Any]]:
    for name, system, oid, about, form, source, certainty, note in data["identifierSystems"]:
        unique = [{"type": "uri", "value": system, "preferred": True}]
        if oid:
            unique.append({"type": "oid", "value": oid})
        usage = "; ".join(part for part in (about, form, note, f"source: {source} ({certainty})") if part)
        yield {
            "resourceType": "NamingSystem",
            "id": "dmp-" + name.lower().replace(" ", "-"),
            "name": "".join(part.capitalize() for part in name.replace("-", " ").split()),
            "status": "active",
            "kind": "identifier",
            "date": DATE,
            "publisher": PUBLISHER,
            "description": f"Identifiers {name}, for {about}.",
            "jurisdiction": FRANCE,
            "usage": usage,
            "uniqueId": unique,
        }
    yield {
        "resourceType": "NamingSystem",
        "id": "dmp-local-patient",
        "name": "LocalPatient",
        "status": "active",
        "kind": "identifier",
        "date": DATE,
        "publisher": PUBLISHER,
        "description": "Logical id of a holder at this host, in traces about another DMP.",
        "jurisdiction": FRANCE,
        "usage": "AuditEvent.agent.who.identifier; source: this project",
        "uniqueId": [{"type": "uri", "value": CANONICAL + "sid/patient", "preferred": True}],
    }


def all_of() -> Iterator[dict[str, Any]]:
    data = lists()
    yield from value_sets(data)
    yield from code_systems(data)
    yield from concept_maps()
    yield from naming_systems(data)
