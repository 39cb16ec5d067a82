"""Writes retrieval.json: scores of retrieval and of predictions by scikit-learn, trec_eval and the formulas of
sentence-transformers.

Run with `python make_retrieval.py` in an environment with numpy, scikit-learn and pytrec-eval-terrier. Vectors hold
small integers, so that scores are exact.
"""

import json
from pathlib import Path

import numpy as np
import pytrec_eval
from sklearn import metrics

rng = np.random.default_rng(10)


def single(rank):
    """Five captions a picture, no ties: the loop of the published evaluations, with numpy's argsort."""
    recall = {f"recall@{k}": float(np.mean(rank < k)) for k in (1, 5, 10)}
    return recall | {"mrr": float(np.mean(1 / (1 + rank))), "median_rank": float(np.median(rank) + 1)}


def many(scores, relevant):
    """Figures of queries with several right items each and no ties."""
    order = np.argsort(-scores, axis=1)
    right = np.take_along_axis(relevant, order, 1)
    figures = single(right.argmax(1))
    figures["map"] = float(np.mean([metrics.average_precision_score(r, s) for r, s in zip(relevant, scores)]))
    figures["ndcg@10"] = float(metrics.ndcg_score(relevant, scores, k=10))
    # sentence_transformers.evaluation.InformationRetrievalEvaluator
    precision = np.cumsum(right, 1) / np.arange(1, right.shape[1] + 1)
    found = (precision * right)[:, :10].sum(1)
    figures["map@10"] = float(np.mean(found / np.minimum(10, relevant.sum(1))))
    runs = {str(i): {str(j): float(v) for j, v in enumerate(s)} for i, s in enumerate(scores)}
    qrel = {str(i): {str(j): int(v) for j, v in enumerate(r)} for i, r in enumerate(relevant)}
    trec = pytrec_eval.RelevanceEvaluator(qrel, {"map", "ndcg_cut.10", "recip_rank", "success"}).evaluate(runs)
    mean = lambda name: float(np.mean([value[name] for value in trec.values()]))
    pairs = {"map": "map", "ndcg@10": "ndcg_cut_10", "mrr": "recip_rank", "recall@5": "success_5"}
    for ours, theirs in pairs.items():
        assert abs(figures[ours] - mean(theirs)) < 1e-12, (ours, figures[ours], mean(theirs))
    return figures


def unique(q, g, d):
    """Whole-number vectors none of whose queries has two equal scores."""
    while True:
        x, y = rng.integers(-2000, 2001, (q, d)), rng.integers(-2000, 2001, (g, d))
        scores = x @ y.T
        if all(len(set(row)) == g for row in scores.tolist()):
            return x, y, scores


cases = {}
# 8 pictures, 5 captions each; both directions
x, y, scores = unique(8, 40, 3)
rows = np.arange(40) // 5
y = y + 2 * x[rows]  # captions say something of their pictures
scores = x @ y.T
assert all(len(set(row)) == len(row) for s in (scores, scores.T) for row in s.tolist())
relevant = (rows[None] == np.arange(8)[:, None]).astype(int)
cases["captions"] = {
    "x": x.tolist(), "y": y.tolist(), "rows": rows.tolist(),
    "forward": many(scores, relevant), "backward": many(scores.T, relevant.T),
}
# labels: 3 categories of 30 gallery items, 12 queries
x, y, scores = unique(12, 30, 4)
labels = [rng.integers(0, 3, 12), rng.integers(0, 3, 30)]
relevant = (labels[0][:, None] == labels[1][None]).astype(int)
cases["labels"] = {
    "x": x.tolist(), "y": y.tolist(), "labels": [l.tolist() for l in labels], "figures": many(scores, relevant),
}
# tasks
truth, said = rng.integers(0, 4, 40), rng.integers(0, 5, 40)
said[:20] = truth[:20]
probability = rng.multinomial(64, np.ones(4) / 4, 40) / 64  # exact in single precision, with ties
hold, logits = rng.random((30, 5)) < 0.4, rng.integers(-4, 5, (30, 5))  # ties
logits = logits + hold
marked = logits > 0
hold[:, 4], marked[:, 4] = False, False
numbers, guesses = rng.normal(size=(25, 3)).astype("f4"), rng.normal(size=(25, 3)).astype("f4")
guesses = (numbers + 0.5 * guesses).astype("f4")
numbers[:, 2] = 1.5
binary = lambda f, **k: float(f(hold, marked, zero_division=0, **k))
cases["tasks"] = {
    "truth": truth.tolist(), "said": said.tolist(), "probability": probability.tolist(),
    "accuracy": metrics.accuracy_score(truth, said),
    "macro_f1": metrics.f1_score(truth, said, average="macro", zero_division=0),
    "micro_f1": metrics.f1_score(truth, said, average="micro"),
    "auc_ovr": metrics.roc_auc_score(truth, probability, multi_class="ovr"),
    "hold": hold.tolist(), "logits": logits.tolist(), "marked": marked.tolist(),
    "label_macro_f1": binary(metrics.f1_score, average="macro"),
    "label_micro_f1": binary(metrics.f1_score, average="micro"),
    "label_auc": [float(metrics.roc_auc_score(hold[:, c], logits[:, c])) for c in range(4)],
    "numbers": numbers.tolist(), "guesses": guesses.tolist(),
    "mae": float(metrics.mean_absolute_error(numbers.astype("f8"), guesses.astype("f8"))),
    "r2": float(metrics.r2_score(numbers.astype("f8"), guesses.astype("f8"))),
}
Path(__file__).with_name("retrieval.json").write_text(json.dumps(cases) + "\n")
