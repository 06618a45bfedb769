"""The language of FHIR R4: JSON, instants, references, schemas, patches, bundles. Pure."""
