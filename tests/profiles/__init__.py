"""The profiles of the DMP and their examples."""
