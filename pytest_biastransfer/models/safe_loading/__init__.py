"""What may be read from a file of a model: verified, and written anew before a library sees it."""
