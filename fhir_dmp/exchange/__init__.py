"""Dossiers that come from elsewhere or leave for elsewhere."""
