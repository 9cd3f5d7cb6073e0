# SPDX-License-Identifier: MIT
"""The scientific packages."""

from testinfra.host import Host


def test_numpy_and_scipy(host: Host) -> None:
    """NumPy and SciPy solve a system of equations."""
    code = (
        "import numpy as np; from scipy import linalg; "
        "a = np.array([[3.0, 1.0], [1.0, 2.0]]); print(linalg.solve(a, [9.0, 8.0]).round(6))"
    )
    assert host.check_output(f"python3 -c '{code}'") == "[2. 3.]"


def test_pandas(host: Host) -> None:
    """A table is grouped by pandas."""
    code = (
        'import pandas; t = pandas.DataFrame(dict(k=list("aab"), v=[1, 2, 3])); '
        'print(t.groupby("k").v.sum().to_dict())'
    )
    assert host.check_output(f"python3 -c '{code}'") == "{'a': 3, 'b': 3}"


def test_matplotlib(host: Host) -> None:
    """Matplotlib draws a picture without a screen."""
    code = (
        'import io, matplotlib; matplotlib.use("agg"); import matplotlib.pyplot as plt; '
        'plt.plot([1, 4, 9]); f = io.BytesIO(); plt.savefig(f, format="png"); '
        "print(f.getvalue()[1:4].decode())"
    )
    assert host.check_output(f"python3 -c '{code}'") == "PNG"
