"""What a host may decide: the choices of this project where the sources are silent, each in one place.

Code de la santé publique L1111-14 to L1111-19, R1111-40 to R1111-53; every field is a named setting.
"""

from dataclasses import dataclass, field

from fhir_dmp.dmp.habilitation import Matrix, default


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Law:
    """The choices in force.

    matrix: habilitation matrix. in_charge_sees_masked: colleagues in charge of the depositing establishment are exempt from MASQUE_PS.
    emergency_professions: who may break the glass or regulate, e.g. "G15|10". break_glass_minutes: how long a grant lasts.
    masked_and_invisible: one request may name MASQUE_PS and INVISIBLE_PATIENT together. self_authorisation_days: longest Consent a
    professional writes for himself. reimbursement_months: how far back professionals see reimbursements. never_served_sectors: sectors
    of insurers and employers. occupational_*: how an occupational or fire-service physician is known, who needs the holder's express
    Consent. care_purposes: what a professional may claim.
    """

    matrix: Matrix = field(default_factory=default)
    in_charge_sees_masked: bool = True
    emergency_professions: frozenset[str] = frozenset({"G15|10"})
    break_glass_minutes: int = 60
    masked_and_invisible: bool = False
    self_authorisation_days: int = 365
    reimbursement_months: int = 24
    never_served_sectors: frozenset[str] = frozenset({"SA23", "SA24", "SA44", "SA48"})
    occupational_specialties: frozenset[str] = frozenset({"SM25", "C41", "CAPA11"})
    occupational_sectors: frozenset[str] = frozenset({"SA13", "SA47", "SA66", "SA68"})
    care_purposes: frozenset[str] = frozenset({"TREAT", "ETREAT", "BTG"})


LAW = Law()
