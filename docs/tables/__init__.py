"""The generated parts of the reference pages, from the code that they describe.

``python -m docs.tables`` writes them.
"""
