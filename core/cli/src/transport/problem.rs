//! The problem in the files: points, weights and costs, each checked under its own file's name.

use crate::{
    args::{CostKind, Solver, TransportArgs},
    command_result::CommandResult,
};
use chiasm_pipeline::{Error, read_matrix, read_npy};
use chiasm_transport::{Cost, Error as Refusal, Result as Solved, Space, uniform};
use ndarray::{Array1, Array2, Axis};
use std::path::{Path, PathBuf};

/// What is to be solved.
pub struct TransportProblem {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub shape: (usize, usize),
    x: Option<Array2<f64>>,
    y: Option<Array2<f64>>,
    matrix: Option<Array2<f64>>,
    kind: CostKind,
    files: [Option<PathBuf>; 5],
}

/// Whether a file holds several arrays by its name.
pub fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "npz")
}

/// Refuses settings that the solver does not have, and asks for those it needs.
pub fn settings(args: &TransportArgs) -> CommandResult {
    use Solver::{Emd, Fgw, Gw, Lowrank, Partial, Sinkhorn, Unbalanced};
    let entropic = [Sinkhorn, Unbalanced, Partial];
    let given: [(&str, bool, &[Solver]); 10] = [
        ("--eps", args.eps.is_some(), &[Sinkhorn, Unbalanced, Partial, Gw, Fgw]),
        ("--eps-scale", args.eps_scale.is_some(), &entropic),
        ("--cost", args.cost.is_some(), &[Emd, Sinkhorn, Unbalanced, Partial, Gw, Fgw]),
        ("--cost-matrix", args.cost_matrix.is_some(), &[Emd, Sinkhorn, Unbalanced, Partial, Fgw]),
        ("--tolerance", args.tolerance.is_some(), &[Sinkhorn, Unbalanced, Partial, Gw, Fgw, Lowrank]),
        ("--rho", args.rho.is_some(), &[Unbalanced]),
        ("--mass", args.mass.is_some(), &[Partial]),
        ("--alpha", args.alpha.is_some(), &[Fgw]),
        ("--rank", args.rank.is_some(), &[Lowrank, Gw]),
        ("--starts", args.starts.is_some(), &[Gw, Fgw]),
    ];
    let refuse =
        |message: String, help: &str| Err(Error::input("chiasm::transport::settings", message, help));
    let name = |solver: Solver| format!("{solver:?}").to_lowercase();
    for (flag, there, solvers) in given {
        if there && !solvers.contains(&args.solver) {
            let those: Vec<String> = solvers.iter().map(|s| name(*s)).collect();
            let message = format!("{flag} does nothing for --solver {}", name(args.solver));
            return refuse(message, &format!("it is for {}", those.join(", ")));
        }
    }
    for (flag, counted) in
        [("--iterations", args.iterations), ("--starts", args.starts), ("--rank", args.rank)]
    {
        if counted == Some(0) {
            return refuse(format!("{flag}: expected 1 or more, got 0"), "leave it out for the usual number");
        }
    }
    if let Some(got) = args.tolerance.filter(|t| t.is_nan() || *t < 0.0) {
        return refuse(format!("--tolerance: expected 0 or more, got {got}"), "0 runs all iterations");
    }
    let factors = args.solver == Lowrank || args.rank.is_some();
    if !factors && args.output.as_deref().is_some_and(is_npz) {
        return refuse(
            "-o: a whole plan is one array, an .npz holds the factors of --rank".into(),
            "-o plan.npy",
        );
    }
    let plain = args.solver == Sinkhorn
        && args.cost_matrix.is_none()
        && args.cost.is_none_or(|kind| kind == CostKind::Sqeuclidean);
    match args.solver {
        Unbalanced if args.rho.is_none() => {
            refuse("--solver unbalanced needs --rho, the weight of its penalties".into(), "e.g. --rho 1.0")
        }
        Gw if args.rank.is_some() && (args.eps.is_some() || args.starts.is_some()) => refuse(
            "--rank takes neither --eps nor --starts: its steps and its start are its own".into(),
            "leave --rank out where n x m fits into memory",
        ),
        Gw if args.rank.is_some() && args.cost == Some(CostKind::Euclidean) => refuse(
            "--rank needs squared distances: Euclidean ones have no low rank".into(),
            "--cost sqeuclidean or cosine",
        ),
        Partial if args.mass.is_none() => {
            refuse("--solver partial needs --mass, the mass to move".into(), "e.g. --mass 0.8")
        }
        _ if args.debias && !plain => refuse(
            "--debias is for --solver sinkhorn on points with squared Euclidean costs".into(),
            "leave it out",
        ),
        _ if args.time_limit.is_nan() || args.time_limit <= 0.0 => {
            refuse(format!("--time-limit: expected seconds above 0, got {}", args.time_limit), "e.g. 60")
        }
        _ => Ok(()),
    }
}

impl TransportProblem {
    /// Reads the files that the arguments name.
    pub fn read(args: &TransportArgs) -> CommandResult<Self> {
        let points = |path: &Option<PathBuf>| path.as_deref().map(checked).transpose();
        let (x, y) = (points(&args.source)?, points(&args.target)?);
        let matrix = points(&args.cost_matrix)?;
        let shape = match (&matrix, &x, &y) {
            (Some(c), _, _) => c.dim(),
            (None, Some(x), Some(y)) => (x.nrows(), y.nrows()),
            _ => (0, 0), // clap asked for both points or the matrix
        };
        let weights = |path: &Option<PathBuf>, n: usize| match path {
            Some(path) => {
                let weights = read_npy(path)?;
                if weights.shape().iter().filter(|axis| **axis != 1).count() > 1 {
                    let (file, shape) = (path.display(), weights.shape());
                    let message = format!("{file}: expected {n} weights in a row, got an array of {shape:?}");
                    return Err(Error::input("chiasm::transport::weights", message, "one weight a point"));
                }
                Ok(weights.into_iter().collect())
            }
            None => Ok(uniform(n)),
        };
        let (a, b) = (weights(&args.a, shape.0)?, weights(&args.b, shape.1)?);
        let files = [&args.source, &args.target, &args.cost_matrix, &args.a, &args.b].map(Clone::clone);
        let kind = args.cost.unwrap_or(CostKind::Sqeuclidean);
        Ok(Self { a, b, shape, x, y, matrix, kind, files })
    }

    /// Both clouds in single precision.
    pub fn points(&self) -> Solved<(Array2<f32>, Array2<f32>)> {
        let (x, y) = self.clouds()?;
        // Distances stay, digits are won: far from zero single precision would not tell the points apart.
        let centre = match self.kind {
            CostKind::Cosine => Array1::zeros(x.ncols()),
            _ => x.sum_axis(Axis(0)) / x.nrows().max(1) as f64,
        };
        let moved = |z: &Array2<f64>| match z.ncols() == centre.len() {
            true => (z - &centre).mapv(|v| v as f32),
            false => z.mapv(|v| v as f32), // to be refused
        };
        Ok((moved(x), moved(y)))
    }

    /// Refuses weights that are no shares, for a solver whose objective is not linear in them.
    pub fn shares(&self) -> Solved<()> {
        for (what, weights) in [("source weights", &self.a), ("target weights", &self.b)] {
            let got: f64 = weights.iter().sum();
            if got.is_nan() || (got - 1.0).abs() > 1e-6 {
                return Err(Refusal::Setting { what, expected: "shares that sum to one", got });
            }
        }
        Ok(())
    }

    /// The cost as the entropic solvers take it.
    pub fn cost(&self) -> Solved<Cost<'_>> {
        if let Some(matrix) = &self.matrix {
            return Cost::matrix64(matrix.view());
        }
        let (x, y) = self.points()?;
        match self.kind {
            CostKind::Sqeuclidean => Cost::squared_euclidean(x.view(), y.view()),
            CostKind::Euclidean => Cost::euclidean(x.view(), y.view()),
            CostKind::Cosine => Cost::cosine(x.view(), y.view()),
        }
    }

    /// The cost as a matrix in double precision.
    pub fn dense_cost(&self) -> Solved<Array2<f64>> {
        if let Some(matrix) = &self.matrix {
            return Ok(matrix.clone());
        }
        let (x, y) = self.clouds()?;
        self.cost()?; // refuses what has no cost
        Ok(distances(x, y, self.kind))
    }

    /// The linear part of a fused problem: the given matrix, or the points' costs with the largest at one.
    pub fn linear(&self) -> Solved<Array2<f64>> {
        let cost = self.dense_cost()?;
        let top = cost.iter().fold(0.0_f64, |top, &c| top.max(c));
        Ok(if self.matrix.is_none() && top > 0.0 { cost / top } else { cost })
    }

    /// Inner distances of both clouds, the largest of each at one.
    pub fn spaces(&self) -> Solved<(Space, Space)> {
        self.shares()?;
        let (x, y) = self.clouds()?;
        for (what, z) in [("source points", x), ("target points", y)] {
            if self.kind == CostKind::Cosine && z.rows().into_iter().any(|row| row.iter().all(|v| *v == 0.0))
            {
                return Err(Refusal::NoDirection(what));
            }
        }
        let space = |z: &Array2<f64>| {
            // The largest distance becomes one anyway: centred and scaled, no square leaves single precision.
            let moved = z - &(z.sum_axis(Axis(0)) / z.nrows().max(1) as f64);
            let top = moved.iter().fold(0.0_f64, |top, v| top.max(v.abs()));
            let unit = if top > 0.0 { moved / top } else { moved };
            match self.kind {
                CostKind::Sqeuclidean => Space::squared_euclidean(unit.mapv(|v| v as f32).view()),
                CostKind::Euclidean => {
                    Space::matrix(distances(&unit, &unit, self.kind).mapv(|d| d as f32).view())
                }
                // Twice the cosine distance, which the normalising divides away.
                CostKind::Cosine => Space::squared_euclidean(directions(z).mapv(|v| v as f32).view()),
            }
        };
        Ok((space(x)?.normalised(), space(y)?.normalised()))
    }

    /// L1 distance of a plan's marginals from the weights, divided by the mass.
    pub fn marginal_error(&self, plan: &Array2<f64>) -> f64 {
        let distance =
            |sums: Vec<f64>, w: &[f64]| sums.iter().zip(w).map(|(s, w)| (s - w).abs()).sum::<f64>();
        let rows = distance(plan.sum_axis(Axis(1)).to_vec(), &self.a);
        let columns = distance(plan.sum_axis(Axis(0)).to_vec(), &self.b);
        (rows + columns) / self.a.iter().sum::<f64>()
    }

    /// The solver's refusal under the name of the file that it is about.
    pub fn refuse(&self, refusal: &Refusal) -> Error {
        let about = match refusal {
            Refusal::Empty(what)
            | Refusal::Shape { what, .. }
            | Refusal::NotFinite { what, .. }
            | Refusal::NoDirection(what)
            | Refusal::Weights { what, .. }
            | Refusal::Setting { what, .. } => *what,
            _ => "",
        };
        let starts = ["source points", "target points", "cost matrix", "source weights", "target weights"];
        let place = starts.iter().position(|start| about.ends_with(start));
        let named = place.and_then(|place| self.files[place].as_deref());
        let all: Vec<&Path> = match named {
            Some(path) => vec![path],
            None => self.files.iter().flatten().map(PathBuf::as_path).collect(),
        };
        let names: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
        let help = "`chiasm transport --help` tells what each setting is in";
        Error::input("chiasm::transport", format!("{}: {refusal}", names.join(", ")), help)
    }

    fn clouds(&self) -> Solved<(&Array2<f64>, &Array2<f64>)> {
        match (&self.x, &self.y) {
            (Some(x), Some(y)) => Ok((x, y)),
            (None, _) => Err(Refusal::Empty("source points")),
            _ => Err(Refusal::Empty("target points")),
        }
    }
}

/// A matrix without NaN and infinity, also as single precision.
fn checked(path: &Path) -> CommandResult<Array2<f64>> {
    let matrix = read_matrix(path)?;
    let bad = matrix.outer_iter().position(|row| row.iter().any(|v| !(*v as f32).is_finite()));
    match bad {
        None => Ok(matrix),
        Some(row) => {
            let message =
                format!("{}: row {row} holds a value that is not finite in single precision", path.display());
            let help =
                "drop the row or compute it again; values must stay below 3e38, where single precision ends";
            Err(Error::input("chiasm::transport::points", message, help))
        }
    }
}

/// All costs between two clouds in double precision; squared distances of centred points lose little to cancellation.
fn distances(x: &Array2<f64>, y: &Array2<f64>, kind: CostKind) -> Array2<f64> {
    if kind == CostKind::Cosine {
        return directions(x).dot(&directions(y).t()).mapv(|s| (1.0 - s).max(0.0));
    }
    let centre = x.sum_axis(Axis(0)) / x.nrows().max(1) as f64;
    let (x, y) = (x - &centre, y - &centre);
    let squares = |z: &Array2<f64>| z.map_axis(Axis(1), |row| row.dot(&row));
    let mut cost = x.dot(&y.t()) * -2.0;
    cost += &squares(&x).insert_axis(Axis(1));
    cost += &squares(&y);
    cost.mapv_inplace(|c| if kind == CostKind::Euclidean { c.max(0.0).sqrt() } else { c.max(0.0) });
    cost
}

/// Rows of length one; a zero row stays zero.
fn directions(z: &Array2<f64>) -> Array2<f64> {
    let lengths = z.map_axis(Axis(1), |row| row.dot(&row).sqrt().max(f64::MIN_POSITIVE));
    z / &lengths.insert_axis(Axis(1))
}
