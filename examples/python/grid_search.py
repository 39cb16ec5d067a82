"""Chooses the settings of an aligner as those of any estimator of scikit-learn."""

import numpy as np
from chiasm.align import CCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rng = np.random.default_rng(0)
factors = rng.normal(size=(300, 6))
images, texts = (factors @ rng.normal(size=(6, width)) + rng.normal(size=(300, width)) for width in (32, 24))

aligner = make_pipeline(StandardScaler(), CCA(members=1))
search = GridSearchCV(aligner, {"cca__dimensions": [2, 4, 6, 12], "cca__ridge": [0.01, 0.1]}, cv=3)
search.fit(images, texts)
print(f"recall@1 {search.best_score_:.3f} with {search.best_params_}")
