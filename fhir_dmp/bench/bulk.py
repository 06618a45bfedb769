"""Floor B: rows of the size of stored ones through bare insert_many. `python -m fhir_dmp.bench.bulk URI BYTES SECONDS`.

Batches of 1,000, four threads, majority and journaled; prints rows per second.
https://www.mongodb.com/docs/manual/reference/method/db.collection.insertMany/
"""

import os
import sys
import threading
import time

from bson import Binary
from pymongo import MongoClient

from fhir_dmp.bench.floors import DATABASE, MAJORITY

BATCH, THREADS = 1000, 4


def measure(uri: str, size: int, seconds: float) -> float:
    """Rows per second."""
    body = Binary(os.urandom(max(1, size - 34)))  # an id and the frame of a document take the rest
    done = [0] * THREADS
    with MongoClient(uri, maxPoolSize=THREADS) as client:
        client[DATABASE].drop_collection("bulk")
        rows = client[DATABASE].get_collection("bulk", write_concern=MAJORITY)
        begun = time.perf_counter()

        def work(number: int) -> None:
            while time.perf_counter() - begun < seconds:
                rows.insert_many([{"_id": Binary(os.urandom(16)), "b": body} for _ in range(BATCH)], ordered=False)
                done[number] += BATCH

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = sum(done) / (time.perf_counter() - begun)
        client[DATABASE].drop_collection("bulk")
    return rate


if __name__ == "__main__":
    print(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
