"""Sphinx: Markdown by MyST, the look by furo, the reference from the docstrings."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "beats-integrations"
author = "The beats-integrations authors"
copyright = author
release = version_of(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changelog.d", "examples"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Docstrings write `name` as in Markdown.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "undoc-members": False, "exclude-members": "__init__, __new__"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a documented attribute is described once, by its class

html_theme = "furo"
html_title = f"{project} {release}"
