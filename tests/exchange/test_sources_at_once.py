"""What several operators say of one source at once: all of it is kept."""

import asyncio

from fhir_dmp.exchange import sources
from fhir_dmp.exchange.mapping import targets
from fhir_dmp.store.records import Source


async def test_codes_that_are_mapped_at_once_are_all_known(store):
    await sources.register(store, "busy", name="Cabinet", kind="host")
    meaning = targets("type")[0]
    read = [await sources.registered(store, "busy") for _ in range(12)]
    switched = sources.switch(store, "busy", False, store.clock(), "clé volée")
    await asyncio.gather(*(sources.decide(one, "type", f"urn:x|{place}", meaning) for place, one in enumerate(read)), switched)
    found = await Source.get("busy")
    assert {f"urn:x|{place}" for place in range(12)} <= sources.rules(found).maps["type"].keys()
    assert not found.enabled and [said[1:] for said in found.rules[sources.SWITCHES]] == [["disabled", "clé volée"]]
    # Said again, a code means what was said last, and stands there once.
    await sources.decide(read[0], "type", "urn:x|1", other := targets("type")[1])
    found = await Source.get("busy")
    assert sources.rules(found).maps["type"]["urn:x|1"] == other and len(found.rules[sources.DECIDED]) == 12
