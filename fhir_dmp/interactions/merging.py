"""Operation Patient/$merge, of one Patient or of the type: two dossiers of one person become one, in an act that can be undone.

https://hl7.org/fhir/R5/patient-operation-merge.html ; https://hl7.org/fhir/R4/patient-definitions.html#Patient.link

First the dossier that ends is closed, so that nothing changes in it any more; then its rows are staged in the one that goes on, out of
everybody's sight; then one act shows them, compiles the policy and tells the holder. Whoever is cut off in between asks again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_dmp.consent import notices
from fhir_dmp.consent.joining import denied, mask_over, taken_back
from fhir_dmp.dmp import matching
from fhir_dmp.dmp.lifecycle import Status
from fhir_dmp.errors import FhirError, Issue, outcome_value
from fhir_dmp.fhir import json
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import closing, enforcement, keeping, merged, policy, writing
from fhir_dmp.interactions import notices as telling
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.merged import REPLACED_BY, REPLACES, Renaming
from fhir_dmp.interactions.merged_rows import stage
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.interactions.reviewing import Pending
from fhir_dmp.store import joining
from fhir_dmp.store.rows import Change, Row

URL = "https://fhir-dmp.example.org/fhir/OperationDefinition/dmp-merge"
PARAMETERS = (
    Parameter("source-patient", "token", required=True),
    Parameter("target-patient", "token"),
    Parameter("preview", "boolean"),
)
# What of a Patient is told to staff, who read no dossier.
TOLD = ("resourceType", "id", "meta", "identifier", "active", "link")
# How often what came meanwhile is taken along before the asker is asked to come again.
TURNS = 8
STILL_COMING = "more and more comes into the two dossiers, please repeat"
PREVIEW = Issue("information", "informational", "nothing was changed: this is a preview")
CERTAIN = Issue("information", "informational", "the two dossiers are of one person by number and traits")


@dataclass(slots=True)
class Pair:
    """Two dossiers as they are named by a request. ids: of the one that ends -> of the one that goes on."""

    context: Context
    source: str
    target: str
    ids: Renaming

    @classmethod
    def of(cls, context: Context, url: Url, given: Given) -> "Pair":
        """422 for what names no two dossiers; 403 for whoever is no administrator of this host."""
        admit(context, "Patient", "u")
        actor, vault = context.actor, context.store.vault
        if context.enforcer is None:
            raise FhirError("not-supported", "who meets no rule joins no dossiers")
        if actor.kind != "operator" or actor.role != "admin":
            raise enforcement.refused()
        source, said = _id(context, given.one("source-patient") or ""), given.one("target-patient")
        if not url.id and not said:
            raise FhirError("business-rule", "`target-patient` is missing: which dossier goes on", "Parameters.parameter")
        target = _id(context, said) if said else url.id
        if url.id and target != url.id:
            raise FhirError("business-rule", "`target-patient` is not the Patient that the address names", "Parameters.parameter")
        if source == target:
            raise FhirError("business-rule", "`source-patient` is the same Patient", "Parameters.parameter")
        if vault.open_id(source) is None or vault.open_id(target) is None:
            raise FhirError("not-found", "there is no such dossier")
        numbers = vault.dossier_of_patient(source), vault.dossier_of_patient(target)
        return cls(context, source, target, Renaming(vault, *numbers, (source, target)))

    @property
    def asked(self) -> str:
        return f"source-patient=Patient/{self.source}"

    @property
    def claims(self) -> list[bytes]:
        """What two acts on the rights of one of them must not decide at once; as rights.together claims it."""
        return [joining.rights_of(self.context.store.vault, one) for one in (self.ids.source, self.ids.target)]

    async def patients(self, inside: Context) -> tuple[Row, Row]:
        """Both Patients; 404 where there is none."""
        keys = [inside.store.vault.locate("Patient", one) for one in (self.source, self.target)]
        rows = await inside.reads.load_many(keys)
        found = [rows.get(key) for key in keys]
        if any(row is None or row.type != "Patient" or row.deleted or row.body is None for row in found):
            raise FhirError("not-found", "there is no such dossier")
        return found[0], found[1]

    def noted(self, ends: Row, goes_on: Row) -> None:
        """Note for the trace that something of both is told, and nothing written."""
        for row, id in ((ends, self.source), (goes_on, self.target)):
            enforcement.note(self.context, row, id, id)


def _id(context: Context, text: str) -> str:
    said = parse_reference(text if "/" in text else f"Patient/{text}", (context.base_url,))
    if said.kind != "local" or said.type != "Patient":
        raise FhirError("invalid", f"`{text[:80]}` is no reference to a Patient of this host", "Parameters.parameter")
    return said.id


async def run(context: Context, url: Url, given: Given) -> Answer:
    """Parameters as in R5: `input`, `outcome`, `result` (the Patient that goes on). 409 when one of the two cannot be joined now."""
    pair = Pair.of(context, url, given)
    ends, goes_on = await pair.patients(context)
    doubts = doubtful(json.parse(ends.body), json.parse(goes_on.body))
    if given.flag("preview"):
        await _joinable(context, pair, ends, goes_on)
        pair.noted(ends, goes_on)
        return answer(given, [*doubts, PREVIEW], goes_on)

    async def close(inside: Context) -> int:
        return await _closed(inside, pair, doubts)

    at_ms = await context.store.transact(lambda transaction: close(context.inside(transaction)), claims=pair.claims)
    await keeping.keep(context)
    for turn in range(TURNS):
        await stage(context, pair.ids, at_ms)

        async def show(inside: Context, traces: bool = turn < TURNS - 1) -> Row | None:
            return await shown(inside, pair, traces=traces)

        row = await context.store.transact(lambda transaction: show(context.inside(transaction)), claims=pair.claims)
        if row is not None:
            await keeping.keep(context)
            return answer(given, doubts, row)
    raise FhirError("transient", STILL_COMING, headers={"Retry-After": "5"})


def doubtful(ends: Mapping[str, Any], goes_on: Mapping[str, Any]) -> list[Issue]:
    """What speaks against their being one person, as warnings; nobody is hindered, and nothing of it is silent."""
    found = matching.compare(ends, goes_on)
    if found.grade == matching.CERTAIN:
        return [CERTAIN]
    told = [f"{', '.join(found.contradicted)} differ"] if found.contradicted else []
    if found.grade == matching.NOT:
        told.append("each has an INS of its own in one system")
    said = "; ".join(told) or "no number in common, only traits"
    return [Issue("warning", "multiple-matches", f"it is not certain that the two are one person: {said}", "Patient")]


async def _joinable(inside: Context, pair: Pair, ends: Row, goes_on: Row) -> bool:
    """Whether the two are still to be joined; False when that was done, or begun. 409 when they cannot be."""
    into = merged.linked(json.parse(ends.body), REPLACED_BY)
    if into == [pair.target]:
        return False
    if into or merged.linked(json.parse(goes_on.body), REPLACED_BY):
        raise FhirError("conflict", "one of the two was joined to another dossier already")
    found = await policy.of_dossiers(inside, {pair.ids.source, pair.ids.target})
    if any(one is None or one.status is not Status.OPEN or one.deceased_ms is not None for one in found.values()):
        raise FhirError("conflict", "only open dossiers are joined: what a holder has closed is not shown again by another one")
    if await joining.has_copies(inside.reads, pair.ids.source, pair.ids.target):
        # They would stay as they are: what was hidden, withdrawn or corrected since in the one that ends would be so no more.
        raise FhirError("conflict", "another host joined the two already: what goes on here has copies of what ends, as it was there")
    return True


async def _closed(inside: Context, pair: Pair, doubts: list[Issue]) -> int:
    """Close the dossier that ends, and link it to the one that goes on; the instant of that, UTC."""
    ends, goes_on = await pair.patients(inside)
    open = await _joinable(inside, pair, ends, goes_on)
    await joining.note_begun(inside.transaction, pair.ids.source, pair.ids.target)
    if not open:
        return ends.updated_ms
    value = json.parse_exact(ends.body)
    link = {"other": {"reference": f"Patient/{pair.target}"}, "type": REPLACED_BY}
    changed = changed_patient(inside, ends, pair.source, {**value, "active": False, "link": [*(value.get("link") or ()), link]})
    changes = [changed, *await closing.opening_switched(inside, pair.ids.source, False)]
    inside.enforcer.ledger.patient = pair.source
    if CERTAIN not in doubts:
        told = {"kind": "merge-in-doubt", "patient": pair.target, "resource": f"Patient/{pair.source}", "why": doubts[0].diagnostics}
        blank = {"professional": "", "organization": ""}
        inside.enforcer.ledger.reviews.append(Pending(pair.ids.target, inside.now_ms(), json.dump({**told, **blank})))
    await writing.write(inside, changes, kind="operation", asked=f"Patient/{pair.target}/$merge?{pair.asked}")
    return changed[0].row.updated_ms


async def shown(inside: Context, pair: Pair, *, traces: bool = False) -> Row | None:
    """Show what is staged, with the policy of both; the Patient that goes on. None when not everything is staged: what had been decided
    on before the source was closed may be stored later. traces: also of those that tell of it.
    """
    ends, row = await pair.patients(inside)
    if merged.linked(json.parse(ends.body), REPLACED_BY) != [pair.target]:
        raise FhirError("conflict", "the two dossiers were parted meanwhile")
    value = json.parse_exact(row.body)
    done = pair.source in merged.linked(value, REPLACES)
    found = None if done else (await policy.of_dossiers(inside, {pair.ids.target}))[pair.ids.target]
    if not done and (found is None or found.status is not Status.OPEN):
        raise FhirError("conflict", "the dossier that goes on was closed meanwhile: part the two, or open it again first")
    missing, stale = await joining.behind(inside.transaction, pair.ids.source, pair.ids.target, shown=done, traces=traces)
    if missing or stale:
        await joining.drop(inside.transaction, stale)
        return None
    inside.enforcer.ledger.patient = pair.target
    # What the acts of a former join say of these copies is not the last word any more.
    await keeping.acted(inside, "mask", await joining.again(inside.transaction, pair.ids.target, pair.ids.source))
    if done:
        revealed = await joining.reveal(inside.transaction, pair.ids.target, pair.ids.source)
        await writing.recompute(inside, {pair.ids.target: revealed})
        await policy.lifted_with(inside, pair.ids.source, pair.ids.target)
        return row
    link = {"other": {"reference": f"Patient/{pair.source}"}, "type": REPLACES}
    changed = changed_patient(inside, row, pair.target, {**value, "link": [*(value.get("link") or ()), link]})
    said = await _said_no(inside, pair.ids.target, settled=await policy.masks_settled(inside, pair.ids.target))
    # What forbids in the copies is kept with the act: whoever compiles the policy after a restore must find it.
    await keeping.acted(inside, "rights", await joining.reveal(inside.transaction, pair.ids.target, pair.ids.source))
    await writing.write(inside, [changed, *said], kind="operation", asked=f"Patient/{pair.target}/$merge?{pair.asked}")
    await policy.lifted_with(inside, pair.ids.source, pair.ids.target)
    await told_holder(inside, pair.ids.target, notices.MERGE)
    return (await pair.patients(inside))[1]


async def _said_no(inside: Context, dossier: int, *, settled: bool) -> list[tuple[Change, str]]:
    """Consents by which the holder of the dossier that goes on took a yes back, as the no that it is: copies will speak beside them.

    settled: masks of his whose time is over are ended, too.
    """
    copies = await joining.staged(inside.store, dossier)
    found = inside.reads.scan(types=("Consent",), dossiers=(dossier,), batch=500)
    rows = [row async for row in found if row.body is not None and row.key not in copies]
    values = [(row, json.parse_exact(row.body)) for row in sorted(rows, key=lambda row: row.place)]
    refused = taken_back(value for _, value in values)
    changes = []
    for row, value in values:
        new = denied(value) if value["id"] in refused else mask_over(value, inside.now_ms()) if settled else None
        if new is not None:
            checked = check(inside, json.dump(new), "Consent", valid=True)
            changes.append((stamp(inside, checked, method="PUT", id=value["id"], current=row).change, value["id"]))
    return changes


def changed_patient(inside: Context, row: Row, id: str, value: Mapping[str, Any]) -> tuple[Change, str]:
    """A new version of a Patient."""
    return stamp(inside, check(inside, json.dump(value), "Patient"), method="PUT", id=id, current=row).change, id


async def told_holder(inside: Context, dossier: int, code: str) -> None:
    """A notice to the holder of a dossier, in the transaction of the act."""
    found = (await policy.of_dossiers(inside, {dossier}))[dossier]
    if found is not None:
        await telling.to_holder(inside, found, code, notices.text(code, at_ms=inside.now_ms()))


def answer(given: Given, issues: list[Issue], row: Row) -> Answer:
    """Parameters as R5 has them."""
    value = json.parse_exact(row.body or b"{}")
    listed = [{"name": name, "valueBoolean": text == "true"} if name == "preview" else {"name": name, "valueReference": {"reference": text}}
              for name, text in given.pairs]  # fmt: skip
    told = [{"name": "input", "resource": {"resourceType": "Parameters", "parameter": listed}}]
    told.append({"name": "outcome", "resource": outcome_value(issues)})
    told.append({"name": "result", "resource": {name: value[name] for name in TOLD if name in value}})
    return Answer(200, json.dump({"resourceType": "Parameters", "parameter": told}))
