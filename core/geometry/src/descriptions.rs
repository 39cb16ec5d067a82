//! One sentence on each measure of the catalogue: the help of the program and the crate's page repeat them.

/// The name of each measure and what it is.
pub(crate) const DESCRIPTIONS: &[(&str, &str)] = &[
    ("cka_linear", "centred kernel alignment with the linear kernel, in [0, 1] (Kornblith et al. 2019)"),
    (
        "cka_linear_unbiased",
        "the same with the unbiased HSIC (Song et al. 2012): about 0 for unrelated clouds",
    ),
    ("cka_rbf", "centred kernel alignment with the kernel exp(-d²/(2 m²)), m the median distance"),
    ("cka_rbf_unbiased", "the same with the unbiased HSIC"),
    (
        "svcca",
        "mean canonical correlation of axes with 99 % of the variance, fewer than rows (Raghu et al. 2017)",
    ),
    ("mutual_knn@", "share of the k nearest neighbours that both clouds have in common (Huh et al. 2024)"),
    ("neighbourhood_jaccard@", "common neighbours divided by those of either cloud, mean over the rows"),
    ("trustworthiness@", "1 less the penalty of neighbours in B that are far in A (Venna and Kaski 2001)"),
    ("continuity@", "1 less the penalty of neighbours in A that are far in B (Venna and Kaski 2001)"),
    (
        "procrustes_residual",
        "share of the variance left by the best shift, rotation and scaling (Gower 1975)",
    ),
    (
        "w2_exact",
        "root of the least mean squared distance of any matching of the rows, exact; up to 5,000 rows",
    ),
    (
        "sinkhorn_divergence",
        "debiased entropic transport, epsilon 0.05 of the mean squared distance (Feydy et al. 2019)",
    ),
    ("sliced_w2", "root mean squared W2 of 256 projections on random directions (Bonneel et al. 2015)"),
    ("bures_w2", "W2 of the Gaussians with the means and covariances of the clouds (Dowson and Landau 1982)"),
    (
        "mmd2_rbf",
        "squared maximum mean discrepancy, unbiased, kernel width the median distance (Gretton et al. 2012)",
    ),
    ("mmd2_rbf_biased", "the same, biased: at least 0, too large by about 2/n"),
    (
        "gw",
        "Gromov-Wasserstein distance of the distances within the clouds, an upper bound from three starts",
    ),
    ("hausdorff_knn", "Hausdorff distance of the graphs of nearest neighbours"),
    ("geodesic_distortion", "relative difference of the shortest paths in both graphs, up to a common scale"),
    (
        "curvature_mismatch",
        "mean difference of the augmented Forman-Ricci curvature, divided by k (Samal et al. 2018)",
    ),
    (
        "covariance_log_euclidean",
        "mean Frobenius distance of the logarithms of local covariances (Arsigny et al. 2006)",
    ),
    (
        "covariance_affine_invariant",
        "mean affine-invariant distance of local covariances (Pennec et al. 2006)",
    ),
    ("persistence_bottleneck_h0", "bottleneck distance of the persistence diagrams of components"),
    ("persistence_bottleneck_h1", "bottleneck distance of the persistence diagrams of loops"),
    (
        "intrinsic_dimension_a",
        "Two-NN dimension of A: the line through the smallest 90 % of the ratios (Facco et al. 2017)",
    ),
    ("intrinsic_dimension_b", "the same of B"),
    (
        "mutual_information_ksg",
        "mutual information of three principal coordinates by neighbour counts (Kraskov et al. 2004)",
    ),
    ("modality_gap", "distance of the mean unit vectors, in [0, 2] (Liang et al. 2022)"),
    ("foscttm", "fraction of samples closer than the true match, in [0, 1]; 0.5 is chance (Liu et al. 2019)"),
    ("silhouette", "mean silhouette of the labels over the rows of both clouds, in [-1, 1] (Rousseeuw 1987)"),
    ("nmi", "normalised mutual information of the labels and k-means clusters of both clouds, in [0, 1]"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::CATALOGUE;

    #[test]
    fn every_measure_is_described_here_and_on_the_page() {
        let page = include_str!("../README.md");
        assert_eq!(DESCRIPTIONS.len(), CATALOGUE.len());
        for (measure, (name, what)) in CATALOGUE.iter().zip(DESCRIPTIONS) {
            assert_eq!(measure.name, *name);
            let line =
                format!("| `{}` | {what} | {} |", measure.name.trim_end_matches('@'), measure.sample());
            assert!(page.contains(&line), "README.md lacks the line\n{line}");
        }
    }
}
