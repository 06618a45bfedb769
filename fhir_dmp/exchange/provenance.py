"""Where an imported resource comes from: a Provenance beside each version, and the trace of the import.

https://hl7.org/fhir/R4/provenance.html
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from fhir_dmp.audit.event import Disclosed, Trace
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.exchange.opening import judged
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir.instants import to_instant
from fhir_dmp.interactions import sealing, tracing, vouching
from fhir_dmp.interactions.context import Context
from fhir_dmp.search import blind, extract
from fhir_dmp.search.blind import Entries
from fhir_dmp.signing.seal import Message
from fhir_dmp.store.naming import Hashing
from fhir_dmp.store.rows import Change, NewRow
from fhir_dmp.store.vault import version_id

SID = "https://fhir-dmp.example.org/fhir/sid/"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


class Origins:
    """Makes the Provenances and traces of one import. job: its id.

    What all its Provenances have in common is indexed once: it is most of them, and they are as many as the resources.
    """

    def __init__(self, context: Context, rules: Rules, hashing: Hashing, job: str) -> None:
        self.context, self.rules, self.hashing, self.job = context, rules, hashing, job
        self._recorder = Recorder(context.store, context.base_url)
        self._common = {created: self._shared(created) for created in (True, False)}

    def _shared(self, created: bool) -> tuple[dict, Entries]:
        rules, host = self.rules, self.context.store.record.identity
        who = {"identifier": {"system": f"{SID}import-source", "value": rules.source}, "display": rules.name or rules.source}
        origin = [{"type": _coded(PARTICIPANT, "author"), "who": who}]
        if rules.host:
            origin.append({"type": _coded(PARTICIPANT, "custodian"), "who": {"display": rules.host}})
        receiver = {"identifier": {"system": f"{SID}host", "value": host}, "display": "fhir-dmp"}
        value = {
            "resourceType": "Provenance",
            "activity": _coded(OPERATION, "CREATE" if created else "UPDATE"),
            "agent": [*origin, {"type": _coded(PARTICIPANT, "assembler"), "who": receiver}],
            "entity": [{"role": "derivation", "what": {"identifier": {"system": f"{SID}import-job", "value": self.job}}}],
        }
        return value, blind.entries("Provenance", self._index(value), self.context.store.vault.hash64)

    def _index(self, value: dict) -> Mapping[str, tuple]:
        return extract.extract("Provenance", value, base_urls=(self.context.base_url,))

    def provenance(self, row: NewRow, about: str, name: str, draw: Callable[[int], bytes], created: bool, patient: str = "") -> Change:
        """The Provenance of a version, in its dossier. about: logical id of what it tells of. name: of that in its source. draw: for ids.

        patient: logical id of the holder, "" where there is none.
        """
        common, shared = self._common[created]
        targets = [f"{row.type}/{about}/_history/{version_id(row.version)}", *([f"Patient/{patient}"] if patient else [])]
        at = self.context.now_ms()
        own = {
            "resourceType": "Provenance",
            "target": [{"reference": one} for one in targets],
            "recorded": to_instant(at),
            "entity": [{"role": "source", "what": {"identifier": {"system": f"{SID}import-entry", "value": name}}}],
        }
        value = {**own, "activity": common["activity"], "agent": common["agent"], "entity": [*own["entity"], *common["entity"]]}
        holder = about if row.type == "Patient" else patient
        named = f"Patient/{holder}" if holder else ""
        return vouching.made(self.context.store.vault, draw, row, value, self._index(own), shared, patient=named, at_ms=at)

    def seals(
        self, written: Sequence[tuple[Change, str]], patient: str, draw: Callable[[int], bytes], message: Message | None = None
    ) -> list[Change]:
        """The host's seals of what a real source brings. written: with logical ids. message: the sealed one they came in."""
        context = replace(self.acting(patient), message=message)
        return sealing.of_writes(drawing(context, draw), written)

    def acting(self, patient: str) -> Context:
        """The context of an act of the source in the dossier of a patient."""
        enforcer = judged(self.context, self.rules.origin)
        enforcer.ledger.patient = patient
        return replace(self.context, enforcer=enforcer, request_id=self.job)

    def traces(self, stored: Iterable[tuple[NewRow, str, str]]) -> Sequence[Change]:
        """One trace for each patient, of (row, id, patient id or "")."""
        grouped: dict[str, list[tuple[NewRow, str]]] = {}
        for row, id, patient in stored:
            grouped.setdefault(patient, []).append((row, id))
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


def drawing(context: Context, draw: Callable[[int], bytes]) -> Context:
    """The same context, its ids and versions drawn from elsewhere."""
    return replace(context, random=draw)


def _coded(system: str, code: str) -> dict:
    return {"coding": [{"system": system, "code": code}]}
