"""Writes of what rights are made of: Patient, Consent, CareTeam, RelatedPerson, and the notices about them.

https://profiles.ihe.net/ITI/PCF/ ; Code de la santé publique L1111-14 to L1111-19
"""

from fhir_dmp.interactions import enforcement
from fhir_dmp.interactions.context import Answer, Context
from fhir_dmp.interactions.prepare import Checked
from fhir_dmp.store.rows import Row

TYPES = frozenset({"Patient", "Consent", "CareTeam", "RelatedPerson", "Communication"})


async def on_create(context: Context, checked: Checked) -> Answer:
    """POST of one of these types."""
    raise enforcement.refused()


async def on_update(context: Context, checked: Checked, id: str, row: Row, method: str) -> Answer:
    """PUT or PATCH of one of these types. row: the version it replaces, which the asker sees. method: PUT or PATCH."""
    raise enforcement.refused()
