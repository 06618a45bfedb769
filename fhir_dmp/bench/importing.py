"""W7: `fhir-dmp import` of an NDJSON file while the server runs; where the rules hold, from a registered source.

https://hl7.org/fhir/R4/nd-json.html
"""

import asyncio
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fhir_dmp.bench import mixed
from fhir_dmp.bench.driver import FRESH, Outcome
from fhir_dmp.bench.host import Mode, plain
from fhir_dmp.bench.measuring import Point
from fhir_dmp.bench.processes import Meter
from fhir_dmp.bench.world import World, encoded
from fhir_dmp.commands import Failed
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.rules import CARE_RECORD
from fhir_dmp.store.resources import Store

NAME, SOURCE = "W7", "bench-host"
# Documents for each Patient that a source names.
DOCUMENTS = 7
SAID = re.compile(r"(\d+) resources in ([\d.]+) s: (\d+) accepted, (\d+) refused")


def measure(world: World, mode: Mode, resources: int, repetition: int) -> Point:
    """Import documents of patients who are there. Each resource counts as a request; the start of the program is left out."""
    file = world.host.data.parent / "documents.ndjson"
    # A document that came before with another content is refused.
    file.write_bytes(b"\n".join(map(encoded, sent(world, resources, repetition))).replace(FRESH.encode(), b"%012x" % repetition))
    meter, before, begun = Meter({"server": world.host.server, "mongod": world.host.mongod}), _used(), time.perf_counter()
    command = [sys.executable, "-m", mode.module, "import", str(file), "--data", str(world.host.data)]
    command += options_of(mode.sandbox)
    done = subprocess.run(command, env=plain(), capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    usage, found = meter.stop(), SAID.search(done.stdout)
    if found is None:
        raise Failed(f"the import failed: {(done.stderr or done.stdout).strip()[-400:]}")
    own = (_used() - before) / took
    usage = usage._replace(cores={**usage.cores, "client": own}, other=usage.other - own)
    refused = {"refused": int(found[4])} if int(found[4]) else {}
    return Point(NAME, 1, repetition, Outcome(int(found[3]), float(found[2]), 0.0, 0.0, 0.0, refused), usage, {})


def options_of(sandbox: bool) -> list[str]:
    """Of the command: where the data come from."""
    return ["--sandbox"] if sandbox else ["--source", SOURCE]


def sent(world: World, resources: int, repetition: int) -> Iterator[dict]:
    """New documents of patients who are there; where the rules hold, each patient comes with them as the source knows him."""
    chance = Random(f"{NAME} {repetition}")
    if not world.ruled:
        yield from (world.new_document(chance, number) for number in range(resources))
        return
    patients = chance.sample(range(len(world.patients)), min(len(world.patients), resources // (DOCUMENTS + 1)))
    for place, patient in enumerate(patients):
        id = f"pat-{repetition}-{patient}"
        yield {**mixed.holder(patient), "id": id}
        for number in range(place, resources - len(patients), len(patients)):
            yield {**world.new_document(chance, number, f"Patient/{id}"), "id": f"doc-{repetition}-{number}"}


def prepare(uri: str, place: Path, sandbox: bool) -> None:
    """Make the store where there is none, and register the source in one for real use. place: data folder."""
    asyncio.run(_prepared(uri, place, sandbox))


async def _prepared(uri: str, place: Path, sandbox: bool) -> None:
    store = await Store.open(uri, data_dir=place, sandbox=sandbox)
    try:
        if not sandbox:
            await sources.register(store, SOURCE, name="a hospital", kind=CARE_RECORD, host=SOURCE, organization="1750000001")
    finally:
        await store.close()


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
