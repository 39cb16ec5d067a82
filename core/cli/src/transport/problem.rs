//! Reading an optimal transport problem from files: points, weights and costs. Errors name the file.

use crate::{
    args::{CostKind, TransportArgs, TransportSolver},
    command_result::CommandResult,
};
use chiasm_geometry::squared_distances;
use chiasm_pipeline::{Error, read_matrix, read_npy};
use chiasm_transport::{Cost, Error as SolverError, PlanEntry, Result as Solved, Space, geodesic, uniform};
use ndarray::{Array1, Array2, Axis};
use std::path::{Path, PathBuf};

/// An optimal transport problem.
pub struct TransportProblem {
    pub a: Vec<f64>,
    pub b: Vec<f64>,
    pub shape: (usize, usize),
    x: Option<Array2<f64>>,
    y: Option<Array2<f64>>,
    matrix: Option<Array2<f64>>,
    /// The distances within the source and within the target, where they were given.
    within: Option<[Array2<f64>; 2]>,
    kind: CostKind,
    /// The points to move that need not be in the problem.
    pub new: Option<Array2<f64>>,
    /// The files that were read.
    pub files: [Option<PathBuf>; 8],
}

impl TransportProblem {
    /// Reads the files given as arguments.
    pub fn read(args: &TransportArgs) -> CommandResult<Self> {
        let points = |path: &Option<PathBuf>| path.as_deref().map(read_finite_matrix).transpose();
        let (x, y) = (points(&args.source)?, points(&args.target)?);
        let new = points(&args.points)?;
        let matrix = args.cost_matrix.as_deref().map(|path| read_costs(path, args.solver)).transpose()?;
        let given = (points(&args.source_distances)?, points(&args.target_distances)?);
        let within = if let (Some(dx), Some(dy)) = given { Some([dx, dy]) } else { None };
        let shape = match (&matrix, &within, &x, &y) {
            (Some(c), ..) => c.dim(),
            (None, Some([dx, dy]), ..) => (dx.nrows(), dy.nrows()),
            (None, None, Some(x), Some(y)) => (x.nrows(), y.nrows()),
            _ => (0, 0), // clap requires either both files or the matrix
        };
        let weights = |path: &Option<PathBuf>, n: usize| match path {
            Some(path) => {
                let weights = read_npy(path)?;
                if weights.shape().iter().filter(|axis| **axis != 1).count() > 1 {
                    let (file, shape) = (path.display(), weights.shape());
                    let message =
                        format!("{file}: expected a vector of {n} weights, got the shape {shape:?}");
                    let help = "give one weight per point";
                    return Err(Error::input("chiasm::transport::weights", message, help));
                }
                Ok(weights.into_iter().collect())
            }
            None => Ok(uniform(n)),
        };
        let (a, b) = (weights(&args.a, shape.0)?, weights(&args.b, shape.1)?);
        let (dx, dy) = (&args.source_distances, &args.target_distances);
        let files = [&args.source, &args.target, &args.cost_matrix, &args.a, &args.b, dx, dy, &args.points];
        let files = files.map(Clone::clone);
        let usual = if args.geodesic.is_empty() { CostKind::Sqeuclidean } else { CostKind::Euclidean };
        let kind = args.cost.unwrap_or(usual);
        Ok(Self { a, b, shape, x, y, matrix, within, kind, new, files })
    }

    /// Returns both sets of points.
    pub fn clouds(&self) -> Solved<(&Array2<f64>, &Array2<f64>)> {
        match (&self.x, &self.y) {
            (Some(x), Some(y)) => Ok((x, y)),
            (None, _) => Err(SolverError::Empty("source points")),
            _ => Err(SolverError::Empty("target points")),
        }
    }

    /// Returns the number of coordinates of the source points, or 0 without points.
    pub fn width(&self) -> usize {
        self.x.as_ref().map_or(0, Array2::ncols)
    }

    /// Returns both sets of points in single precision, centred on the source.
    pub fn points(&self) -> Solved<(Array2<f32>, Array2<f32>)> {
        let (x, y) = self.clouds()?;
        // Centring keeps the distances and avoids a loss of precision for points far from zero.
        let centre = match self.kind {
            CostKind::Cosine | CostKind::Correlation => Array1::zeros(x.ncols()),
            _ => x.sum_axis(Axis(0)) / x.nrows().max(1) as f64,
        };
        let moved = |z: &Array2<f64>| match z.ncols() == centre.len() {
            true => (z - &centre).mapv(|v| v as f32),
            false => z.mapv(|v| v as f32), // the solver reports the different widths
        };
        Ok((moved(x), moved(y)))
    }

    /// Returns an error if the weights do not sum to one, for solvers whose objective is not linear in them.
    pub fn check_unit_mass(&self) -> Solved<()> {
        for (what, weights) in [("source weights", &self.a), ("target weights", &self.b)] {
            let got: f64 = weights.iter().sum();
            if got.is_nan() || (got - 1.0).abs() > 1e-6 {
                return Err(SolverError::Setting { what, expected: "shares that sum to one", got });
            }
        }
        Ok(())
    }

    /// Returns the cost in the type of the entropic solvers.
    pub fn cost(&self) -> Solved<Cost<'_>> {
        if let Some(matrix) = &self.matrix {
            return Cost::matrix64(matrix.view());
        }
        self.cost_from(self.clouds()?.0)
    }

    /// Returns the cost of other source points in the type of the entropic solvers.
    pub fn cost_from(&self, x: &Array2<f64>) -> Solved<Cost<'static>> {
        let (_, y) = self.clouds()?;
        match self.kind {
            CostKind::Sqeuclidean => Cost::squared_euclidean(x.view(), y.view()),
            CostKind::Euclidean => Cost::euclidean(x.view(), y.view()),
            CostKind::Cosine => Cost::cosine(x.view(), y.view()),
            CostKind::Correlation => Cost::cosine(level(x).view(), level(y).view()),
        }
    }

    /// Returns the cost matrix in double precision.
    pub fn dense_cost(&self) -> Solved<Array2<f64>> {
        if let Some(matrix) = &self.matrix {
            return Ok(matrix.clone());
        }
        let (x, y) = self.clouds()?;
        self.cost()?; // reports points without a valid cost
        distances(x, y, self.kind)
    }

    /// Returns the linear part of a fused problem: the given matrix, or the costs of the points, scaled to a
    /// maximum of one.
    pub fn linear(&self) -> Solved<Array2<f64>> {
        let cost = self.dense_cost()?;
        let top = cost.iter().fold(0.0_f64, |top, &c| top.max(c));
        Ok(if self.matrix.is_none() && top > 0.0 { cost / top } else { cost })
    }

    /// Returns the distances within both sets of points, each scaled to a maximum of one; with a number of
    /// neighbours, along the graph of the nearest ones.
    pub fn spaces(&self, neighbours: Option<usize>) -> Solved<(Space, Space)> {
        self.check_unit_mass()?;
        let space = |side: usize| -> Solved<Space> {
            let direct = match &self.within {
                Some(within) => Some(within[side].clone()),
                None if neighbours.is_some() || self.kind == CostKind::Euclidean => {
                    let z = self.unit_cloud(side)?;
                    Some(distances(&z, &z, self.kind)?)
                }
                None => None,
            };
            match (direct, neighbours) {
                (Some(direct), Some(k)) => Space::matrix(geodesic(scaled(direct).view(), k)?.view()),
                (Some(direct), None) => Space::matrix(scaled(direct).view()),
                // This is twice the cosine distance; the factor is removed by the normalisation.
                (None, _) => Space::squared_euclidean(self.unit_cloud(side)?.mapv(|v| v as f32).view()),
            }
        };
        Ok((space(0)?.normalised(), space(1)?.normalised()))
    }

    /// Returns the points of one side, centred and scaled so that all squares are in the range of single
    /// precision, which changes no relative distance; or their directions, if only those count.
    fn unit_cloud(&self, side: usize) -> Solved<Array2<f64>> {
        let (x, y) = self.clouds()?;
        let (z, what) = if side == 0 { (x, "source points") } else { (y, "target points") };
        if !matches!(self.kind, CostKind::Cosine | CostKind::Correlation) {
            let moved = z - &(z.sum_axis(Axis(0)) / z.nrows().max(1) as f64);
            let top = moved.iter().fold(0.0_f64, |top, v| top.max(v.abs()));
            return Ok(if top > 0.0 { moved / top } else { moved });
        }
        let z = if self.kind == CostKind::Correlation { level(z) } else { z.clone() };
        if z.rows().into_iter().any(|row| row.iter().all(|v| *v == 0.0)) {
            return Err(SolverError::NoDirection(what));
        }
        Ok(directions(&z))
    }

    /// Returns the L1 distance of a plan's marginals from the weights, divided by the mass.
    pub fn marginal_error(&self, plan: &[PlanEntry]) -> f64 {
        let (mut rows, mut columns) = (self.a.clone(), self.b.clone());
        for entry in plan {
            rows[entry.source] -= entry.mass;
            columns[entry.target] -= entry.mass;
        }
        rows.iter().chain(&columns).map(|left| left.abs()).sum::<f64>() / self.a.iter().sum::<f64>()
    }

    /// Converts an error of a solver. The message names the file that it is about, or all files.
    pub fn error(&self, error: &SolverError) -> Error {
        let about = match error {
            SolverError::Empty(what)
            | SolverError::Shape { what, .. }
            | SolverError::NotFinite { what, .. }
            | SolverError::NoDirection(what)
            | SolverError::Weights { what, .. }
            | SolverError::Setting { what, .. } => *what,
            _ => "",
        };
        let starts = [
            "source points",
            "target points",
            "cost matrix",
            "source weights",
            "target weights",
            "source distances",
            "target distances",
            "points to move",
        ];
        let place = starts.iter().position(|start| about.ends_with(start));
        let named = place.and_then(|place| self.files[place].as_deref());
        let all: Vec<&Path> = match named {
            Some(path) => vec![path],
            None => self.files.iter().flatten().map(PathBuf::as_path).collect(),
        };
        let names: Vec<String> = all.iter().map(|path| path.display().to_string()).collect();
        let help = "see `chiasm transport --help` for the units and ranges of the options";
        Error::input("chiasm::transport", format!("{}: {error}", names.join(", ")), help)
    }
}

/// Reads a matrix of finite numbers.
fn read_finite_matrix(path: &Path) -> CommandResult<Array2<f64>> {
    let matrix = read_matrix(path)?;
    let bad = matrix.outer_iter().position(|row| row.iter().any(|v| !v.is_finite()));
    match bad {
        None => Ok(matrix),
        Some(row) => {
            let message = format!("{}: row {row} holds a value that is not finite", path.display());
            Err(Error::input("chiasm::transport::points", message, "drop the row or compute it again"))
        }
    }
}

/// Reads a cost matrix. For the exact solver an infinite cost forbids an entry.
fn read_costs(path: &Path, solver: TransportSolver) -> CommandResult<Array2<f64>> {
    let matrix = read_matrix(path)?;
    let row_of = |bad: fn(f64) -> bool| matrix.outer_iter().position(|row| row.iter().any(|v| bad(*v)));
    let refuse = |row: usize, what: &str, help: &str| {
        let message = format!("{}: row {row} holds {what}", path.display());
        Err(Error::input("chiasm::transport::costs", message, help))
    };
    if let Some(row) = row_of(|v| v.is_nan() || v == f64::NEG_INFINITY) {
        return refuse(row, "NaN or -inf, which is no cost", "compute the row again; inf forbids an entry");
    }
    match row_of(|v| v == f64::INFINITY) {
        Some(row) if solver != TransportSolver::Emd => {
            let help = "use --solver emd, or a large finite cost, e.g. 1000 times the largest other one";
            refuse(row, "an infinite cost, which only --solver emd takes as forbidden", help)
        }
        _ => Ok(matrix),
    }
}

/// Returns the costs between two sets of points in double precision.
fn distances(x: &Array2<f64>, y: &Array2<f64>, kind: CostKind) -> Solved<Array2<f64>> {
    let squares = |x: &Array2<f64>, y: &Array2<f64>| {
        squared_distances(x.view(), y.view())
            .map_err(|_| SolverError::Empty("source points or target points"))
    };
    match kind {
        CostKind::Sqeuclidean => squares(x, y),
        CostKind::Euclidean => Ok(squares(x, y)?.mapv_into(f64::sqrt)),
        // Half the squared distance of unit vectors keeps its digits for nearly parallel ones.
        CostKind::Cosine => Ok(squares(&directions(x), &directions(y))? * 0.5),
        CostKind::Correlation => distances(&level(x), &level(y), CostKind::Cosine),
    }
}

/// Normalises rows to unit length. A zero row stays zero.
fn directions(z: &Array2<f64>) -> Array2<f64> {
    let largest = z.map_axis(Axis(1), |row| row.iter().fold(f64::MIN_POSITIVE, |top, v| top.max(v.abs())));
    let z = z / &largest.insert_axis(Axis(1));
    let lengths = z.map_axis(Axis(1), |row| row.dot(&row).sqrt().max(f64::MIN_POSITIVE));
    z / &lengths.insert_axis(Axis(1))
}

/// Subtracts from each row its mean.
fn level(z: &Array2<f64>) -> Array2<f64> {
    let means = z.sum_axis(Axis(1)) / z.ncols().max(1) as f64;
    z - &means.insert_axis(Axis(1))
}

/// Scales to a maximum of one, in single precision, so that no distance overflows.
fn scaled(distances: Array2<f64>) -> Array2<f32> {
    let top = distances.iter().fold(0.0_f64, |top, d| top.max(d.abs()));
    let unit = if top > 0.0 { 1.0 / top } else { 1.0 };
    distances.mapv(|d| (d * unit) as f32)
}
