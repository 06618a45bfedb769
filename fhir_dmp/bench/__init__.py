"""The benchmark: data, floors, load drivers, workloads, report. Nothing of it runs in a server."""
