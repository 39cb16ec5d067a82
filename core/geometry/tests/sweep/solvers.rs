//! The solvers of the sweep whose references are POT's (`solvers.py`): what they return, and the objectives
//! of their plans in double precision.

use super::Outcome;
use chiasm_geometry::discrepancy::weighted_sliced_w2;
use chiasm_geometry::squared_distances;
use chiasm_transport::{
    Cost, DELIBERATE_STARTS, Error, GromovWasserstein, Marginals, Sinkhorn, SolverLimits, Space, StopReason,
    exact::exact_partial, low_rank,
};
use ndarray::{Array1, Array2, Axis};
use serde_json::Value;

type Found = Result<Vec<(&'static str, Outcome)>, Error>;

/// Points and weights of a case.
pub struct Problem<'p> {
    pub case: &'p Value,
    pub x: &'p Array2<f64>,
    pub y: &'p Array2<f64>,
    pub a: &'p [f64],
    pub b: &'p [f64],
    /// The linear cost of fgw.
    pub costs: Option<Array2<f64>>,
}

impl Problem<'_> {
    /// Solves the problem of a case. `None` for a case of another kind.
    pub fn solve(&self) -> Option<Vec<(&'static str, Outcome)>> {
        let (found, keys): (Found, &[&str]) = match self.case["case"].as_str()? {
            "unbalanced" => (self.unbalanced(), &["unbalanced", "unbalanced, cost", "unbalanced, mass"]),
            "partial" => (self.partial(), &["partial"]),
            "entropic partial" => (self.entropic_partial(), &["entropic partial", "entropic partial, cost"]),
            "low rank" => (self.low_rank(), &["low rank"]),
            "sliced" => (self.sliced(), &["sliced, weighted"]),
            "gw" => (self.gromov("gw"), &["gw"]),
            "fgw" => (self.gromov("fgw"), &["fgw"]),
            "entropic gw" => (self.gromov("entropic gw"), &["entropic gw"]),
            _ => return None,
        };
        Some(found.unwrap_or_else(|_| keys.iter().map(|&key| (key, Outcome::Refused)).collect()))
    }

    fn number(&self, key: &str) -> f64 {
        self.case[key].as_f64().unwrap()
    }

    fn costs(&self) -> Array2<f64> {
        squared_distances(self.x.view(), self.y.view()).unwrap()
    }

    /// `KL(P | a b^T)`.
    fn entropy(&self, plan: &Array2<f64>) -> f64 {
        let outer = plan.indexed_iter().map(|((i, j), p)| (*p, self.a[i] * self.b[j]));
        divergence(outer)
    }

    /// Solves an entropic problem; `more` is the part of the objective besides the cost and the entropy.
    fn entropic(
        &self,
        marginals: Marginals,
        more: impl Fn(&Array2<f64>) -> f64,
    ) -> Result<Option<[f64; 3]>, Error> {
        let eps = self.number("eps");
        let cost = Cost::squared_euclidean(self.x.view(), self.y.view())?;
        let coupling = Sinkhorn::new(eps).marginals(marginals).solve(&cost, self.a, self.b)?;
        let report = coupling.report;
        if report.stop != StopReason::Converged || report.rounding > 1e-3 {
            return Ok(None);
        }
        let plan = coupling.into_plan().mapv(f64::from);
        let value = (&plan * &self.costs()).sum() + eps * self.entropy(&plan) + more(&plan);
        Ok(Some([value, report.transport_cost, report.mass]))
    }

    fn unbalanced(&self) -> Found {
        let rho = self.number("rho");
        let penalty = |plan: &Array2<f64>| {
            let side = |axis, weights: &[f64]| {
                let sums = plan.sum_axis(Axis(axis));
                rho * divergence(sums.into_iter().zip(weights.iter().copied()))
            };
            side(1, self.a) + side(0, self.b)
        };
        let found = self.entropic(Marginals::Unbalanced { source: rho, target: rho }, penalty)?;
        let value = |k: usize| found.map_or(Outcome::Warned, |found| Outcome::Value(found[k]));
        Ok(vec![("unbalanced", value(0)), ("unbalanced, cost", value(1)), ("unbalanced, mass", value(2))])
    }

    fn entropic_partial(&self) -> Found {
        let mass = self.number("mass");
        let found = self.entropic(Marginals::Partial { mass }, |plan| {
            // A plan that breaks a constraint has no value.
            if (plan.sum() - mass).abs() < 1e-5 && self.over(plan) < 1e-5 { 0.0 } else { f64::NAN }
        })?;
        let value = |k: usize| found.map_or(Outcome::Warned, |found| Outcome::Value(found[k]));
        Ok(vec![("entropic partial", value(0)), ("entropic partial, cost", value(1))])
    }

    /// The mass by which the marginals of a plan exceed the weights.
    fn over(&self, plan: &Array2<f64>) -> f64 {
        let over = |axis, weights: &[f64]| -> f64 {
            plan.sum_axis(Axis(axis)).iter().zip(weights).map(|(sum, w)| (sum - w).max(0.0)).sum()
        };
        over(1, self.a) + over(0, self.b)
    }

    fn partial(&self) -> Found {
        let (mass, cost) = (self.number("mass"), self.costs());
        let found = exact_partial(cost.view(), self.a, self.b, mass, &SolverLimits::new(100_000))?;
        if found.stop != StopReason::Converged {
            return Ok(vec![("partial", Outcome::Warned)]);
        }
        let plan = found.plan();
        let right = (plan.sum() - mass).abs() < 1e-9 && self.over(&plan) < 1e-9;
        Ok(vec![("partial", Outcome::Value(if right { found.transport_cost } else { f64::NAN }))])
    }

    fn low_rank(&self) -> Found {
        let rank = self.case["rank"].as_u64().unwrap() as usize;
        let centre = self.x.mean_axis(Axis(0)).unwrap();
        let single = |z: &Array2<f64>| (z - &centre).mapv(|v| v as f32);
        let (x, y) = (single(self.x), single(self.y));
        let limits = SolverLimits::new(200);
        let found = low_rank(x.view(), y.view(), (self.a, self.b), rank, 1e-4, &limits)?;
        let latent = found.target.ncols() as f64;
        let plan = found.source.mapv(f64::from).dot(&found.target.t().mapv(f64::from)) * latent;
        let value = (&plan * &self.costs()).sum();
        let off = |axis, weights: &[f64]| -> f64 {
            plan.sum_axis(Axis(axis)).iter().zip(weights).map(|(sum, w)| (sum - w).abs()).sum()
        };
        let right =
            (found.transport_cost - value).abs() <= 1e-3 * value && off(1, self.a) + off(0, self.b) < 1e-4;
        Ok(vec![("low rank", Outcome::Value(if right { value } else { f64::NAN }))])
    }

    fn gromov(&self, key: &'static str) -> Found {
        let alpha = self.number("alpha");
        // The linear cost of fgw is given in single precision, so that problem is in units of the distances.
        let (eps, unit) = (self.number("eps"), if key == "fgw" { self.number("unit") } else { 1.0 });
        let inner = |z: &Array2<f64>| {
            let squares = squared_distances(z.view(), z.view()).unwrap();
            squares.mapv(|d| if self.number("power") == 1.0 { d.sqrt() } else { d } / unit)
        };
        let (dx, dy) = (inner(self.x), inner(self.y));
        let linear = self.costs.as_ref().filter(|_| key == "fgw").map(|costs| costs / unit / unit);
        let space = |d: &Array2<f64>| Space::matrix(d.mapv(|d| d as f32).view());
        let mut solver = match key {
            "entropic gw" => GromovWasserstein::entropic(eps),
            _ => GromovWasserstein::conditional_gradient(),
        };
        solver = solver.iterations(1000).flat_objective(1e-6).starts(DELIBERATE_STARTS);
        if let Some(linear) = &linear {
            solver = solver.fused(linear.mapv(|c| c as f32).view(), alpha);
        }
        let found = solver.solve(&space(&dx)?, &space(&dy)?, self.a, self.b)?;
        if !matches!(found.stop, StopReason::Converged | StopReason::Flat) {
            return Ok(vec![(key, Outcome::Warned)]);
        }
        let plan = found.plan.mapv(f64::from);
        let (rows, columns) = (plan.sum_axis(Axis(1)), plan.sum_axis(Axis(0)));
        let square = |d: &Array2<f64>, w: &Array1<f64>| w.dot(&(d * d).dot(w));
        let apart = square(&dx, &rows) + square(&dy, &columns) - 2.0 * (dx.dot(&plan).dot(&dy) * &plan).sum();
        let value = linear.map_or(apart, |c| alpha * apart + (1.0 - alpha) * (&plan * &c).sum());
        let off = |sums: &Array1<f64>, w: &[f64]| sums.iter().zip(w).map(|(s, w)| (s - w).abs()).sum::<f64>();
        let entropy = if key == "entropic gw" { eps * self.entropy(&plan) } else { 0.0 };
        // Terms as large as the squares of the distances cancel in single precision.
        let largest = dx.iter().chain(&dy).fold(0.0_f64, |top, d| top.max(*d));
        let right = (found.value - value).abs() <= 1e-5 * value + 1e-6 * largest * largest
            && off(&rows, self.a) + off(&columns, self.b) < 2e-5;
        Ok(vec![(key, Outcome::Value(if right { (value + entropy) * unit * unit } else { f64::NAN }))])
    }

    fn sliced(&self) -> Found {
        let axes: Vec<f64> =
            self.case["axes"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let axes = Array2::from_shape_vec((axes.len() / self.x.ncols(), self.x.ncols()), axes).unwrap();
        let found = if self.case["single"] == true {
            let narrow = |z: &Array2<f64>| z.mapv(|v| v as f32);
            let (x, y) = (narrow(self.x), narrow(self.y));
            weighted_sliced_w2(x.view(), self.a, y.view(), self.b, axes.view())
        } else {
            weighted_sliced_w2(self.x.view(), self.a, self.y.view(), self.b, axes.view())
        };
        Ok(vec![("sliced, weighted", found.map_or(Outcome::Refused, Outcome::Value))])
    }
}

/// `sum p ln(p / q) - p + q`.
fn divergence(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    pairs.map(|(p, q)| if p > 0.0 { p * (p / q).ln() - p + q } else { q }).sum()
}
