"""Everything about spec strings: syntax, factories, hub repositories, files and orders of class names."""
