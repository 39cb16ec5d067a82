//! What the values that `chiasm transport` reports are: the words of its JSON and of `chiasm explain`.

/// The values that the solvers report, with what they are.
pub const REPORTED: [(&str, &str); 19] = [
    (
        "cost",
        "<P, C> without the entropy; for gw and fgw the objective without it; for sliced the mass times W2 \
         squared",
    ),
    ("marginal_error", "L1 distance of the plan's marginals from the weights, relative to the mass"),
    ("iterations", "iterations of the solver; null for emd, which counts pivots, and for sliced"),
    ("seconds", "wall time of the solver, without reading files"),
    (
        "stop",
        "why it stopped: converged, iterations, time, stalled (at the limit of the precision) or flat (the \
         objective no longer decreases)",
    ),
    ("gap", "emd: the cost less its proven lower bound, from the dual"),
    ("mass", "the mass of the plan"),
    ("epsilon", "the weight of the entropy, in units of the cost"),
    ("divergence", "sinkhorn with --debias: the debiased Sinkhorn divergence (Feydy et al. 2019)"),
    ("rank", "the rank of the plan"),
    ("unexplained", "gw, fgw: the objective as a share of that of the plan that matches nothing, a b^T"),
    ("objective", "gw, fgw: what is minimised: the cost, and with --eps plus epsilon KL(P | a b^T)"),
    ("next_best_objective", "gw, fgw: the objective of the best plan that differs from this one"),
    ("neighbours", "gw, fgw with --geodesic: the number of neighbours that was kept"),
    (
        "distance",
        "sliced: the root of the mean squared W2 of the projections, for the mass one (Bonneel et al. 2015)",
    ),
    ("directions", "sliced: the number of random directions"),
    (
        "images_by_nearest",
        "--images: the number of source points that send no mass, and so move as the nearest one that does",
    ),
    ("n", "the number of source points"),
    ("m", "the number of target points"),
];

/// Returns what a reported value is.
pub fn definition(key: &str) -> Option<&'static str> {
    REPORTED.iter().find(|(name, _)| *name == key).map(|(_, what)| *what)
}
