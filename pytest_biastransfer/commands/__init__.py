"""The commands of ``python -m pytest_biastransfer``: each module adds one to the parser, and does what it says."""
