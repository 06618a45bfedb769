"""Profiles of people and structures: Patient, RelatedPerson, CareTeam, Practitioner, PractitionerRole, Organization.

https://hl7.fr/ig/fhir/core/ (fr-core 2.1 and 2.2) ; https://interop.esante.gouv.fr/ig/fhir/annuaire/
"""

from scripts.profile_sources.making import E, Profile, Rule
from scripts.profile_sources.systems import (
    BIRTH_PLACE,
    FINESS,
    FR_CORE,
    IDNPS,
    IDNST,
    INS_C,
    INS_DEMO,
    INS_NIA,
    INS_NIR,
    INS_TEST,
    NIS,
    RPPS,
    SIRENE,
)

INS = (("INS-NIR", INS_NIR), ("INS-NIA", INS_NIA), ("INS-NIR-TEST", INS_TEST), ("INS-NIR-DEMO", INS_DEMO))
INS_ANY = " or ".join(f"system = '{system}'" for _, system in INS)


def identifier(name: str, system: str, en: str, fr: str, card: str = "0..*", rule: Rule | None = None) -> list[E]:
    """Rows of one slice of `identifier`, told apart by its system."""
    return [
        E(f"identifier:{name}", card, en, fr, ms=True, rules=[rule] if rule else []),
        E(f"identifier:{name}.system", "1..1", fixed=system),
        E(f"identifier:{name}.value", "1..1"),
    ]


def matches(key: str, pattern: str, en: str, fr: str) -> Rule:
    return Rule(key, "error", en, fr, f"value.exists() and value.matches('{pattern}')")


PATIENT = Profile(
    "dmp-patient",
    "Patient",
    "Holder of a DMP, known by the INS",
    "Titulaire d'un DMP, connu par son INS",
    [
        E("extension", slicing=("value", "url"), en="Extensions", fr="Extensions"),
        E("extension:identityReliability", "0..*", "Status of the identity", "Statut de l'identité", ms=True),
        E("extension:identityReliability.url", fixed=FR_CORE + "fr-core-identity-reliability"),
        E("extension:birthPlace", "0..1", "Place of birth, with its INSEE code", "Lieu de naissance, avec son code INSEE", ms=True),
        E("extension:birthPlace.url", fixed=BIRTH_PLACE),
        E("extension:birthPlace.value[x]", "1..1", types=("Address",)),
        E("identifier", "1..*", "INS and earlier identifiers", "INS et identifiants antérieurs", slicing=("value", "system"), ms=True),
        *(
            row
            for name, system in INS
            for row in identifier(
                name,
                system,
                f"{name} of the holder",
                f"{name} du titulaire",
                "0..*",
                matches(
                    f"dmp-pat-{name.lower()}",
                    "^[0-9]{5}[0-9AB][0-9]{9}$",
                    "An INS has 15 characters: 13 of the number and 2 of the key.",
                    "Un INS a 15 caractères : 13 de matricule et 2 de clé.",
                ),
            )
        ),
        *identifier("INS-C", INS_C, "Computed INS of 2010 to 2017", "INS calculé de 2010 à 2017"),
        *identifier("NIS", NIS, "Identifier of the 2006 experiment", "Identifiant de l'expérimentation de 2006"),
        E("active", en="Whether the DMP is open", fr="DMP ouvert ou non", ms=True),
        E("name", "1..*", "Names", "Noms", slicing=("value", "use"), ms=True),
        E("name:official", "1..1", "Birth name and given names", "Nom et prénoms de naissance", ms=True),
        E("name:official.use", "1..1", fixed="official"),
        E("name:official.family", "1..1", "Birth name", "Nom de naissance", ms=True),
        E("name:official.given", "1..*", "Given names", "Prénoms", ms=True),
        E("gender", "1..1", "Sex of the civil status", "Sexe à l'état civil", ms=True),
        E("birthDate", "1..1", "Date of birth", "Date de naissance", ms=True),
        E("generalPractitioner", en="Declared médecin traitant", fr="Médecin traitant déclaré", ms=True),
        E("generalPractitioner", targets=("Practitioner", "PractitionerRole", "Organization")),
        E(
            "",
            rules=[
                Rule(
                    "dmp-pat-1",
                    "error",
                    "A holder has at least one INS that is not disabled.",
                    "Un titulaire a au moins un INS qui n'est pas désactivé.",
                    f"identifier.where(({INS_ANY}) and (use.empty() or use != 'old')).exists()",
                ),
                Rule(
                    "dmp-pat-2",
                    "error",
                    "The gender of a qualified identity is male, female or unknown.",
                    "Le sexe d'une identité qualifiée est male, female ou unknown.",
                    "gender.empty() or gender = 'male' or gender = 'female' or gender = 'unknown'",
                ),
                Rule(
                    "dmp-pat-3",
                    "warning",
                    "The INS should travel with an identity whose status is QUAL (VALI in fr-core 2.1).",
                    "L'INS devrait circuler avec une identité au statut QUAL (VALI dans fr-core 2.1).",
                    f"extension('{FR_CORE}fr-core-identity-reliability').empty() or "
                    f"extension('{FR_CORE}fr-core-identity-reliability').extension('identityStatus').value"
                    ".where(code = 'QUAL' or code = 'VALI').exists()",
                ),
                Rule(
                    "dmp-pat-4",
                    "error",
                    "A place of birth has an INSEE code.",
                    "Un lieu de naissance a un code INSEE.",
                    f"extension('{BIRTH_PLACE}').all(value.extension('{FR_CORE}fr-core-address-insee-code').exists())",
                ),
            ],
        ),
    ],
    (
        "Identity of the holder. An INS, the official names, sex and birth date are required; the rest of the French profile may be given.",
        "Identité du titulaire. INS, noms officiels, sexe et date de naissance sont exigés ; le reste du profil français est facultatif.",
    ),
)

EXISTENCE = Profile(
    "dmp-patient-existence",
    "Patient",
    "Existence of a DMP (TD0.2)",
    "Existence d'un DMP (TD0.2)",
    [
        E("identifier", "1..*", "The identifier that was asked for, and others", "L'identifiant demandé, et d'autres"),
        E("active", "1..1", "Whether the DMP is open", "DMP ouvert ou non"),
        *(
            E(name, "0..0")
            for name in (
                "text",
                "contained",
                "name",
                "telecom",
                "gender",
                "birthDate",
                "deceased[x]",
                "address",
                "maritalStatus",
                "multipleBirth[x]",
                "photo",
                "contact",
                "communication",
                "generalPractitioner",
                "managingOrganization",
                "link",
            )
        ),
    ],
    (
        "All that is told to a professional who asks whether a person has a DMP.",
        "Tout ce qui est dit à un professionnel qui demande si une personne a un DMP.",
    ),
)

RELATED = Profile(
    "dmp-related-person",
    "RelatedPerson",
    "Representative or mandataire",
    "Représentant ou mandataire",
    [
        E("patient", "1..1", "Whose DMP this is", "Titulaire du DMP", ms=True),
        E(
            "relationship",
            "1..*",
            "Parent, guardian or person given a mandate",
            "Parent, tuteur ou personne mandatée",
            ms=True,
            binding=("extensible", "dmp-patient-relation"),
        ),
        E("name", en="Name", fr="Nom", ms=True),
        E("birthDate", en="Date of birth", fr="Date de naissance", ms=True),
        E("telecom", en="Where notices are sent", fr="Où les avis sont envoyés", ms=True),
        E("period", en="How long the title holds", fr="Durée de validité du titre", ms=True),
        E(
            "",
            rules=[
                Rule(
                    "dmp-rel-1",
                    "warning",
                    "The title of a guardian should say when it began.",
                    "Le titre d'un tuteur devrait dire quand il a commencé.",
                    "relationship.coding.where(code = 'GUARD' or code = 'TUTEUR').empty() or period.start.exists()",
                )
            ],
        ),
    ],
)

CARE_TEAM = Profile(
    "dmp-care-team",
    "CareTeam",
    "Care team",
    "Équipe de soins",
    [
        E("status", "1..1", "Only an active team gives access", "Seule une équipe active donne accès", ms=True),
        E("subject", "1..1", "Whose DMP this is", "Titulaire du DMP", targets=("Patient",), ms=True),
        E("participant", "1..*", "Members", "Membres", ms=True),
        E(
            "participant.member",
            "1..1",
            "A professional by name; a structure adds nobody",
            "Un professionnel désigné ; une structure n'ajoute personne",
            targets=("Practitioner", "PractitionerRole"),
            ms=True,
            rules=[
                Rule(
                    "dmp-team-1",
                    "error",
                    "A member is named by RPPS or IDNPS, or by reference.",
                    "Un membre est désigné par RPPS ou IDNPS, ou par référence.",
                    f"reference.exists() or identifier.where(system = '{RPPS}' or system = '{IDNPS}').value.exists()",
                )
            ],
        ),
        E("participant.period", en="While he is a member", fr="Tant qu'il est membre", ms=True),
    ],
)

RPPS_RULE = matches("dmp-prac-1", "^[0-9]{11}$", "An RPPS number has 11 digits.", "Un numéro RPPS a 11 chiffres.")
IDNPS_RULE = matches(
    "dmp-prac-2",
    "^[0-9][0-9A-Za-z][0-9A-Za-z/._-]{0,62}$",
    "An IDNPS is a digit that tells the kind of number, then the number.",
    "Un IDNPS est un chiffre disant la nature du numéro, puis le numéro.",
)

PRACTITIONER = Profile(
    "dmp-practitioner",
    "Practitioner",
    "Professional",
    "Professionnel",
    [
        E("identifier", "1..*", "RPPS or IDNPS", "RPPS ou IDNPS", slicing=("value", "system"), ms=True),
        *identifier("rpps", RPPS, "RPPS number", "Numéro RPPS", "0..1", RPPS_RULE),
        *identifier("idnps", IDNPS, "National identifier of a professional", "Identifiant national de professionnel", "0..1", IDNPS_RULE),
        E("name", en="Name", fr="Nom", ms=True),
        E("name.family", "1..1", "Family name", "Nom de famille"),
        E("qualification", en="Profession and specialty", fr="Profession et savoir-faire", ms=True),
        E("qualification.code", binding=("preferred", "dmp-profession")),
        E(
            "",
            rules=[
                Rule(
                    "dmp-prac-3",
                    "error",
                    "A professional has an RPPS number or an IDNPS.",
                    "Un professionnel a un numéro RPPS ou un IDNPS.",
                    f"identifier.where(system = '{RPPS}' or system = '{IDNPS}').exists()",
                ),
                Rule(
                    "dmp-prac-4",
                    "error",
                    "RPPS and IDNPS of one professional agree: 8, then the RPPS number.",
                    "RPPS et IDNPS d'un même professionnel concordent : 8, puis le numéro RPPS.",
                    f"identifier.where(system = '{RPPS}').empty() or identifier.where(system = '{IDNPS}').value.where(startsWith('8'))"
                    f".select(substring(1)).subsetOf(%resource.identifier.where(system = '{RPPS}').value)",
                ),
            ],
        ),
    ],
)

ROLE = Profile(
    "dmp-practitioner-role",
    "PractitionerRole",
    "Professional in a place of practice",
    "Professionnel en situation d'exercice",
    [
        E("practitioner", "0..1", "The professional", "Le professionnel", ms=True, targets=("Practitioner",)),
        E("organization", en="Where he practises", fr="Lieu d'exercice", ms=True, targets=("Organization",)),
        E("code", en="Profession, activity, function", fr="Profession, activité, fonction", ms=True),
        E("specialty", en="Specialty", fr="Spécialité", ms=True, binding=("preferred", "dmp-author-specialty")),
        E(
            "",
            rules=[
                Rule(
                    "dmp-role-1",
                    "error",
                    "A role names its professional, by reference or by identifier.",
                    "Une situation d'exercice désigne son professionnel, par référence ou par identifiant.",
                    "practitioner.exists() or identifier.exists()",
                )
            ],
        ),
    ],
)

ORGANIZATION = Profile(
    "dmp-organization",
    "Organization",
    "Structure",
    "Structure",
    [
        E("identifier", "1..*", "FINESS, SIREN, SIRET or IDNST", "FINESS, SIREN, SIRET ou IDNST", slicing=("value", "system"), ms=True),
        *identifier(
            "finess",
            FINESS,
            "FINESS number",
            "Numéro FINESS",
            "0..*",
            matches("dmp-org-1", "^[0-9][0-9AB][0-9]{7}$", "A FINESS number has 9 characters.", "Un numéro FINESS a 9 caractères."),
        ),
        *identifier(
            "idnst",
            IDNST,
            "National identifier of a structure",
            "Identifiant national de structure",
            "0..1",
            matches(
                "dmp-org-2",
                "^[0-4][0-9A-Z][0-9A-Za-z/._-]{0,62}$",
                "An IDNST is a digit from 0 to 4 that tells the kind of number, then the number.",
                "Un IDNST est un chiffre de 0 à 4 disant la nature du numéro, puis le numéro.",
            ),
        ),
        *identifier(
            "sirene",
            SIRENE,
            "SIREN or SIRET",
            "SIREN ou SIRET",
            "0..*",
            matches("dmp-org-3", "^[0-9]{9}([0-9]{5})?$", "A SIREN has 9 digits, a SIRET 14.", "Un SIREN a 9 chiffres, un SIRET 14."),
        ),
        E("type", en="Sector of activity", fr="Secteur d'activité", ms=True, binding=("preferred", "dmp-facility-type")),
        E("name", "1..1", "Name", "Nom", ms=True),
    ],
)

PROFILES = (PATIENT, EXISTENCE, RELATED, CARE_TEAM, PRACTITIONER, ROLE, ORGANIZATION)
