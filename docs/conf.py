"""The Sphinx configuration of the site: ``tox -e docs``.

The source folder is the root of the repository, so that links between documents work on the site as in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from docutils.nodes import TextElement, reference
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import pytest_biastransfer  # noqa: E402

project = "pytest-biastransfer"
project_copyright = "the pytest-biastransfer maintainers"
release = version = pytest_biastransfer.__version__

root_doc = "docs/index"
include_patterns = ["docs/**", "examples/*/README.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]

# The anchors are those that a repository's page has, too; tests/docs/test_links.py checks them without Sphinx.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]

# Docstrings have single backticks around names.
default_role = "literal"
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
# The annotations also name types of other libraries and of private modules, which have no page here.
nitpick_ignore_regex = [("py:(class|exc|obj|data)", ".*")]

html_theme = "furo"
html_title = "pytest-biastransfer"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["scrollable.js"]
html_extra_path = ["redirect"]
html_copy_source = False
copybutton_exclude = ".linenos, .gp"


def link_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: TextElement) -> reference | None:
    """Link an annotation such as ``Model`` to the public name that it means."""
    name = str(node.get("reftarget", "")).rpartition(".")[2]
    if node.get("refdomain") != "py" or name not in pytest_biastransfer.__all__:
        return None
    domain: Any = env.get_domain("py")
    target = f"{pytest_biastransfer.__name__}.{name}"
    if target not in domain.objects:
        return None
    linked: reference = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)
    return linked


def level_captions(app: Sphinx, page: str, template: str, context: dict[str, Any], document: object) -> None:
    """Give the captions of the navigation a level: ARIA does not allow headings without one, which Sphinx writes."""
    tree: str = context["furo_navigation_tree"]
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def setup(app: Sphinx) -> None:
    """Connect the functions above to Sphinx."""
    app.connect("missing-reference", link_public_name)
    # The theme makes its navigation tree at the default priority, 500.
    app.connect("html-page-context", level_captions, priority=900)
