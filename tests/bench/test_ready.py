"""Floor C: ready rows inserted by themselves, and how an import is told beside it."""

from datetime import UTC, datetime

import pytest
from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import BulkWriteError

from fhir_dmp.bench import growth, ready, report
from fhir_dmp.store import bare
from fhir_dmp.store.format import INDEXES


def test_ready_rows_are_inserted_once_with_their_indexes_and_nothing_stays(mongod):
    rows = [
        RawBSONDocument(encode({"_id": number.to_bytes(16), "d": 1, "t": "Basic", "l": number})) for number in range(2 * bare.BATCH + 1)
    ]
    indexes = [one.document for one in INDEXES["resources"]]
    told = bare.Ready(2001, {"resources": rows, "imports": []}, {"resources": indexes, "imports": []})
    assert (told.number, told.octets) == (2001, sum(len(row.raw) for row in rows))
    assert bare.insert_ready(mongod.uri, told) > 0
    twice = told._replace(rows={"resources": [rows[0], rows[0]]})
    with pytest.raises(BulkWriteError):
        bare.insert_ready(mongod.uri, twice)
    with MongoClient(mongod.uri) as client:
        assert bare.READY not in client.list_database_names()


def test_an_import_is_told_beside_both_floors():
    floor = ready.Ready(rate=8_000, rows=2.5, octets=4_000, cpu=400)
    portions = [growth.Portion(before, 1_000, 0.5, 40_000, 500, 100, 60, floor, 90, 0) for before in (0, 1_000)]
    found = growth.Found(portions, 1_900, "sandbox", 2, report.Start(datetime.now(UTC), 0.5, {"machine": "m", "programs": "p"}))
    told = growth.told(found)
    shown = dict(zip(told.table[0][:7], told.table[1], strict=False))
    assert shown == {
        "stored before": "0",
        "entries/s": "2,000",
        "B rows/s": "40,000",
        "C entries/s": "8,000",
        "ratio to B": "0.050",
        "to C": "0.250",
        "C to B": "0.200",
    }
    assert all(len(row) == len(told.table[0]) for row in told.table)
    assert (told.value["ratio"], told.value["ready_ratio"], told.value["ready_floor"]) == (0.05, 0.25, 0.2)
    assert told.value["portions"][0]["ready_cpu_ratio"] == 400 / 600
    assert "2.5 rows, 4,000 bytes" in told.text and "0.200 of B" in told.text
