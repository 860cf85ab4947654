"""The schemes of datasets' specs, one module each, imported when a spec asks for it.

Each module has `KEYS`, the keys of a query that are its own, or None where any key may be given, and
``load(spec, facts)``, which returns the dataset.
"""
