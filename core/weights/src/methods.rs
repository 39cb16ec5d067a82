//! The merges that need no alignment of hidden units.

use chiasm_graph::Graph;

use crate::models::Models;
use crate::{Error, Result, WeightValues};

/// Below this angle in radians the arc between two weights is computed as a straight line.
const STRAIGHT: f64 = 1e-4;

/// Averages models: `sum_i shares_i w_i / sum_i shares_i` for every weight (Wortsman et al. 2022, section 2).
///
/// # Errors
/// When there are fewer than two models or their architectures differ, or the shares are not one non-negative
/// number for each model with a positive sum.
pub fn average(models: &[Graph], shares: &[f64]) -> Result<Graph> {
    let models = Models::new(models)?;
    let total = check_shares(shares, models.count())?;
    models.merged(|_, values| {
        Ok(each(values[0].len(), |at| {
            values.iter().zip(shares).map(|(own, share)| share * f64::from(own[at])).sum::<f64>() / total
        }))
    })
}

/// Merges two models along the arc between each pair of weights, seen as vectors (Shoemake 1985, section
/// 3.3):
///
/// ```text
/// w = |..| sin((1 - t) a) / sin(a) * u_1 + sin(t a) / sin(a) * u_2,    a the angle between u_1 and u_2
/// ```
///
/// `u_i` are the weights at length one. The length of the result is interpolated linearly. `t` is 0 for the
/// first model and 1 for the second.
///
/// # Errors
/// When the architectures differ or `t` is not in 0..=1.
pub fn slerp(first: &Graph, second: &Graph, t: f64) -> Result<Graph> {
    if !(0.0..=1.0).contains(&t) {
        return Err(Error::argument("t", "a number from 0 to 1", t));
    }
    Models::new([first, second])?.merged(|_, values| {
        let [a, b] = [values[0], values[1]];
        let length = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let (la, lb) = (length(a), length(b));
        let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let angle = if la > 0.0 && lb > 0.0 { (dot / (la * lb)).clamp(-1.0, 1.0).acos() } else { 0.0 };
        let sine = angle.sin();
        if angle < STRAIGHT || sine < STRAIGHT {
            return Ok(each(a.len(), |at| (1.0 - t) * f64::from(a[at]) + t * f64::from(b[at])));
        }
        let whole = (1.0 - t) * la + t * lb;
        let (p, q) = (((1.0 - t) * angle).sin() / sine * whole / la, (t * angle).sin() / sine * whole / lb);
        Ok(each(a.len(), |at| p * f64::from(a[at]) + q * f64::from(b[at])))
    })
}

/// Adds the changes that models make to a base model, after removing what conflicts (TIES, Yadav et al. 2023,
/// algorithm 1): of each model's change of a weight the `density` share of the largest entries is kept, the
/// sign of every entry is that with the larger sum, and the mean of the changes with that sign is added
/// `scale` times.
///
/// # Errors
/// When the architectures differ, there is no model, `density` is not in (0, 1] or `scale` is not finite.
pub fn ties(base: &Graph, models: &[Graph], density: f64, scale: f64) -> Result<Graph> {
    if !(density > 0.0 && density <= 1.0) {
        return Err(Error::argument("density", "a number above 0, at most 1", density));
    }
    if !scale.is_finite() {
        return Err(Error::argument("scale", "a finite number", scale));
    }
    Models::new(std::iter::once(base).chain(models))?.merged(|_, values| {
        let (base, others) = (values[0], &values[1..]);
        let changes: Vec<Vec<f64>> = others.iter().map(|own| trimmed(base, own, density)).collect();
        Ok(each(base.len(), |at| {
            let sum: f64 = changes.iter().map(|change| change[at]).sum();
            let agreeing = changes.iter().map(|change| change[at]).filter(|change| change * sum > 0.0);
            let (count, total) = agreeing.fold((0.0, 0.0), |(n, sum), change| (n + 1.0, sum + change));
            f64::from(base[at]) + if count > 0.0 { scale * total / count } else { 0.0 }
        }))
    })
}

/// The change from a base weight with all but the largest entries set to zero.
fn trimmed(base: &[f32], own: &[f32], density: f64) -> Vec<f64> {
    let mut change: Vec<f64> = own.iter().zip(base).map(|(own, base)| f64::from(own - base)).collect();
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a share of a length")]
    let kept = ((change.len() as f64 * density).round() as usize).clamp(1, change.len().max(1));
    if kept < change.len() {
        let mut sizes: Vec<f64> = change.iter().map(|x| x.abs()).collect();
        let (_, least, _) = sizes.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
        let least = *least;
        change.iter_mut().filter(|x| x.abs() < least).for_each(|x| *x = 0.0);
    }
    change
}

/// Averages models with the Fisher information of each element as its weight (Matena and Raffel 2022,
/// equation 4): `sum_i shares_i F_i w_i / sum_i shares_i F_i`. `information` holds the diagonal of each
/// model's Fisher matrix; elements and weights without any are averaged by the shares.
///
/// # Errors
/// As [`average`], or when the information of a weight is negative, not finite, or of another length.
pub fn fisher(models: &[Graph], information: &[WeightValues], shares: &[f64]) -> Result<Graph> {
    let models = Models::new(models)?;
    check_shares(shares, models.count())?;
    if information.len() != models.count() {
        let expected = format!("one for each of {} models", models.count());
        return Err(Error::argument("information", expected, information.len()));
    }
    models.merged(|name, values| {
        let length = values[0].len();
        let known: Vec<Option<&Vec<f32>>> = information.iter().map(|own| own.get(name)).collect();
        for own in known.iter().flatten() {
            if own.len() != length || own.iter().any(|x| !(*x >= 0.0 && x.is_finite())) {
                let expected = format!("{length} finite numbers of at least 0 for `{name}`");
                return Err(Error::argument("information", expected, format!("{} numbers", own.len())));
            }
        }
        Ok(each(length, |at| {
            let informed = |model: usize| shares[model] * known[model].map_or(0.0, |own| f64::from(own[at]));
            let mean = |weight: &dyn Fn(usize) -> f64| {
                let total: f64 = (0..values.len()).map(weight).sum();
                let sum: f64 = (0..values.len()).map(|i| weight(i) * f64::from(values[i][at])).sum();
                (total > 0.0).then(|| sum / total)
            };
            mean(&informed).or_else(|| mean(&|model| shares[model])).unwrap_or_default()
        }))
    })
}

fn check_shares(shares: &[f64], count: usize) -> Result<f64> {
    let total: f64 = shares.iter().sum();
    let valid = shares.iter().all(|share| *share >= 0.0 && share.is_finite());
    if shares.len() != count || !valid || total <= 0.0 {
        let expected = format!("{count} numbers of at least 0 with a positive sum");
        return Err(Error::argument("shares", expected, format!("{shares:?}")));
    }
    Ok(total)
}

#[expect(clippy::cast_possible_truncation, reason = "weights are 32-bit floats")]
fn each(length: usize, value: impl Fn(usize) -> f64) -> Vec<f32> {
    (0..length).map(|at| value(at) as f32).collect()
}
