"""Configuration of the documentation site: sphinx-build -W docs docs/_build."""

import sys
from pathlib import Path

import fastnn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import api_reference

api_reference.write(Path(__file__).resolve().parent / "api.md")

project = "fastnn"
author = "the fastnn developers"
release = fastnn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "tutorials/*.ipynb"]
html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False
suppress_warnings = ["ref.ref"]  # the estimators inherit docstrings of scikit-learn that link to its own pages

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2
nb_execution_mode = "cache"
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
