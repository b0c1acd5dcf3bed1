"""Real tables that come with scikit-learn and statsmodels, their features at mean 0 and spread 1."""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn import datasets

from gd.data import Array

NAMES = ("diabetes", "cancer", "visits", "stackloss")


@cache
def table(name: str) -> tuple[Array, Array]:
    """Features (n, d) and target (n,) of one of them.

    diabetes: 442 patients of Efron et al. (2004), 10 features, how the disease went on.
    cancer: the first 8 features of 569 tumours of Street et al. (1993), malignant (0) or benign (1).
    visits: every 20th of the 20,190 years of the RAND health experiment, 9 features, visits to a doctor, from 0 to 77.
    stackloss: 21 days of Brownlee's (1965) plant, 3 features, some of the targets far off.
    """
    if name == "diabetes":
        X, y = datasets.load_diabetes(return_X_y=True)
    elif name == "cancer":
        X, y = datasets.load_breast_cancer(return_X_y=True)
        X = X[:, :8]
    else:
        import statsmodels.api as sm  # noqa: PLC0415

        loaded = (sm.datasets.randhie if name == "visits" else sm.datasets.stackloss).load_pandas()
        every = 20 if name == "visits" else 1
        X, y = loaded.exog.to_numpy(float)[::every], loaded.endog.to_numpy(float)[::every]
    return (X - X.mean(axis=0)) / X.std(axis=0), np.asarray(y, np.float64)
