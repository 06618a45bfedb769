"""MongoDB: rows, keys, batching, contents, host records, the embedded server."""
