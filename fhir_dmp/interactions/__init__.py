"""One file per FHIR interaction and operation. Async, no HTTP."""
