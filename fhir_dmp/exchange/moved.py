"""What a source had brought into a dossier at the host that it came from: the ledger stayed there, sent again it must not be there twice.

https://hl7.org/fhir/R4/provenance.html ; a second copy would show what the holder has hidden, or its author withdrawn, since
"""

from collections.abc import Sequence

from fhir_dmp.dmp.documents import master_identifier
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange.provenance import SID
from fhir_dmp.exchange.referring import DOCUMENT
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir import json
from fhir_dmp.fhir.references import parse_reference
from fhir_dmp.interactions import origins
from fhir_dmp.interactions.context import Context
from fhir_dmp.search import narrow
from fhir_dmp.search.predicate import Has, ReferenceIdentifier, TokenIs
from fhir_dmp.store.naming import master_name
from fhir_dmp.store.records import Source

PROVENANCE = "Provenance"
AT_ONCE = 1000
BEFORE = "this source sent it to the host that this dossier came from: it is here, as it was moved"


class Moved:
    """What one source brought into dossiers before they came here, looked for once in an import."""

    def __init__(self, context: Context, rules: Rules) -> None:
        self._context, self._rules = context, rules
        self._hosts: list[str] | None = None
        self._brought: dict[int, frozenset[str]] = {}

    async def refuse(self, names: Sequence[str], dossier: int) -> None:
        """422 for what came with its dossier, whatever became of it. names: in its source."""
        if dossier not in self._brought:
            self._brought[dossier] = await self._names(dossier) if await self._came(dossier) else frozenset()
        if not self._brought[dossier].isdisjoint(names):
            raise FhirError("business-rule", BEFORE)

    async def _came(self, dossier: int) -> bool:
        """Whether a dossier came from another host."""
        if self._hosts is None:
            cards = [one.rules.get("card") or {} for one in await Source.objects.order_by("pk").to_list()]
            self._hosts = [card["host"] for card in cards if card.get("host")]
        keys = [origins.key_of(dossier, host) for host in self._hosts]
        return bool(keys and await self._context.store.load_many(keys, bodies=False))

    async def _names(self, dossier: int) -> frozenset[str]:
        """What the seals of all that this source brought say it is called there; documents by their masterIdentifiers too."""
        store, source = self._context.store, (f"{SID}import-source", self._rules.source)
        asked = Has("agent", ReferenceIdentifier(TokenIs(source[0], source[1].casefold())))
        where = narrow.to_mongo(asked, PROVENANCE, store.vault.hash64, store.vault.locate).filter
        names, documents, after = set[str](), set[bytes](), None
        while True:
            found = await store.find(where, types=(PROVENANCE,), dossiers=(dossier,), after=after, limit=AT_ONCE)
            for told in (json.parse(row.body) for row in found if row.body):
                agents = [one.get("who", {}) for one in told.get("agent", ())]
                said = [(one.get("identifier", {}).get("system"), one.get("identifier", {}).get("value")) for one in agents]
                # Another system may be registered here under the id that this one has there.
                if source not in said or agents[said.index(source)].get("display") != (self._rules.name or self._rules.source):
                    continue
                for target in told.get("target", ()):
                    names |= {target["display"]} if target.get("display") else set()
                    reference = parse_reference(target.get("reference", ""), (self._context.base_url,))
                    documents |= {store.vault.locate(DOCUMENT, reference.id)} if reference.type == DOCUMENT else set()
            if len(found) < AT_ONCE:
                break
            after = found[-1].place
        for row in (await store.load_many(documents)).values():
            if row.body and (master := master_identifier(json.parse(row.body))):
                names.add(master_name(*master))
        return frozenset(names)
