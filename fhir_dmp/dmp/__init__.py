"""The French rules: identity, documents, spaces, habilitation, visibility, lifecycle. Pure."""
