# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration of the site: `make docs` writes it to build/docs."""

import os
import re
import sys

os.environ["NUMBA_DISABLE_JIT"] = "1"  # kernels stay functions, with docstring and signature

from amaranth.hdl import Elaboratable
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import NumpyDocstring
from sphinx.util.nodes import make_refnode
from typer.models import ParameterInfo

project = "xorloom"
html_title = "xorloom"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
templates_path = ["_templates"]
exclude_patterns = ["_templates"]

html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

myst_heading_anchors = 4  # the anchors that a Git server gives headings as well

# Autosummary walks the packages itself: a moved or new module needs no line here.
autosummary_generate = True
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "ignore-module-all": True,  # docstrings refer to what a module uses inside as well
}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
add_module_names = False
napoleon_google_docstring = False
napoleon_use_param = False  # types in numpydoc sections are prose: "tuple of int, length n_out"
napoleon_use_rtype = False
napoleon_custom_sections = [("Members", "params_style"), ("Attributes", "params_style")]
default_role = "code"
rst_prolog = """
.. role:: py(code)
   :language: python
"""

# Every reference to this project must resolve. Those to libraries cannot: their inventories are
# on the network.
nitpicky = True
OTHERS = (
    "amaranth|collections|concurrent|contextlib|ctypes|enum|fractions|np|numpy|pathlib|torch|typer|types"
    "|typing"
)
autodoc_mock_imports = ["torch"]  # not in the set-up of the manual: it is large
nitpick_ignore_regex = [
    (r"py:(class|obj)", rf"({OTHERS})(\..*)?"),
    (r"py:class", r"(dict|list|tuple)\[.*"),  # a long annotation, cut at its comma
    (r"py:class", r"Client|JobQueueCluster"),  # of Dask, known to type checkers only
    (r"py:class", r".* .*"),  # help of an option in an annotation, cut alike
]

PAGES = {
    "sw/FORMAT.md": "format.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolve a bare name to the only one in its package, a constant without text to its module."""
    if node["refdomain"] != "py" or "refdoc" not in node:
        return None
    python = env.domains.python_domain
    module, _, name = node["reftarget"].rpartition(".")
    if module:
        if module not in python.modules or not hasattr(sys.modules[module], name):
            return None
        full, place, anchor = module, python.modules[module].docname, ""
    else:
        kinds = python.objtypes_for_role(node["reftype"]) or []
        found = {
            full: entry
            for full, entry in python.objects.items()
            if full.endswith(f".{name}") and entry.objtype in kinds and not entry.aliased
        }
        package = ".".join((node.get("py:module") or "").split(".")[:2])
        near = {full: found[full] for full in found if full.startswith(f"{package}.")}
        chosen = near or found
        if len(chosen) != 1:
            return None
        ((full, entry),) = chosen.items()
        place, anchor = entry.docname, entry.node_id
    return make_refnode(app.builder, node["refdoc"], place, anchor, content, full)


def link_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links to Markdown files outside docs at the pages that include them."""
    for path, page in PAGES.items():
        source[0] = re.sub(rf"\]\((\.\./)+{path}", f"](/{page}", source[0])


def setup(app: Sphinx) -> None:
    """Connect what no option does."""
    app.connect("source-read", link_pages)
    app.connect("missing-reference", resolve)
    # Napoleon takes the words before a colon in a constant's docstring for its type.
    NumpyDocstring._parse_attribute_docstring = NumpyDocstring._consume_to_end
    # Its signature, `*args, **kwargs`, would hide those of the components' `__init__`.
    Elaboratable.__new__ = object.__new__
    # The command line's options are part of types; by themselves they show their addresses.
    ParameterInfo.__repr__ = lambda option: repr(option.help)
