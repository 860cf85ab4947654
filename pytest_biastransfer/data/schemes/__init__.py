"""The schemes of dataset specs, one module each, imported only for a spec of that scheme.

Each module has `KEYS`, the scheme's own keys of a query (None accepts any key), and ``load(spec, facts)``, which
returns the dataset.
"""
