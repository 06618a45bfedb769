"""Who may see and do what, as one pure function. Pure."""
