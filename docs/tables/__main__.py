"""Write the generated parts of the reference pages."""

from __future__ import annotations

from docs.tables.pages import write

write()
