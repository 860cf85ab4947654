"""What takes long, and how far it is: records of it, who reports it, and lines that show it."""
