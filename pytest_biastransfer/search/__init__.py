"""The search for the worst intervention in a space: guided, within a budget, and then for the plainest one."""
