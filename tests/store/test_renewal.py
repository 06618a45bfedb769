"""A connection of which the driver believes that it has no sessions is dropped, not met for ever.

https://github.com/mongodb/specifications/blob/master/source/sessions/driver-sessions.md
"""

from .making import new_row


def pooled(store) -> list:
    return [one for server in store.connection.client._topology._servers.values() for one in server.pool.conns]


async def test_reads_and_writes_go_on_over_new_connections(store):
    row = new_row(store)
    await store.create(row)
    assert await store.load(row.key) is not None
    poisoned = pooled(store)
    assert poisoned
    for one in poisoned:  # as it is after a handshake with a member that was just losing its place
        one.supports_sessions = False
    assert (await store.load(row.key)).version == row.version
    other = new_row(store)
    await store.create(other)
    assert (await store.load(other.key)).version == other.version
    assert not [one for one in pooled(store) if not one.supports_sessions]
