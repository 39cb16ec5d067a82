//! Gromov-Wasserstein, partial and unbalanced transport on 100 random problems each, compared with POT.
//!
//! ```text
//! cargo bench -p chiasm-transport --profile dev --bench random -- --peer PYTHON --sizes 100
//! ```
//!
//! `--sizes` is the number of problems, and after a comma the number of points of each side. Without it they
//! vary in size (20 to 300 points, entropic ones to 100 a side). They vary in clouds (normal, clustered,
//! uniform), weights (equal or random), regularisation and mass. Half of the Gromov-Wasserstein and of the
//! partial problems are entropic. Both sides use their defaults and return a dense plan; this crate's are
//! those of the command line. Gromov-Wasserstein without entropy is also solved from POT's start alone, since
//! the default is six starts. The sides run alternately, and the fastest of the rounds counts. The
//! objectives of both plans are computed here in double precision.
//!
//! The result is the number of problems that this crate solves *slower* (and not better) and those with a
//! *worse* objective: above POT's by more than 1e-5 of its cost and its entropy, at marginals no further off
//! than POT's, whose Gromov-Wasserstein plans are scaled to the weights first.
//! `random_problems.py`, which calls POT, lies beside this file.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod peers;

use chiasm_transport::{
    Cost, DELIBERATE_STARTS, Error, GromovWasserstein, Marginals, Sinkhorn, SolverLimits, Space,
    exact_partial,
};
use ndarray::{Array1, Array2, Axis};
use peers::{BenchOptions, PeerProcess, median, timed};
use serde_json::json;

/// Objectives that differ by less than this share are equal: plans are in single precision.
const EQUAL: f64 = 1e-5;
/// Marginals of plans may be off by this much, or as POT's.
const MARGINALS: f64 = 2e-5;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Gw,
    EntropicGw,
    Partial,
    EntropicPartial,
    Unbalanced,
    /// The problems of `Gw`, from POT's start alone.
    GwFromOneStart,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gw => "gw",
            Self::EntropicGw => "entropic gw",
            Self::Partial => "partial",
            Self::EntropicPartial => "entropic partial",
            Self::Unbalanced => "unbalanced",
            Self::GwFromOneStart => "one start, gw",
        }
    }

    fn is_gromov(self) -> bool {
        matches!(self, Self::Gw | Self::EntropicGw | Self::GwFromOneStart)
    }
}

struct Problem {
    kind: Kind,
    a: Array1<f64>,
    b: Array1<f64>,
    /// The costs between the points; for Gromov-Wasserstein the distances within each side.
    costs: Vec<Array2<f64>>,
    epsilon: f64,
    /// The penalty, or the mass.
    bound: f64,
}

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn pick(&mut self, choices: &[f64]) -> f64 {
        choices[(self.uniform() * choices.len() as f64) as usize]
    }

    fn cloud(&mut self, n: usize, d: usize) -> Array2<f64> {
        match (self.uniform() * 3.0) as usize {
            0 => Array2::from_shape_simple_fn((n, d), || self.normal()),
            1 => Array2::from_shape_simple_fn((n, d), || 2.0 * self.uniform()),
            _ => {
                let centres = Array2::from_shape_simple_fn((4, d), || 3.0 * self.normal());
                Array2::from_shape_fn((n, d), |(i, k)| centres[[i % 4, k]] + 0.5 * self.normal())
            }
        }
    }

    fn weights(&mut self, n: usize, equal: bool) -> Array1<f64> {
        let w: Array1<f64> = (0..n).map(|_| if equal { 1.0 } else { 0.2 + self.uniform() }).collect();
        let sum = w.sum();
        w / sum
    }
}

/// Distances between the rows, squared where `squared` says so.
fn distances(x: &Array2<f64>, y: &Array2<f64>, squared: bool) -> Array2<f64> {
    let square =
        |i: usize, j: usize| -> f64 { x.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b) * (a - b)).sum() };
    Array2::from_shape_fn(
        (x.nrows(), y.nrows()),
        |(i, j)| {
            if squared { square(i, j) } else { square(i, j).sqrt() }
        },
    )
}

fn problem(kind: Kind, number: u64, points: Option<usize>) -> Problem {
    let drawn = if kind == Kind::GwFromOneStart { Kind::Gw } else { kind };
    let mut draw = Draw(number * 1000 + drawn as u64);
    // POT takes seconds for larger entropic ones.
    let entropic = matches!(kind, Kind::EntropicGw | Kind::EntropicPartial);
    let sizes: &[f64] = if entropic { &[20.0, 50.0, 100.0] } else { &[20.0, 50.0, 100.0, 200.0, 300.0] };
    let fixed = points.map(|points| [points as f64]);
    let sizes = fixed.as_ref().map_or(sizes, |fixed| fixed.as_slice());
    let n = draw.pick(sizes) as usize;
    let m = if draw.uniform() < 0.5 { n } else { draw.pick(sizes) as usize };
    let squared = draw.uniform() < 0.5;
    let equal = draw.uniform() < 0.5;
    let (a, b) = (draw.weights(n, equal), draw.weights(m, equal));
    if kind.is_gromov() {
        let (x, y) = (draw.cloud(n, 5), draw.cloud(m, 3));
        let scaled = |x: &Array2<f64>| {
            let d = distances(x, x, squared);
            let top = d.iter().fold(0.0_f64, |top, d| top.max(*d));
            d / top
        };
        let epsilon = draw.pick(&[5e-3, 1e-2, 5e-2]);
        return Problem { kind, a, b, costs: vec![scaled(&x), scaled(&y)], epsilon, bound: 0.0 };
    }
    let (x, y) = (draw.cloud(n, 4), draw.cloud(m, 4));
    let cost = distances(&x, &y, squared);
    let mean = cost.mean().unwrap();
    let (epsilon, bound) = match kind {
        Kind::Unbalanced => (mean * draw.pick(&[0.02, 0.05, 0.2]), mean * draw.pick(&[0.1, 1.0, 10.0])),
        _ => (mean * draw.pick(&[0.02, 0.05, 0.2]), draw.pick(&[0.3, 0.6, 0.9])),
    };
    Problem { kind, a, b, costs: vec![cost], epsilon, bound }
}

impl Problem {
    fn solve(&self) -> Result<Array2<f64>, Error> {
        let (a, b) = (self.a.as_slice().unwrap(), self.b.as_slice().unwrap());
        match self.kind {
            Kind::Gw | Kind::EntropicGw | Kind::GwFromOneStart => {
                let solver = match self.kind {
                    Kind::EntropicGw => GromovWasserstein::entropic(self.epsilon),
                    _ => GromovWasserstein::conditional_gradient(),
                };
                let starts = if self.kind == Kind::GwFromOneStart { 1 } else { DELIBERATE_STARTS };
                let solver = solver.iterations(1000).flat_objective(1e-6).starts(starts);
                let [x, y] =
                    [0, 1].map(|side| Space::matrix(self.costs[side].mapv(|d| d as f32).view()).unwrap());
                Ok(solver.solve(&x, &y, a, b)?.plan.mapv(f64::from))
            }
            Kind::Partial => {
                let limits = SolverLimits::new(usize::MAX);
                Ok(exact_partial(self.costs[0].view(), a, b, self.bound, &limits)?.plan())
            }
            Kind::EntropicPartial => {
                // POT's entropy is relative to equal weights, this crate's to the product of the weights.
                let (ln_a, ln_b) = (self.a.mapv(f64::ln), self.b.mapv(f64::ln));
                let shift = (ln_a.insert_axis(Axis(1)) + &ln_b) * self.epsilon;
                let cost = &self.costs[0] + &shift;
                let solver = Sinkhorn::new(self.epsilon).marginals(Marginals::Partial { mass: self.bound });
                let cost = Cost::matrix64(cost.view()).unwrap();
                Ok(solver.solve(&cost, a, b)?.into_plan().mapv(f64::from))
            }
            Kind::Unbalanced => {
                let marginals = Marginals::Unbalanced { source: self.bound, target: self.bound };
                let cost = Cost::matrix64(self.costs[0].view()).unwrap();
                let solver = Sinkhorn::new(self.epsilon).marginals(marginals);
                Ok(solver.solve(&cost, a, b)?.into_plan().mapv(f64::from))
            }
        }
    }

    /// The entropy in the objective, times epsilon; zero where there is none.
    fn entropy(&self, plan: &Array2<f64>) -> f64 {
        let offset = match self.kind {
            Kind::EntropicGw => 0.0,
            Kind::EntropicPartial => 1.0,
            _ => return 0.0,
        };
        let entries = plan.iter().filter(|p| **p > 0.0);
        self.epsilon * entries.map(|p| p * (p.ln() - offset)).sum::<f64>()
    }

    /// What the problem minimises, at a plan.
    fn objective(&self, plan: &Array2<f64>) -> f64 {
        let (rows, columns) = (plan.sum_axis(Axis(1)), plan.sum_axis(Axis(0)));
        let divergence = |p: &Array1<f64>, q: &Array1<f64>| -> f64 {
            let terms = p.iter().zip(q).map(|(p, q)| if *p > 0.0 { p * (p / q).ln() - p + q } else { *q });
            terms.sum()
        };
        match self.kind {
            Kind::Gw | Kind::EntropicGw | Kind::GwFromOneStart => {
                let (x, y) = (&self.costs[0], &self.costs[1]);
                let square = |d: &Array2<f64>, w: &Array1<f64>| w.dot(&(d * d).dot(w));
                let both = (x.dot(plan).dot(y) * plan).sum();
                let value = square(x, &rows) + square(y, &columns) - 2.0 * both;
                value + self.entropy(plan)
            }
            Kind::Partial => (plan * &self.costs[0]).sum(),
            Kind::EntropicPartial => (plan * &self.costs[0]).sum() + self.entropy(plan),
            Kind::Unbalanced => {
                let outer = self.a.view().insert_axis(Axis(1)).dot(&self.b.view().insert_axis(Axis(0)));
                let flat = |z: &Array2<f64>| z.iter().copied().collect::<Array1<f64>>();
                (plan * &self.costs[0]).sum()
                    + self.epsilon * divergence(&flat(plan), &flat(&outer))
                    + self.bound * (divergence(&rows, &self.a) + divergence(&columns, &self.b))
            }
        }
    }

    /// How far the plan is from its constraints, in L1 norm.
    fn violation(&self, plan: &Array2<f64>) -> f64 {
        let (rows, columns) = (plan.sum_axis(Axis(1)), plan.sum_axis(Axis(0)));
        let off = |sums: &Array1<f64>, w: &Array1<f64>| (sums - w).mapv(f64::abs).sum();
        let over = |sums: &Array1<f64>, w: &Array1<f64>| (sums - w).mapv(|d| d.max(0.0)).sum();
        match self.kind {
            Kind::Gw | Kind::EntropicGw | Kind::GwFromOneStart => {
                off(&rows, &self.a) + off(&columns, &self.b)
            }
            Kind::Unbalanced => 0.0,
            _ => over(&rows, &self.a) + over(&columns, &self.b) + (plan.sum() - self.bound).abs(),
        }
    }

    /// Scales a plan between the weights to them, since a plan that misses them may be below the optimum.
    fn feasible(&self, plan: &Array2<f64>) -> Array2<f64> {
        let mut plan = plan.clone();
        if self.kind.is_gromov() {
            for _ in 0..100 {
                for (axis, weights) in [(1, &self.a), (0, &self.b)] {
                    let factors = weights / &plan.sum_axis(Axis(axis)).mapv(|sum| sum.max(f64::MIN_POSITIVE));
                    plan *= &factors.insert_axis(Axis(axis));
                }
            }
        }
        plan
    }

    /// Writes the problem for POT and returns the line that describes it.
    fn written(&self, folder: &std::path::Path) -> serde_json::Value {
        let bytes: Vec<u8> = (self.costs.iter().flatten().chain(&self.a).chain(&self.b))
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let (file, plan) = (folder.join("problem.f64"), folder.join("plan.f64"));
        std::fs::write(&file, bytes).unwrap();
        json!({
            "kind": self.kind.name(), "n": self.a.len(), "m": self.b.len(), "file": file, "plan": plan,
            "epsilon": self.epsilon, "bound": self.bound,
        })
    }
}

fn main() {
    let options = BenchOptions::read();
    let sizes = options.sizes(&[100]);
    let (count, points) = (sizes[0], sizes.get(1).copied());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/random_problems.py");
    let mut peer = PeerProcess::start(&options, script);
    let folder = std::env::temp_dir().join(format!("chiasm-random-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (kind, share) in [
        (Kind::Gw, 0.5),
        (Kind::GwFromOneStart, 0.5),
        (Kind::EntropicGw, 0.5),
        (Kind::Partial, 0.5),
        (Kind::EntropicPartial, 0.5),
        (Kind::Unbalanced, 1.0),
    ] {
        if options.wants(kind.name()) {
            compare(kind, (count as f64 * share) as u64, points, &options, &mut peer, &folder);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Solves a problem by this crate and by POT, and returns the seconds of the fastest rounds and the plans.
fn solved(
    problem: &Problem,
    number: u64,
    rounds: usize,
    peer: &mut PeerProcess,
    folder: &std::path::Path,
) -> ([f64; 2], [Option<Array2<f64>>; 2]) {
    let line = problem.written(folder);
    let mut fastest = [f64::INFINITY; 2];
    let mut plans = [None, None];
    for _ in 0..rounds {
        let (plan, time) = timed(|| problem.solve());
        fastest[0] = fastest[0].min(time.wall);
        match plan {
            Ok(plan) => plans[0] = Some(plan),
            Err(error) => println!("  {} {number}: {error}", problem.kind.name()),
        }
        let Some(answer) = peer.ask(&line) else { continue };
        fastest[1] = fastest[1].min(answer["seconds"].as_f64().unwrap());
        let bytes = std::fs::read(folder.join("plan.f64")).unwrap();
        let values = bytes.chunks(8).map(|v| f64::from_le_bytes(v.try_into().unwrap())).collect();
        plans[1] = Some(Array2::from_shape_vec((problem.a.len(), problem.b.len()), values).unwrap());
    }
    (fastest, plans)
}

fn compare(
    kind: Kind,
    count: u64,
    points: Option<usize>,
    options: &BenchOptions,
    peer: &mut PeerProcess,
    folder: &std::path::Path,
) {
    let (mut ratios, mut slower, mut worse, mut better) = (Vec::new(), 0, 0, 0);
    for number in 0..count {
        let problem = problem(kind, number, points);
        let (fastest, plans) = solved(&problem, number, options.rounds, peer, folder);
        let [Some(ours), Some(theirs)] = &plans else {
            worse += usize::from(plans[0].is_none());
            continue;
        };
        let [v, w] = [ours, theirs].map(|plan| problem.violation(plan));
        let [f, g] = [ours, &problem.feasible(theirs)].map(|plan| problem.objective(plan));
        let slack = EQUAL * (g.abs() + problem.entropy(theirs).abs());
        // An objective that is not finite, or marginals that are not met, count as infinitely bad.
        let failed = !g.is_finite() || w > v + 1e-3;
        let is_worse = !(failed || f <= g + slack && v <= w + MARGINALS);
        let is_better = failed || f < g - slack;
        let ratio = fastest[1] / fastest[0];
        let is_slower = ratio < 1.0 && !is_better;
        if is_worse || is_slower {
            println!(
                "  {} {number} ({} x {}): objective {f:.8e}, POT {g:.8e}; off by {v:.1e}, POT {w:.1e}; \
                 {:.2} ms, POT {:.2} ms",
                kind.name(),
                ours.nrows(),
                ours.ncols(),
                1e3 * fastest[0],
                1e3 * fastest[1]
            );
        }
        (worse, slower, better) =
            (worse + usize::from(is_worse), slower + usize::from(is_slower), better + usize::from(is_better));
        ratios.push(ratio);
    }
    let least = ratios.iter().fold(f64::INFINITY, |least, r| least.min(*r));
    println!(
        "{}: {} problems, {slower} slower, {worse} worse, {better} better; POT's time / this crate's: median \
         {:.1}, least {least:.2}",
        kind.name(),
        ratios.len(),
        median(&ratios)
    );
}
