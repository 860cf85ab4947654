"""Model x images x intervention -> predictions, through a store that computes nothing twice."""
