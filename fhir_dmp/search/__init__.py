"""FHIR R4 search as values: parameters, extraction, queries, predicates, paging. Pure."""
