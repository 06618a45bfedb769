"""The implementation guide: a static site in French and English, made of prose, artefacts and conversations that were really held.

https://hl7.org/fhir/R4/implementationguide.html ; sources in ig/ and profiles/, decision in ig/decisions/0007-the-guide.md
"""
