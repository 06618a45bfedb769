"""No byte that the database writes to disk shows what it stores."""

import os

from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.resources import Store
from fhir_dmp.store.rows import Change

from .making import changed, new_row

WORDS = (b"QUATREMERE", b"2790588654321", b"rue des Martyrs", b"11488-4", b"Compte rendu")


async def stream():
    for _ in range(20):
        yield b"....".join(WORDS) * 1000


async def test_the_files_of_the_database_hold_no_plaintext(tmp_path):
    embedded = Embedded.start(tmp_path, cache_gb=0.25)
    store = await Store.open(embedded.uri, data_dir=tmp_path)
    body = b'{"resourceType":"Patient","text":"' + b" ".join(WORDS) + b'"}'
    hashes = tuple(store.vault.hash64(word) for word in WORDS)
    ids = []
    for size in (1, 40_000):  # inline and as a content
        row = new_row(store, body=body * size, x=hashes, g=hashes, c=hashes)
        await store.create(row)
        following = changed(row)
        await store.commit([Change(following, row.version)])
        await store.commit([Change(changed(following, method="DELETE", deleted=True, body=body), following.version)])
        ids.append(store.vault.seal_id(row.key).encode())
    await store.contents.write(stream(), row.dossier)
    assert await store.find({"g": hashes[0]}, hint="selective") == []
    secrets = (*WORDS, *ids, (tmp_path / "keys" / "host.key").read_bytes())
    await store._connection.client.admin.command("fsync")
    read = scan(tmp_path / "mongodb", secrets)
    assert read > 5_000_000  # the journal is read too
    await store.close()
    embedded.stop()
    scan(tmp_path / "mongodb", secrets)


def scan(folder, secrets) -> int:
    """Read every file below `folder`; how many bytes that were."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".sock"):
                continue
            with open(os.path.join(path, name), "rb") as file:
                data = file.read()
            total += len(data)
            for secret in secrets:
                assert secret not in data, (name, secret)
    return total
