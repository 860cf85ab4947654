"""The generated parts of the reference pages: options, markers, fixtures, commands and error messages.

``python -m docs.tables`` writes them.
"""
