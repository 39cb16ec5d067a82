"""Writes identifiability.json: MCC and R2 of known factors by NumPy, SciPy and scikit-learn.

Run with `python make_identifiability.py` in an environment with numpy, scipy and scikit-learn. truth [60, 3] is
observed through a smooth map as found [60, 5], with noise; five folds.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import LeaveOneOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KernelCenterer, StandardScaler

rng = np.random.default_rng(5)
n, d, k = 60, 3, 5
truth = rng.normal(size=(n, d))
found = np.tanh(truth @ rng.normal(size=(d, k))) + 0.2 * rng.normal(size=(n, k))
folds = np.arange(n) % 5
out = {"truth": truth, "found": found}

# MCC: the correlation matrix and SciPy's linear sum assignment
correlations = np.abs(np.corrcoef(truth.T, found.T)[:d, d:])
rows, columns = linear_sum_assignment(-correlations)
out["components"] = columns
out["correlations"] = correlations[rows, columns]
out["mcc"] = correlations[rows, columns].mean()

# Ridge: RidgeCV leaves one out in closed form and chooses one penalty for all factors
shares = 10.0 ** np.arange(-6, 1)
linear = np.zeros((n, d))
for fold in range(5):
    fit, held = folds != fold, folds == fold
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=shares * fit.sum()))
    linear[held] = model.fit(found[fit], truth[fit]).predict(found[held])
out["linear"] = linear
out["linear_r2"] = r2_score(truth, linear, multioutput="raw_values")

# Kernel ridge with an intercept: a centred kernel and centred factors; one row is left out by fitting without it
kernel = np.zeros((n, d))
chosen = []
for fold in range(5):
    fit, held = folds != fold, folds == fold
    x, y = found[fit], truth[fit]
    gamma = 1 / (2 * np.quantile(pdist(x), 0.5, method="higher") ** 2)
    gram, new = rbf_kernel(x, gamma=gamma), rbf_kernel(found[held], x, gamma=gamma)

    def predict(gram, y, new, alpha):
        centre = KernelCenterer().fit(gram)
        model = KernelRidge(kernel="precomputed", alpha=alpha).fit(centre.transform(gram), y - y.mean(0))
        return model.predict(centre.transform(new)) + y.mean(0)

    def left_out(alpha):
        """The error with the feature space centred by all fitted rows, as the closed form has it."""
        centred = KernelCenterer().fit_transform(gram)
        features = np.linalg.svd(centred, hermitian=True)
        features = features[0] * np.sqrt(features[1])
        error = 0.0
        for train, test in LeaveOneOut().split(x):
            # Ridge with a free intercept on the other rows
            a, b = features[train], y[train]
            mean_a, mean_b = a.mean(0), b.mean(0)
            a, b = a - mean_a, b - mean_b
            beta = np.linalg.solve(a.T @ a + alpha * np.eye(a.shape[1]), a.T @ b)
            error += ((y[test] - (features[test] - mean_a) @ beta - mean_b) ** 2).sum()
        return error

    alpha = min(shares * fit.sum(), key=left_out)
    chosen.append(alpha / fit.sum())
    kernel[held] = predict(gram, y, new, alpha)
out["kernel"] = kernel
out["kernel_shares"] = np.array(chosen)
out["kernel_r2"] = r2_score(truth, kernel, multioutput="raw_values")

plain = lambda value: value.tolist() if isinstance(value, np.ndarray) else float(value)
text = json.dumps({key: plain(value) for key, value in out.items()})
Path(__file__).with_name("identifiability.json").write_text(text + "\n")
