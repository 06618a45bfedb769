"""A FHIR R4 server for the French Dossier Médical Partagé."""

__version__ = "0.1.0"
