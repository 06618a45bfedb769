"""What the profiles say, in compact form; scripts/generate_profiles.py makes the FHIR artefacts of `profiles/` of it."""
