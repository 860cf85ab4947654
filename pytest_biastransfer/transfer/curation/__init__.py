"""Curation of the finetuning data: which images are used, with what planted on them."""
