"""The runtest phase: one bias test is measured, compared with the baseline and described."""
