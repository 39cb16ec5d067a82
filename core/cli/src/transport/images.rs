//! The images of points under a plan: barycentric projection, and points that were not in the problem.

use super::{output::SolutionPlan, problem::TransportProblem};
use crate::args::{Extension, TransportArgs, TransportSolver};
use chiasm_transport::{
    Cost, Coupling, Error as SolverError, Result as Solved, nearest_rows, shift_by_nearest,
};
use ndarray::{Array2, Axis};

/// Where the points go.
pub struct Images {
    pub points: Array2<f64>,
    /// Source points that send no mass and move as the nearest one that does.
    pub by_nearest: usize,
}

/// Checks the shapes of the points before the problem is solved.
pub fn check(args: &TransportArgs, problem: &TransportProblem) -> Solved<()> {
    if args.images.is_none() {
        return Ok(());
    }
    let (x, y) = problem.clouds()?;
    let same = |what, expected: usize, got: usize| match expected == got {
        true => Ok(()),
        false => Err(SolverError::Shape { what, expected, got }),
    };
    same("rows of the source points", problem.shape.0, x.nrows())?;
    same("rows of the target points", problem.shape.1, y.nrows())?;
    let Some(new) = &problem.new else { return Ok(()) };
    if new.is_empty() {
        return Err(SolverError::Empty("points to move"));
    }
    same("columns of the points to move", x.ncols(), new.ncols())
}

/// Returns the images under an entropic plan, from its potentials.
pub fn of_coupling(
    args: &TransportArgs,
    problem: &TransportProblem,
    coupling: &Coupling<'_>,
    cost: &Cost<'_>,
) -> Solved<Images> {
    let (x, y) = problem.clouds()?;
    if let (Some(new), Some(Extension::Entropic)) = (&problem.new, args.extend) {
        let cost = problem.cost_from(new).map_err(|error| match error {
            SolverError::NoDirection("source points") => SolverError::NoDirection("points to move"),
            other => other,
        })?;
        return Ok(Images { points: coupling.extend(&cost, y.view())?, by_nearest: 0 });
    }
    completed(args, problem, coupling.extend(cost, y.view())?, &vec![1.0; x.nrows()])
}

/// Returns the images under a plan.
pub fn of_plan(args: &TransportArgs, problem: &TransportProblem, plan: &SolutionPlan) -> Solved<Images> {
    let (_, y) = problem.clouds()?;
    let (images, mass) = match plan {
        SolutionPlan::Exact(found) => (found.barycentric(y.view())?, found.source_mass().to_vec()),
        SolutionPlan::Dense(plan) => means(plan, y),
        SolutionPlan::Factors(found) => {
            let latent = means(&found.target.t().mapv(f64::from), y).0;
            means(&found.source.mapv(f64::from), &latent)
        }
    };
    completed(args, problem, images, &mass)
}

/// Returns the weighted means of the rows of `y` for each row of weights, and the sum of each row. The mean
/// of a row without weight is zero.
fn means(weights: &Array2<f64>, y: &Array2<f64>) -> (Array2<f64>, Vec<f64>) {
    let mass = weights.sum_axis(Axis(1));
    let divisor = mass.mapv(|mass| if mass > 0.0 { mass } else { 1.0 }).insert_axis(Axis(1));
    ((weights / &divisor).dot(y), mass.to_vec())
}

/// Moves the new points, or the sources that send no mass, as the nearest source that does.
fn completed(
    args: &TransportArgs,
    problem: &TransportProblem,
    mut images: Array2<f64>,
    mass: &[f64],
) -> Solved<Images> {
    let (x, y) = problem.clouds()?;
    let (sending, silent): (Vec<usize>, Vec<usize>) = (0..mass.len()).partition(|&i| mass[i] > 0.0);
    let (known, known_images) = (x.select(Axis(0), &sending), images.select(Axis(0), &sending));
    // Coordinates of different spaces cannot be subtracted.
    let shifts = !matches!(args.solver, TransportSolver::Gw | TransportSolver::Fgw) && x.ncols() == y.ncols();
    let by_nearest = |points: &Array2<f64>| match shifts {
        true => shift_by_nearest(known.view(), known_images.view(), points.view()),
        false => Ok(known_images.select(Axis(0), &nearest_rows(known.view(), points.view())?)),
    };
    if let Some(new) = &problem.new {
        return Ok(Images { points: by_nearest(new)?, by_nearest: 0 });
    }
    if !silent.is_empty() {
        let filled = by_nearest(&x.select(Axis(0), &silent))?;
        silent.iter().zip(filled.rows()).for_each(|(&i, image)| images.row_mut(i).assign(&image));
    }
    Ok(Images { points: images, by_nearest: silent.len() })
}
