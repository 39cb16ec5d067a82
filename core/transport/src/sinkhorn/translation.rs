//! The translation-invariant step of unbalanced transport (Séjourné, Vialard and Peyré 2022, arXiv
//! 2201.00730).
//!
//! A plan does not change if a number is added to all source potentials and subtracted from all target
//! potentials, but with penalties the dual does: it contains `-rho_x A - rho_y B` with `A = sum_i a_i
//! exp(-f_i / rho_x)` and `B = sum_j b_j exp(-g_j / rho_y)`, the masses that both sides ask for. The best
//! number to add to f is `rho_x rho_y / (rho_x + rho_y) ln(A / B)`, after which both ask for the same mass.
//! Plain iterations approach this by `1 - tau_x tau_y` of the distance at a time, which takes thousands of
//! them where the penalties are far above epsilon; the step is exact and follows each of them.

use super::engine::ScalingEngine;
use super::rule::MarginalRule;

/// Sets the scalings `v` of a plain iteration, and translates the potentials. `columns` are the column sums
/// of its sweep, after which the mass of the plan is what the sources ask for.
pub(super) fn step(
    engine: &mut ScalingEngine<'_>,
    columns: &[f64],
    v: Vec<f32>,
    [source, target]: [&mut MarginalRule; 2],
) {
    // Without penalties the dual does not depend on the translation.
    let softness = source.softness() + target.softness();
    if softness == 0.0 {
        engine.v = v;
        return;
    }
    let of_source = engine.moved(columns);
    engine.v = v;
    let points = engine.b.iter().zip(&engine.psi).zip(&engine.v).filter(|((b, _), _)| **b > 0.0);
    let of_target: f64 = points.map(|((b, &psi), &v)| b * target.demand(psi, v)).sum();
    let shift = (of_source / of_target).ln() / softness;
    if shift.is_finite() {
        engine.translation += shift;
        source.offset = engine.translation;
        target.offset = -engine.translation;
    }
}
