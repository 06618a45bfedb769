"""Examples that follow the profiles, and examples that break one rule each. All people and numbers are invented."""
