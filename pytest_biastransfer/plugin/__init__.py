"""All that knows pytest: hooks, fixtures, settings and state."""
