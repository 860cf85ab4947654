"""pytest-xdist: what workers and their controller tell each other, and how they share the machine."""
