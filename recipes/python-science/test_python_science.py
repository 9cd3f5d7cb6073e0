# SPDX-License-Identifier: MIT
"""The scientific packages."""

from collections.abc import Callable

import pytest

RunPython = Callable[..., str]


def test_numpy_and_scipy(run_python: RunPython) -> None:
    """NumPy and SciPy solve a system of equations."""
    code = (
        "import numpy as np; from scipy import linalg; "
        "a = np.array([[3.0, 1.0], [1.0, 2.0]]); print(linalg.solve(a, [9.0, 8.0]).round(6))"
    )
    assert run_python(code, modules=["numpy", "scipy.linalg"]) == "[2. 3.]"


def test_pandas(run_python: RunPython) -> None:
    """A table can be grouped with pandas."""
    code = (
        'import pandas; t = pandas.DataFrame(dict(k=list("aab"), v=[1, 2, 3])); '
        'print(t.groupby("k").v.sum().to_dict())'
    )
    assert run_python(code, modules=["pandas"]) == "{'a': 3, 'b': 3}"


@pytest.mark.long("the first import looks for fonts")
def test_matplotlib(run_python: RunPython) -> None:
    """Matplotlib draws a plot without a display."""
    code = (
        'import io, matplotlib; matplotlib.use("agg"); import matplotlib.pyplot as plt; '
        'plt.plot([1, 4, 9]); f = io.BytesIO(); plt.savefig(f, format="png"); '
        "print(f.getvalue()[1:4].decode())"
    )
    assert run_python(code, modules=["matplotlib"]) == "PNG"
