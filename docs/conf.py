"""Configuration of the documentation site: sphinx-build -W docs docs/_build."""

import sys
from pathlib import Path

import fastnn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import api_reference  # noqa: E402

api_reference.write(HERE / "api")

project = "fastnn"
author = "the fastnn developers"
release = fastnn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_design", "docstrings", "mathml"]
exclude_patterns = ["_build", ".jupyter_cache", "**.ipynb_checkpoints", "tutorials/*.ipynb"]
templates_path = ["_templates"]
# The estimators inherit docstrings of scikit-learn that link to its own pages and glossary.
suppress_warnings = ["ref.ref", "ref.term"]

html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_favicon = "pictures/logo.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_search_scorer = str(HERE / "_static" / "search_scorer.js")
html_sidebars = {"**": ["navigation"], "index": []}
html_theme_options = {
    "logo": {"image_light": "pictures/logo.svg", "image_dark": "pictures/logo.svg", "text": "fastnn"},
    "header_links_before_dropdown": 5,
    "pygments_dark_style": "github-dark",
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
html_math_renderer = "mathml"
copyright = author
maximum_signature_line_length = 70

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 2
# The cache knows the cells, not the package: remove the folder to run the pages again after a change of fastnn.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / ".jupyter_cache")
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
