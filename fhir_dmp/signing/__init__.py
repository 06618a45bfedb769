"""The three levels of proof: host seal, message seal, author's signature."""
