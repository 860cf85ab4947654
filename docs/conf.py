"""The Sphinx configuration of the site: ``tox -e docs``.

The source folder is the root of the repository, so that links between documents work on the site and in the repository alike.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from pytest_biastransfer import __version__  # noqa: E402

project = "pytest-biastransfer"
copyright = "the pytest-biastransfer maintainers"
release = __version__
version = __version__

root_doc = "docs/index"
include_patterns = ["docs/**", "examples/*/README.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = ["docs/README.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]

# The anchors are those that a repository's page has, too; tests/docs/test_links.py checks them without Sphinx.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_title = "pytest-biastransfer"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["redirect"]
html_copy_source = False
copybutton_exclude = ".linenos, .gp"

# No network is needed to build the site, so only links inside it and to files of the repository are checked.
linkcheck_ignore = [r"https?://.*"]
linkcheck_anchors = True
