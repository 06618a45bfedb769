"""Floor C: the rows an import wrote, ready made, through bare insert_many. `python -m fhir_dmp.bench.ready URI SINCE_MS ENTRIES MONGOD`.

Batches of 1,000, four threads, majority and journaled, new collections with the indexes of the store. What the database alone takes for
what an import stores: no import is faster, in whatever language it is written.
https://www.mongodb.com/docs/manual/reference/method/db.collection.insertMany/
"""

import subprocess
import sys
import time
from typing import NamedTuple

import msgspec

from fhir_dmp.bench.host import plain
from fhir_dmp.bench.processes import cpu_seconds
from fhir_dmp.store import bare

# Entries of the sample.
ENTRIES = 20_000


class Ready(NamedTuple):
    """rate: entries per second. rows, octets: written for an entry. cpu: µs an entry, driver and database."""

    rate: float
    rows: float
    octets: float
    cpu: float


def measure(uri: str, since_ms: int, mongod: int) -> Ready:
    """Floor C for what was imported since an instant, by a process of its own. mongod: id of the process of the database."""
    command = [sys.executable, "-m", "fhir_dmp.bench.ready", uri, str(since_ms), str(ENTRIES), str(mongod)]
    out = subprocess.run(command, env=plain(), capture_output=True, check=True).stdout
    return msgspec.json.decode(out, type=Ready)


def inserted(uri: str, since_ms: int, entries: int, mongod: int) -> Ready:
    """The same, in this process."""
    found = bare.ready(uri, "fhir_dmp", since_ms, entries)
    own, served = time.process_time(), cpu_seconds(mongod)
    seconds = bare.insert_ready(uri, found)
    used = time.process_time() - own + cpu_seconds(mongod) - served
    return Ready(found.entries / seconds, found.number / found.entries, found.octets / found.entries, used / found.entries * 1e6)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(inserted(sys.argv[1], *map(int, sys.argv[2:]))))
