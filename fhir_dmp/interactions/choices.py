"""The choices of this host where the law of access leaves one, from its settings: one value, made once.

Code de la santé publique L1111-14 to L1111-19; consent.law says what each means
"""

from functools import lru_cache

from fhir_dmp.consent.law import Law
from fhir_dmp.dmp import habilitation
from fhir_dmp.settings import SettingError, Settings


@lru_cache(maxsize=4)
def law(settings: Settings) -> Law:
    """The choices in force. SettingError when the matrix that a host gives cannot be used."""
    return Law(
        matrix=matrix(settings),
        in_charge_sees_masked=settings.in_charge_sees_masked,
        emergency_professions=frozenset(settings.emergency_professions),
        break_glass_minutes=settings.break_glass_minutes,
        masked_and_invisible=settings.masked_and_invisible,
        self_authorisation_days=settings.self_authorisation_days,
        reimbursement_months=settings.reimbursement_months,
        never_served_sectors=frozenset(settings.never_served_sectors),
        occupational_specialties=frozenset(settings.occupational_specialties),
        occupational_sectors=frozenset(settings.occupational_sectors),
        care_purposes=frozenset(settings.care_purposes),
    )


def matrix(settings: Settings) -> habilitation.Matrix:
    """The habilitation matrix of the host, or the one that comes with the project."""
    path = settings.habilitations
    if path is None:
        return habilitation.default()
    try:
        return habilitation.parse(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"setting `habilitations`: {path} is no habilitation matrix: {error}") from None
