"""Where an imported resource comes from: a Provenance of each version, and the trace of the import.

https://hl7.org/fhir/R4/provenance.html
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from fhir_dmp.audit.event import Disclosed, Trace
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.exchange.opening import judged
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import sealing, tracing, vouching
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import Enforcer
from fhir_dmp.interactions.sealing import Source, Story
from fhir_dmp.search import blind, extract
from fhir_dmp.signing.seal import Message
from fhir_dmp.store.naming import Hashing
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.vault import version_id

SID = "https://fhir-dmp.example.org/fhir/sid/"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


class Told(NamedTuple):
    """A version that is stored, and what is told of it.

    id: logical. patient: logical id of the holder, "" where there is none. name: in its source, "" of what came with something else.
    created: whether it is the first one.
    """

    row: NewRow
    id: str
    patient: str
    name: str = ""
    created: bool = True


class Origins:
    """Makes the Provenances and traces of one import. job: its id.

    What all its Provenances have in common is indexed once: it is most of them. What a real source brings is sealed by the host, and the
    Provenance that holds the seal tells of the source too.
    """

    def __init__(self, context: Context, rules: Rules, hashing: Hashing, job: str) -> None:
        self.context, self.rules, self.hashing, self.job = context, rules, hashing, job
        self._recorder = Recorder(context.store, context.base_url)
        self._asking = judged(context, rules.origin)
        self._common = {created: self._shared(created) for created in (True, False)}

    def _shared(self, created: bool) -> Source:
        rules, host = self.rules, self.context.store.record.identity
        who = {"identifier": {"system": f"{SID}import-source", "value": rules.source}, "display": rules.name or rules.source}
        behalf = {"onBehalfOf": {"display": rules.host}} if rules.host else {}
        receiver = {"identifier": {"system": f"{SID}host", "value": host}, "display": "fhir-dmp"}
        author, assembler = _coded(PARTICIPANT, "author"), _coded(PARTICIPANT, "assembler")
        value = {
            "activity": _coded(OPERATION, "CREATE" if created else "UPDATE"),
            "agent": [{"type": author, "who": who, **behalf}, {"type": assembler, "who": receiver}],
            "entity": [{"role": "derivation", "what": {"identifier": {"system": f"{SID}import-job", "value": self.job}}}],
        }
        found = extract.extract("Provenance", {"resourceType": "Provenance", **value}, base_urls=(self.context.base_url,))
        return Source(value, blind.entries("Provenance", found, self.context.store.vault.hash64))

    def together(self, told: Iterable[Told]) -> list[Change]:
        """Of what one transaction stores for a source of a sandbox: one for what is new and one for what is changed, in each dossier.

        As it tells of resources that not everybody sees, nobody meets it who obeys the rules.
        """
        grouped: dict[tuple[int, bool], list[Told]] = {}
        for one in told:
            if one.name:
                grouped.setdefault((one.row.dossier, one.created), []).append(one)
        made = []
        for those in grouped.values():
            made.append(self._made(those))
        return made

    def _made(self, those: Sequence[Told]) -> Change:
        first, at = those[0], self.context.now_ms()
        draw = self.hashing.random(first.name, version_id(first.row.version), "provenance")
        source = self._common[first.created]
        named = _names(those)
        own = {"target": [{"reference": target, "display": name} for target, name in named.items()], "recorded": to_instant(at)}
        holder = next((f"Patient/{one.id}" for one in those if one.row.type == "Patient"), "")
        about, index = first.row._replace(visible=None), sealing.index_of(tuple(named), at)
        return vouching.made(self.context.store.vault, draw, about, {**own, **source.value}, index, source.shared, patient=holder, at_ms=at)

    def seals(self, told: Sequence[Told], draw: Callable[[int], bytes], message: Message | None = None) -> list[Change]:
        """The host's seals of what a real source brings at once. draw: for their ids. message: who sealed the one it came in."""
        story = Story(_names(told), self._common[told[0].created])
        written = [(Change(one.row, None), one.id) for one in told]
        return sealing.of_writes(self.acting(told[0].patient, message=message, random=draw), written, story)

    def acting(self, patient: str, **more: Any) -> Context:
        """The context of an act of the source in the dossier of a patient. more: of the context."""
        enforcer = Enforcer(self._asking.request, self._asking.law)
        enforcer.ledger.patient = patient
        return self.context.but(enforcer=enforcer, request_id=self.job, **more)

    def beside(self, stored: Sequence[Told]) -> list[Change]:
        """What goes with what one transaction stores: one trace for each patient, and the Provenances that several versions share."""
        return [*(self.together(stored) if self.rules.plain else ()), *self._traces(stored)]

    def found(self, patients: Iterable[str]) -> list[Change]:
        """Traces that the source is told whose dossier is here, one in each."""
        query = f"$import?source={self.rules.source}"
        told = [tracing.trace(self.acting(patient), "operation", patient=patient, query=query) for patient in dict.fromkeys(patients)]
        return list(self._recorder.changes(told)) if told else []

    def _traces(self, stored: Iterable[Told]) -> Sequence[Change]:
        grouped: dict[str, list[tuple[NewRow, str]]] = {}
        for one in stored:
            grouped.setdefault(one.patient, []).append((one.row, one.id))
        query = f"$import?source={self.rules.source}"
        if not self.rules.plain:
            return [change for patient, those in grouped.items() for change in self._ruled(patient, those, query)]
        at = self.context.now_ms()
        told = [
            Trace(
                kind="import",
                at_ms=at,
                actor=self.context.actor,
                patient=patient,
                disclosed=tuple(Disclosed(row.type, id, version_id(row.version)) for row, id in those),
                query=query,
                request_id=self.job,
            )
            for patient, those in grouped.items()
        ]
        return self._recorder.changes(told)

    def _ruled(self, patient: str, those: Sequence[tuple[NewRow, str]], query: str) -> Sequence[Change]:
        """Traces in a dossier, with the facts by which the rules judge who reads them."""
        return tracing.of_writes(self.acting(patient), those, "import", query)


def _names(those: Iterable[Told]) -> dict[str, str]:
    """Reference -> name in its source of each version that has one."""
    return {f"{one.row.type}/{one.id}/_history/{version_id(one.row.version)}": one.name for one in those if one.name}


def drawing(context: Context, draw: Callable[[int], bytes]) -> Context:
    """The same context, its ids and versions drawn from elsewhere."""
    return context.but(random=draw)


def _coded(system: str, code: str) -> dict:
    return {"coding": [{"system": system, "code": code}]}
