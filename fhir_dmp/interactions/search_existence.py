"""The existence test TD0.2: whether a person has a dossier, the same answer for whoever may ask.

ANS, DMP transaction TD0.2; GET Patient?identifier=SYSTEM|VALUE

The Patient is reduced to id, the INS in force and active, for the médecin traitant as for a blocked professional: nobody learns what he may
see. It is asked with a whole INS: other numbers are short, run in order, and would tell who has a dossier and under which INS.
"""

from collections.abc import Sequence

from fhir_dmp.consent.standing import perhaps_minor
from fhir_dmp.dmp import identity
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Hit, searchset
from fhir_dmp.interactions import enforcement, policy, search_access, search_named, search_type
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.search_type import Entry

ASKERS = ("professional", "structure")
SHAPING = ("_format", "_pretty", "_count", "_summary", "_elements", "_total", "_sort")


def asks(context: Context, type_name: str, pairs: Sequence[tuple[str, str]]) -> bool:
    """Whether a search is the existence test: by a professional or a structure, for one identifier and nothing else."""
    if context.enforcer is None or type_name != "Patient" or context.enforcer.request.kind not in ASKERS:
        return False
    asked = [name for name, _ in pairs if name not in SHAPING]
    return asked == ["identifier"]


async def run(context: Context, pairs: Sequence[tuple[str, str]]) -> Answer:
    """A searchset of no or one reduced Patient. 403 for sectors that are never served."""
    admit(context, "Patient", "s")
    if context.enforcer.request.sector in context.enforcer.law.never_served_sectors:
        raise enforcement.refused()
    query = search_type.understood(context, "Patient", pairs, context.lenient)
    token = dict(pairs)["identifier"]
    system, _, number = token.partition("|")
    found = sorted(await search_named.holders(context, token)) if identity.is_ins(system, number) else []
    hits = []
    for id in found if len(found) == 1 else ():
        number = context.store.vault.dossier_of_patient(id)
        stored = (await policy.of_dossiers(context, {number}))[number]
        row = await context.reads.load(context.store.vault.locate("Patient", id))
        if stored is None or row is None or row.body is None:
            continue
        context.enforcer.ledger.patient = id
        if not perhaps_minor(stored, context.now_ms()):
            # With an adult no session is secret: who acts for him is told too.
            context.enforcer.ledger.openly |= {id}
        enforcement.note(context, row, id, id)
        value = json.parse_exact(row.body)
        kept = {name: value[name] for name in ("resourceType", "id")}
        kept["identifier"] = [one for one in value.get("identifier") or () if identity.ins_of({"identifier": [one]})]
        kept["active"] = stored.status is Status.OPEN and stored.deceased_ms is None
        body = search_type.shaped(Entry("Patient", id, json.dump(kept), "match"), query)
        hits.append(Hit(f"{context.base_url}/Patient/{id}", body, "match"))
    address = search_access.address_of(context, "Patient", pairs)
    total = len(hits) if query.counts else None
    return Answer(200, searchset([] if query.only_count else hits, total=total, links=[("self", address)]))
