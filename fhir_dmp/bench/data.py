"""Deterministic resources in the shape of a French host: patients, practitioners, document references. Every name is invented.

https://hl7.org/fhir/R4/documentreference.html ; identifiers carry the INS test system.
"""

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import NamedTuple

# Part of the key under which loaded data are kept: count it up when anything below changes.
DATA_VERSION = 2

# patients of each size; `tiny` is for trying the benchmark itself
SIZES = {"tiny": 40, "small": 2_000, "medium": 20_000, "large": 140_000}
DOCUMENTS = 7
PRACTITIONERS = 20
FIRST_DAY = date(2023, 11, 1)
DAYS = 3 * 365

INS_TEST = "urn:oid:1.2.250.1.213.1.4.10"
RPPS = "https://rpps.esante.gouv.fr"
LOINC = "http://loinc.org"
CLASSES = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument"
FORMATS = "https://mos.esante.gouv.fr/NOS/TRE_A11-IheFormatCode/FHIR/TRE-A11-IheFormatCode"

# code, title, class, name of the class; a physician may write all of them
TYPES = (
    ("11488-4", "Compte rendu de consultation", "10", "Compte rendu"),
    ("34133-9", "Synthèse médicale", "11", "Synthèse"),
    ("34874-8", "Compte rendu opératoire", "10", "Compte rendu"),
    ("18748-4", "Compte rendu d'imagerie médicale", "10", "Compte rendu"),
    ("57833-6", "Prescription de médicaments", "42", "Prescription"),
    ("11490-0", "Lettre de liaison à la sortie", "10", "Compte rendu"),
    ("34112-3", "Compte rendu hospitalier", "10", "Compte rendu"),
    ("57828-6", "Prescription d'actes", "42", "Prescription"),
)
FAMILIES = ("Morvenal", "Tissanque", "Verlioux", "Ormandie", "Castelbran", "Fauquerelle", "Lhuissard", "Brévigny", "Dorvaldois", "Quintane")
ENDINGS = ("", "-Duval", "eau", "et", "ot", "ières", "-Roche", "ac", "el", "on")
GIVEN = (("Jeanne", "Maëlys", "Solène", "Odile", "Inès", "Zoé", "Brune"), ("Côme", "Anatole", "Gaël", "Loïc", "Élie", "Hugues", "Noé"))
# Who asks where the rules hold: the declared médecin traitant of everybody, and a member of everybody's care team. IDNPS.
DOCTOR, COLLEAGUE = "810001234567", "810001234568"
# The document of each dossier that is masked there: the doctor sees it with its mask, the colleague not at all.
MASKED = 6
CITIES = (("Montvalier", "31950"), ("Saint-Aubrac", "63980"), ("Ker-Lannig", "29990"), ("Vaubrun", "54970"), ("Roquelande", "13960"))


class Facts(NamedTuple):
    """What is decided about a document before it is written: what the checks of the benchmark compare answers with.

    type: row of TYPES. at: UTC. current: not superseded.
    """

    type: int
    at: datetime
    current: bool


def facts(patient: int, number: int) -> Facts:
    """The facts of document `number` of patient `patient`, both counted from 0.

    >>> facts(3, 0) == facts(3, 0)
    True
    """
    chance = Random(f"document {patient} {number}")
    seconds = chance.randrange(DAYS * 86_400)
    at = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC) + timedelta(seconds=seconds)
    return Facts(chance.randrange(len(TYPES)), at, chance.random() >= 0.02)


def practitioner(number: int) -> dict:
    """A professional."""
    chance = Random(f"practitioner {number}")
    return {
        "resourceType": "Practitioner",
        "identifier": [{"use": "official", "system": RPPS, "value": f"1099{number:07d}"}],
        "name": [{"use": "official", "family": family(chance), "given": [chance.choice(GIVEN[chance.randrange(2)])], "prefix": ["DR"]}],
    }


def patient(number: int) -> dict:
    """A holder of a dossier."""
    chance = Random(f"patient {number}")
    sex = chance.randrange(2)
    born = date(1930, 1, 1) + timedelta(days=chance.randrange(90 * 365))
    city, postcode = chance.choice(CITIES)
    return {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": INS_TEST, "value": ins(number, sex, born)}],
        "active": True,
        "name": [{"use": "official", "family": family(chance), "given": [chance.choice(GIVEN[sex])]}],
        "telecom": [{"system": "phone", "value": f"+3363998{number % 10_000:04d}", "use": "mobile"}],
        "gender": ("female", "male")[sex],
        "birthDate": born.isoformat(),
        "address": [{"use": "home", "line": [f"{chance.randrange(1, 200)} rue des Essais"], "city": city, "postalCode": postcode}],
    }


def ins(number: int, sex: int, born: date) -> str:
    """Fifteen digits with their key, in the test system; department 99 and a running number make them nobody's.

    >>> ins(0, 0, date(1980, 2, 29))
    '280029900000032'
    """
    first = f"{2 - sex}{born:%y%m}99{number % 1_000_000:06d}"
    return f"{first}{97 - int(first) % 97:02d}"


def family(chance: Random) -> str:
    return (chance.choice(FAMILIES) + chance.choice(ENDINGS)).upper()


def document(patient: int, number: int, subject: str, author: str) -> dict:
    """A document reference of about 1.15 KB. subject, author: references, e.g. "Patient/p1" or a urn."""
    found = facts(patient, number)
    code, title, class_code, class_title = TYPES[found.type]
    chance = Random(f"content {patient} {number}")
    unique = f"{chance.getrandbits(128):032x}"
    at = found.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "resourceType": "DocumentReference",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:" + uuid(unique)},
        "status": "current" if found.current else "superseded",
        "type": {"coding": [{"system": LOINC, "code": code, "display": title}]},
        "category": [{"coding": [{"system": CLASSES, "code": class_code, "display": class_title}]}],
        "subject": {"reference": subject},
        "date": at,
        "author": [{"reference": author}],
        "description": f"{title} du {found.at:%d/%m/%Y}, pièce {number + 1}",
        "securityLabel": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}],
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "url": f"https://documents.example.org/{unique}",
                    "size": chance.randrange(20_000, 400_000),
                    "title": title,
                    "creation": at,
                },
                "format": {"system": FORMATS, "code": "urn:ihe:iti:xds-sd:pdf:2008"},
            }
        ],
    }


def uuid(hexadecimal: str) -> str:
    """32 hexadecimal digits as a UUID.

    >>> uuid("0" * 32)
    '00000000-0000-0000-0000-000000000000'
    """
    h = hexadecimal
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"
