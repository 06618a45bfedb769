"""`python -m fhir_dmp`, the same as `fhir-dmp`.

See fhir_dmp/cli.py.
"""

from fhir_dmp.cli import main

main()
