"""The schemes of model specs, one module each; `pytest_biastransfer.models.loading` imports the one that it needs."""
