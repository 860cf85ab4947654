"""What depends on pytest-xdist: how workers share the machine, and that no worker's death passes silently."""
