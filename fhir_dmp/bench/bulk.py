"""Floor B: rows of the size of stored ones through bare insert_many. `python -m fhir_dmp.bench.bulk URI BYTES SECONDS`.

Batches of 1,000, four threads, majority and journaled; prints rows per second.
https://www.mongodb.com/docs/manual/reference/method/db.collection.insertMany/
"""

import sys

from fhir_dmp.store import bare

if __name__ == "__main__":
    print(bare.insert_many(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
