"""W7: `fhir-dmp import` of an NDJSON file while the server runs.

https://hl7.org/fhir/R4/nd-json.html
"""

import re
import resource
import subprocess
import sys
import time
from random import Random

from fhir_dmp.bench.driver import Outcome
from fhir_dmp.bench.host import Mode, plain
from fhir_dmp.bench.measuring import Point
from fhir_dmp.bench.processes import Meter
from fhir_dmp.bench.workloads import World, encoded
from fhir_dmp.commands import Failed

NAME = "W7"
SAID = re.compile(r"(\d+) resources in ([\d.]+) s: (\d+) accepted, (\d+) refused")


def measure(world: World, mode: Mode, resources: int, repetition: int) -> Point:
    """Import documents of patients who are there. Each resource counts as a request; the start of the program is left out."""
    chance = Random(f"{NAME} {repetition}")
    file = world.host.data.parent / "documents.ndjson"
    file.write_bytes(b"\n".join(encoded(world.new_document(chance, number)) for number in range(resources)))
    meter, before, begun = Meter({"server": world.host.server, "mongod": world.host.mongod}), _used(), time.perf_counter()
    command = [sys.executable, "-m", "fhir_dmp", "import", str(file), "--data", str(world.host.data)]
    command += ["--sandbox"] if mode.sandbox else []
    done = subprocess.run(command, env=plain(), capture_output=True, text=True, check=False)
    took = time.perf_counter() - begun
    usage, found = meter.stop(), SAID.search(done.stdout)
    if found is None:
        raise Failed(f"the import failed: {(done.stderr or done.stdout).strip()[-400:]}")
    own = (_used() - before) / took
    usage = usage._replace(cores={**usage.cores, "client": own}, other=usage.other - own)
    refused = {"refused": int(found[4])} if int(found[4]) else {}
    return Point(NAME, 1, repetition, Outcome(int(found[3]), float(found[2]), 0.0, 0.0, 0.0, refused), usage, {})


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
