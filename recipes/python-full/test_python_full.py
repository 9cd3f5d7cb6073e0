# SPDX-License-Identifier: MIT
"""The Python packages of PYNQ's images."""

import pytest
from testinfra.host import Host

USES = {
    "cv2": "import cv2, numpy; print(cv2.blur(numpy.ones((4, 4)), (2, 2)).sum())",
    "skimage": "import numpy; from skimage.measure import label; print(label(numpy.eye(3)).max() + 15.0)",
    "networkx": "import networkx; print(float(networkx.path_graph(17).number_of_edges()))",
    "sympy": "import sympy; x = sympy.Symbol('x'); print(float(sympy.integrate(x, (x, 0, 4)) * 2))",
    "bokeh": "from bokeh.plotting import figure; f = figure(); f.line([1], [2]); print(16.0)",
    "plotly": "import plotly.graph_objects as go; print(go.Figure(go.Bar(y=[16.0])).data[0].y[0])",
    "dash": "import dash; print(float(len(dash.Dash('x').config and 'x' * 16)))",
    "Cython": "import Cython.Compiler.Main; print(16.0)",
    "lxml": "from lxml import etree; print(float(etree.XML('<a>16</a>').text))",
    "cairo": "import cairo; print(float(cairo.ImageSurface(cairo.FORMAT_A8, 16, 1).get_width()))",
    "ipywidgets": "import ipywidgets; print(float(ipywidgets.IntSlider(value=16).value))",
}


@pytest.mark.parametrize("name", USES)
def test_a_package_is_used(host: Host, name: str) -> None:
    """Each package performs a basic operation."""
    assert host.check_output("python3 -W ignore -c %s", USES[name]).splitlines()[-1] == "16.0"


def test_commands_are_there(host: Host) -> None:
    """The commands of the packages are on the path."""
    for name in ("cython", "jupyter-notebook", "sphinx-build", "voila"):
        assert host.exists(name)
