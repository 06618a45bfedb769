"""Notices at two weeks that the host before this one wrote: they come with the dossier, and are not written again.

access-rules: notice at two weeks, once for each lineage
"""

from collections.abc import Sequence

from fhir_dmp.consent import notices
from fhir_dmp.consent.predicate import LABEL_BITS
from fhir_dmp.dmp.paris import days_later_ms, span
from fhir_dmp.dmp.visibility import INVISIBLE_PATIENT
from fhir_dmp.fhir import json
from fhir_dmp.interactions.notices import WAITS_DAYS
from fhir_dmp.store.takeover import Taken


def roots(current: Sequence[Taken]) -> list[int]:
    """Lineages of a package of which its notices tell: as many as there are notices, each since its two weeks. current: what is so there.

    A notice says of nothing of which document it tells; what the other host did not come to tell is told here.
    """
    sent = sorted(filter(None, (_sent(one.row.body) for one in current if one.row.type == "Communication" and one.row.body)))
    due: dict[int, int] = {}
    for one in current:
        facts = one.row.visible
        if one.row.type == "DocumentReference" and isinstance(facts, dict) and facts["lb"] & LABEL_BITS[INVISIBLE_PATIENT]:
            due[facts["rt"]] = days_later_ms(facts["fd"], WAITS_DAYS)
    found = []
    for root, due_ms in sorted(due.items(), key=lambda one: one[1], reverse=True):
        if sent and sent[-1] >= due_ms:
            sent.pop()
            found.append(root)
    return found


def _sent(body: bytes) -> int:
    """When a notice at two weeks was sent, UTC ms; 0 for anything else."""
    value = json.parse(body)
    told = notices.code_of(value) == notices.ANNOUNCEMENT and value.get("sent")
    return span(value["sent"])[0] if told else 0
