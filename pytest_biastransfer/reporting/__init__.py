"""Verdicts -> what people read. No figure is computed here."""
