"""What a spec string holds: its syntax, factories, hub repositories, and the files and orders of class names."""
