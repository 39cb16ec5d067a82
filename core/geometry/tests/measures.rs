//! All measures compared with NumPy, SciPy, scikit-learn, POT and ripser + persim
//! (reference/make_measures.py), and their values for identical, constant and invalid clouds.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its case has failed")]

use chiasm_geometry::canonical::{canonical_correlations, procrustes_residual, svcca};
use chiasm_geometry::catalogue::CATALOGUE;
use chiasm_geometry::discrepancy::{bures_w2, mmd2_rbf, modality_gap, sliced_w2};
use chiasm_geometry::graphs::{NeighbourGraph, curvature_mismatch, geodesic_distortion, hausdorff_knn};
use chiasm_geometry::local_covariance::local_covariances;
use chiasm_geometry::measure::{MeasureOptions, MeasureReport, measure};
use chiasm_geometry::neighbour_overlap::{mutual_knn, neighbourhood_jaccard};
use chiasm_geometry::neighbours::Neighbours;
use chiasm_geometry::persistence::{bottleneck, persistence};
use chiasm_geometry::random::Random;
use chiasm_geometry::trustworthiness::trustworthiness;
use chiasm_geometry::wasserstein::{gromov_wasserstein, sinkhorn_divergence, w2_exact};
use chiasm_geometry::{cka, clusters, dimension, foscttm};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use serde_json::Value;
use std::time::Duration;

const K: usize = 5;

fn cases() -> Value {
    serde_json::from_str(include_str!("reference/measures.json")).unwrap()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// The tolerance is relative, with an absolute floor for values close to zero.
fn close(key: &str, got: f64, cases: &Value, tolerance: f64) {
    let expected = cases[key].as_f64().unwrap();
    let apart = (got - expected).abs();
    assert!(apart <= tolerance * expected.abs().max(1e-3), "{key}: got {got}, expected {expected}");
}

/// A relative tolerance of 1e-6 allows only for another order of summation in double precision.
#[test]
fn paired_measures_agree_with_their_references() {
    let c = cases();
    let (x, y) = (matrix(&c["x"]), matrix(&c["y"]));
    let z = y.slice_axis(Axis(1), Slice::from(..4));
    let linear = cka::linear(x.view(), z).unwrap();
    close("cka_linear", linear.biased, &c, 1e-6);
    close("cka_linear_unbiased", linear.unbiased, &c, 1e-6);
    let rbf = cka::rbf(x.view(), z, 0.6).unwrap();
    close("cka_rbf", rbf.biased, &c, 1e-6);
    close("cka_rbf_unbiased", rbf.unbiased, &c, 1e-6);
    let expected: Vec<f64> = serde_json::from_value(c["correlations"].clone()).unwrap();
    let got = canonical_correlations(x.view(), z, 1e-3).unwrap();
    assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {expected:?}");
    close("svcca", svcca(x.view(), z, 0.99).unwrap(), &c, 1e-6);
    close("svcca_90", svcca(x.view(), z, 0.90).unwrap(), &c, 1e-6);
    close("procrustes_residual", procrustes_residual(x.view(), z).unwrap(), &c, 1e-6);
    let near = [x.view(), z].map(|cloud| Neighbours::new(cloud, K, 0).unwrap());
    close("mutual_knn", mutual_knn(&near[0], &near[1]).unwrap(), &c, 1e-12);
    close("neighbourhood_jaccard", neighbourhood_jaccard(&near[0], &near[1]).unwrap(), &c, 1e-12);
    close("trustworthiness", trustworthiness(x.view(), &near[1]).unwrap(), &c, 1e-12);
    close("continuity", trustworthiness(z, &near[0]).unwrap(), &c, 1e-12);
    close("foscttm", foscttm::foscttm(x.view(), y.view()).unwrap(), &c, 1e-12);
    let ny = Neighbours::new(y.view(), K, 0).unwrap();
    let local = local_covariances(x.view(), y.view(), &near[0], &ny, 4).unwrap();
    close("covariance_log_euclidean", local.log_euclidean, &c, 1e-6);
    close("covariance_affine_invariant", local.affine_invariant, &c, 1e-6);
    // A constant cloud anywhere has no covariance, not one of rounding errors.
    for place in [0.0, 0.1, 3.0, 1000.0] {
        let still = x.mapv(|_| place);
        let local = local_covariances(still.view(), y.view(), &near[0], &ny, 4);
        assert!(local.is_err(), "at {place}: {local:?}");
    }
}

#[test]
fn measures_of_samples_agree_with_their_references() {
    let c = cases();
    let (x, w) = (matrix(&c["x"]), matrix(&c["w"]));
    let mmd = mmd2_rbf(x.view(), w.view(), None).unwrap();
    close("mmd_gamma", mmd.gamma, &c, 1e-6);
    close("mmd2_rbf", mmd.unbiased, &c, 1e-6);
    close("mmd2_rbf_biased", mmd.biased, &c, 1e-6);
    close("bures_w2", bures_w2(x.view(), w.view()).unwrap(), &c, 1e-6);
    close("sliced_w2", sliced_w2(x.view(), w.view(), matrix(&c["directions"]).view()).unwrap(), &c, 1e-6);
    close("w2_exact", w2_exact(x.view(), w.view(), Duration::from_secs(60)).unwrap(), &c, 1e-6);
    // Computed in single precision, as a difference of three values ten times its size.
    close("sinkhorn_divergence", sinkhorn_divergence(x.view(), w.view(), 0.05).unwrap(), &c, 1e-3);
    close("modality_gap", modality_gap(x.view(), w.view()).unwrap(), &c, 1e-6);
    let found = dimension::two_nn(&Neighbours::new(x.view(), 2, 0).unwrap()).unwrap();
    close("two_nn_fit", found.fit, &c, 1e-6);
    close("two_nn_likelihood", found.likelihood, &c, 1e-6);
}

#[test]
fn graph_and_topological_measures_agree_with_their_references() {
    let c = cases();
    let (x, y) = (matrix(&c["x"]), matrix(&c["y"]));
    let z = y.slice_axis(Axis(1), Slice::from(..4));
    let [gx, gz] = [x.view(), z].map(|cloud| NeighbourGraph::new(cloud, K, 0).unwrap());
    close("geodesic_distortion", geodesic_distortion(&gx, &gz).unwrap(), &c, 1e-6);
    close("curvature_mismatch", curvature_mismatch(&gx, &gz).unwrap(), &c, 1e-6);
    close("hausdorff_knn", hausdorff_knn(&gx, &gz).unwrap(), &c, 1e-6);
    // ripser works in single precision
    let [circle, cloud] = [matrix(&c["circle"]), x.clone()].map(|cloud| persistence(cloud.view()).unwrap());
    close("persistence_bottleneck_h0", bottleneck(&circle.h0, &cloud.h0), &c, 1e-5);
    close("persistence_bottleneck_h1", bottleneck(&circle.h1, &cloud.h1), &c, 1e-5);
    assert_eq!(circle.h1.len(), c["diagram_h1"][0].as_array().unwrap().len());
    // A stationary point, computed in single precision, that must not be worse than POT's.
    let gw = gromov_wasserstein(x.view(), z).unwrap();
    assert!(gw <= c["gw"].as_f64().unwrap() * (1.0 + 1e-3), "{gw} {}", c["gw"]);
}

#[test]
fn measures_of_labels_agree_with_scikit_learn() {
    let c = cases();
    let [labels, other] = ["labels", "other_labels"].map(|key| {
        let plain: Vec<f64> = serde_json::from_value(c[key].clone()).unwrap();
        plain.into_iter().map(|l| l as usize).collect::<Vec<_>>()
    });
    close("silhouette", clusters::silhouette(matrix(&c["x"]).view(), &labels).unwrap(), &c, 1e-6);
    close("nmi", clusters::nmi(&labels, &other).unwrap(), &c, 1e-6);
    let blobs = Array2::from_shape_fn((90, 2), |(i, j)| (i % 3 * 10) as f64 + (i * 7 + j * 3) as f64 % 1.3);
    let truth: Vec<usize> = (0..90).map(|i| i % 3).collect();
    let found = clusters::k_means(blobs.view(), 3, 1).unwrap();
    assert!((clusters::nmi(&found, &truth).unwrap() - 1.0).abs() < 1e-12);
}

fn noise(n: usize, d: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    Array2::from_shape_simple_fn((n, d), || random.normal())
}

fn all(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, null: usize) -> MeasureReport {
    let labels = Some((0..x.nrows()).map(|i| i % 3).collect());
    measure(x, y, &MeasureOptions::new().labels(labels).null(null).k(4), &|_, _, _| {}).unwrap()
}

/// For a cloud and itself distances are zero, similarities one, and the p-values minimal.
#[test]
fn a_cloud_is_identical_to_itself() {
    let x = noise(60, 5, 1);
    let report = all(x.view(), x.view(), 19);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    assert_eq!(report.measures.len(), CATALOGUE.len());
    let value = |key: &str| report.measures[key].value;
    for one in [
        "cka_linear",
        "cka_linear_unbiased",
        "cka_rbf",
        "svcca",
        "mutual_knn@4",
        "neighbourhood_jaccard@4",
        "trustworthiness@4",
        "continuity@4",
    ] {
        assert!((value(one) - 1.0).abs() < 1e-9, "{one}: {}", value(one));
    }
    // Square roots of rounding errors: 1e-6.
    for zero in [
        "procrustes_residual",
        "w2_exact",
        "sliced_w2",
        "bures_w2",
        "mmd2_rbf_biased",
        "hausdorff_knn",
        "geodesic_distortion",
        "curvature_mismatch",
        "covariance_log_euclidean",
        "covariance_affine_invariant",
        "persistence_bottleneck_h0",
        "persistence_bottleneck_h1",
        "modality_gap",
        "foscttm",
    ] {
        assert!(value(zero).abs() < 1e-6, "{zero}: {}", value(zero));
    }
    for paired in ["cka_linear", "mutual_knn@4", "procrustes_residual", "geodesic_distortion", "foscttm"] {
        assert_eq!(report.measures[paired].null.as_ref().unwrap().p_value, 0.05, "{paired}");
    }
}

#[test]
fn a_constant_map_scores_chance_or_is_skipped() {
    let (x, same) = (noise(200, 3, 7), Array2::from_elem((200, 3), 0.3));
    let report = all(x.view(), same.view(), 0);
    let value = |key: &str| report.measures[key].value;
    assert_eq!(value("foscttm"), 0.5);
    // Each of 800 neighbours is shared with probability 4 / 199: 16 on average, with a standard deviation of
    // 4.
    assert!(value("mutual_knn@4") < 36.0 / 800.0, "{}", value("mutual_knn@4"));
    // The neighbours in the constant cloud are drawn at random: the mean of 800 ranks up to 199 has a
    // standard deviation of 2, which is 0.01 here.
    assert!((value("trustworthiness@4") - 0.5).abs() < 0.04, "{}", value("trustworthiness@4"));
    // All ranks in the constant cloud are 100, the mean of 1 to 199: 1 - 2 (100 - 4) / (400 - 12 - 1).
    assert!((value("continuity@4") - (1.0 - 192.0 / 387.0)).abs() < 1e-12, "{}", value("continuity@4"));
    for refused in ["cka_linear", "svcca", "procrustes_residual", "gw", "intrinsic_dimension_b"] {
        assert!(report.skipped.contains_key(refused), "{refused} of a constant map");
    }
}

/// Twenty centred rows span 19 dimensions, so axes of two unrelated clouds that are more than 19 together
/// have directions in common: svcca was 1 for as many rows as columns. Of 19 axes 18 hold 99 % of the
/// variance here.
#[test]
fn svcca_of_too_few_rows_is_refused_with_the_number_of_forced_correlations() {
    let only = MeasureOptions::new().only(["svcca"]);
    let of = |n, d| measure(noise(n, d, 1).view(), noise(n, d, 2).view(), &only, &|_, _, _| {}).unwrap();
    let wide = of(20, 40);
    let reason = &wide.skipped["svcca"];
    assert!(reason.contains("more rows than the 18 + 18 axes") && reason.contains("got 20"), "{reason}");
    assert!(reason.contains("17 of 18 correlations are 1 whatever the data"), "{reason}");
    assert!(of(20, 12).skipped["svcca"].contains("whatever the data"));
    assert!(of(40, 5).measures["svcca"].value < 0.9);
}

#[test]
fn extreme_clouds_are_measured_and_invalid_ones_are_errors() {
    let x = noise(40, 3, 8);
    let huge = all((&x * 1e30).view(), (&x.slice_axis(Axis(0), Slice::new(0, None, -1)) * 1e30).view(), 0);
    assert!(huge.measures.values().all(|found| found.value.is_finite()));
    assert!(huge.skipped.is_empty(), "{:?}", huge.skipped);
    let narrow = all(x.view(), noise(40, 2, 9).view(), 3);
    assert!(narrow.skipped["w2_exact"].contains("one common space"));
    assert!(narrow.measures.contains_key("gw") && narrow.measures["gw"].null.is_some());
    let request = MeasureOptions::default();
    let refuse = |a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, request: &MeasureOptions| {
        measure(a, b, request, &|_, _, _| {}).unwrap_err().to_string()
    };
    let fewer = measure(x.view(), noise(30, 3, 9).view(), &request, &|_, _, _| {}).unwrap();
    assert!(fewer.skipped["cka_linear"].contains("paired rows") && fewer.measures.contains_key("mmd2_rbf"));
    assert!(refuse(x.slice_axis(Axis(0), Slice::from(..1)), x.view(), &request).contains("at least 2 rows"));
    let mut bad = x.clone();
    bad[[7, 1]] = f64::INFINITY;
    assert!(refuse(x.view(), bad.view(), &request).contains("row 7"));
    let odd = request.only(["cka_quadratic"]);
    assert!(refuse(x.view(), x.view(), &odd).contains("cka_linear"));
}
