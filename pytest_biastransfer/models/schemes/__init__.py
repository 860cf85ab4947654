"""One module a scheme of model specs; `pytest_biastransfer.models.loading` chooses among them."""
