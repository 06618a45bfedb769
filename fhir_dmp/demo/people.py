"""Who is who in the demonstration. All of them are invented; INS values are of the test system.

https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-patient-ins
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from fhir_dmp.dmp import identity

PARIS, LYON, CABINET = "750000001", "690000002", "750000003"


@dataclass(frozen=True, slots=True)
class Professional:
    """key: name of the token. rpps: eleven digits. profession: of G15. organization: FINESS."""

    key: str
    name: str
    what: str
    rpps: str
    profession: str = "10"
    specialty: str = ""
    organization: str = PARIS

    @property
    def reference(self) -> dict:
        """As resources name her."""
        return {"type": "Practitioner", "identifier": {"system": identity.RPPS, "value": self.rpps}, "display": self.name}

    def claims(self, **more: object) -> dict[str, object]:
        """Of her access token."""
        own = {
            "sub": f"8{self.rpps}",
            "SubjectNameID": f"8{self.rpps}",
            "SubjectRole": [f"{self.profession}^1.2.250.1.213.1.1.5.5"],
            "specialty": [self.specialty] if self.specialty else [],
            "SubjectOrganizationID": f"1{self.organization}",
            "auth_mode": "CPS",
        }
        return {**own, **more}


@dataclass(frozen=True, slots=True)
class Holder:
    """key: name of the token. ins: value in the test system. age: in years, at the day of the demonstration."""

    key: str
    family: str
    given: str
    gender: str
    age: int
    ins: str
    story: str

    def patient(self, traitant: Professional) -> dict:
        """The Patient as `$open` takes it."""
        born = datetime.now(UTC).year - self.age
        return {
            "resourceType": "Patient",
            "identifier": [{"use": "official", "system": identity.INS_NIR_TEST, "value": self.ins}],
            "name": [{"use": "official", "family": self.family, "given": [self.given]}],
            "gender": self.gender,
            "birthDate": f"{born}-01-15",
            "generalPractitioner": [traitant.reference],
        }


ANNA = Professional("ANNA", "Dr Anna Ferrand", "médecin traitant of all five", "10001000011", specialty="SM54")
MARC = Professional("MARC", "Dr Marc Delorme", "cardiologist of the hospital", "10001000022", specialty="SM04", organization=LYON)
NORA = Professional("NORA", "Nora Petit", "nurse, member of Jean's care team", "10001000033", profession="60", organization=CABINET)
REMI = Professional(
    "REMI", "Rémi Blanc", "biologist: files laboratory results, reads nothing else of Jean", "10001000055", profession="21", specialty="G"
)
YVES = Professional("YVES", "Dr Yves Lambert", "emergency physician, unrelated to anybody", "10001000044", organization=LYON)
PROFESSIONALS = (ANNA, MARC, NORA, REMI, YVES)

LINA = Holder("LINA", "MOREAU", "Lina", "female", 14, "212017512345601", "a child; her mother acts for her, and one document is hers alone")
JEAN = Holder("JEAN", "ROBIN", "Jean", "male", 62, "164017512345602", "a chronic patient with a whole care team")
SOFIA = Holder(
    "SOFIA", "VIDAL", "Sofia", "female", 39, "287017512345603", "she masked a document, blocked somebody and opposes emergencies"
)
PAUL = Holder("PAUL", "GARNIER", "Paul", "male", 81, "145017512345604", "deceased; his dossier is kept and closed to care")
EMMA = Holder("EMMA", "LEROY", "Emma", "female", 28, "298017512345605", "she closed her dossier")
HOLDERS = (LINA, JEAN, SOFIA, PAUL, EMMA)
