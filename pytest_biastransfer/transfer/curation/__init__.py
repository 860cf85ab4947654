"""Curation of the finetuning data: selects images, plants interventions on them, and weighs them."""
