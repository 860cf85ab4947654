"""What a session keeps back until all of its tests have run."""
