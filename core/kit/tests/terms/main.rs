//! Every term against its formula in double precision, its derivative against finite differences of that
//! formula, and a batch with absent rows against the batch without them, in the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod formulas;
mod harness;
mod transport;

use chiasm_kit::terms::{TermSettings, TermWeights};
use chiasm_plugin::Parameters;
use harness::{Batch, Case, clouds};

/// All names, from the parameters of a recipe.
fn names() -> Vec<String> {
    TermWeights::list().into_iter().map(|parameter| parameter.name).collect()
}

/// 1e-4 of the value or of 0.01 is the rounding of single precision in sums over some hundred entries with
/// cancellation; the Chebyshev series of the covariance term, and differences of transport values after a
/// fixed number of steps, are good to 1e-3.
#[test]
fn values_equal_the_formulas_in_double_precision() {
    for (name, formula) in formulas::all() {
        let case = Case::new(name);
        let expected = formula(&case);
        let got = case.value();
        let coarse = ["covariance", "sinkhorn_divergence", "plan_matching", "gromov_wasserstein"];
        let tolerance = if coarse.contains(&name) { 1e-3 } else { 1e-4 };
        assert!(
            (got - expected).abs() < tolerance * expected.abs().max(0.01),
            "{name}: {got}, expected {expected}"
        );
    }
}

/// Maps that are evaluated on the rows that a term reads, against the formulas with the images of all rows;
/// the tolerance is that above.
#[test]
fn maps_are_evaluated_on_the_rows_that_a_term_reads() {
    for (name, formula) in formulas::all() {
        if !["barycentric", "cycle"].contains(&name) {
            continue;
        }
        let mut case = Case::new(name);
        case.maps_parts = true;
        let got = case.value();
        case.mapped = case.images();
        let expected = formula(&case);
        assert!((got - expected).abs() < 1e-4 * expected, "{name}: {got}, expected {expected}");
        let masked = case.value_masked(3);
        let short = case.without_last(3).value();
        assert!((short - masked).abs() < 2e-4 * short, "{name}: {masked}, expected {short}");
    }
}

/// The derivative along random directions of the vectors after the maps. Quantities that a term's
/// documentation holds constant are constant in the formula. 1 % covers the rounding of single precision in
/// the derivative and the kinks of hinges and nearest neighbours between the two points of a difference; the
/// plan of Gromov-Wasserstein has made only five steps, so its marginals are good to 3 %.
#[test]
fn derivatives_equal_finite_differences_of_the_formulas() {
    for (name, formula) in formulas::all() {
        if ["reconstruction", "cycle", "smoothness", "structure"].contains(&name) {
            continue; // these are functions of the networks' weights; see below
        }
        let case = Case::new(name);
        let gradient = case.gradient();
        let tolerance = if name == "gromov_wasserstein" { 0.03 } else { 0.01 };
        for seed in 0..3 {
            let direction = clouds(100 + seed);
            let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| (g * d).sum()).sum();
            let step = 1e-4;
            let [up, down] = [step, -step].map(|step| formula(&case.moved(&direction, step)));
            let expected = (up - down) / (2.0 * step);
            assert!(
                (along - expected).abs() < tolerance * expected.abs().max(0.02),
                "{name}: {along}, expected {expected}"
            );
        }
    }
}

/// Rows that lack both modalities, or have no weight, count for nothing: the value is that of the batch
/// without them. Scaling steps and sums differ in their order only.
#[test]
fn absent_rows_count_for_nothing() {
    for name in names() {
        let case = Case::new(&name);
        let short = case.without_last(3).value();
        let masked = case.value_masked(3);
        assert!((short - masked).abs() < 2e-4 * short.abs().max(0.01), "{name}: {masked}, expected {short}");
    }
}

#[test]
fn every_term_has_a_derivative_in_the_maps() {
    for name in names() {
        let case = Case::new(&name);
        let gradient = case.weight_gradient();
        assert!(gradient > 0.0 && gradient.is_finite(), "{name}: {gradient}");
    }
}

#[test]
fn terms_of_equal_clouds_are_zero() {
    for name in [
        "paired_mse",
        "sinkhorn_divergence",
        "gromov_wasserstein",
        "neighbourhood",
        "distances",
        "covariance",
        "geodesics",
        "curvature",
    ] {
        let mut case = Case::new(name);
        case.mapped[1] = case.mapped[0].clone();
        // the plan of Gromov-Wasserstein is entropic, so a little mass is not on the diagonal
        case.settings.epsilon = 0.02;
        let got = case.value();
        let tolerance = if name == "gromov_wasserstein" { 0.01 } else { 1e-4 };
        assert!(got.abs() < tolerance, "{name}: {got}");
    }
}

#[test]
fn recipes_set_weights_over_the_defaults() {
    let defaults = TermWeights::default().infonce(1.0).ot(0.5);
    let weights = TermWeights::default().ot(0.0).cycle(2.0).or(defaults);
    assert_eq!(weights.active(), [("infonce", 1.0), ("cycle", 2.0)]);
    assert!(weights.needs_decoders() && !weights.uses_unpaired());
    let settings = TermSettings::default();
    assert!(settings.epsilon > 0.0 && Batch::ROWS <= settings.structure_rows);
}
