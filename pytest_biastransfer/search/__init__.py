"""The search for the worst intervention in a space within a budget, and the scan of the named interventions."""
