//! Images of points: barycentric targets, the entropic map, and shifts by the nearest point.

use crate::reference::Reference;
use chiasm_transport::{
    Cost, EntropicMap, Error, Marginals, Sinkhorn, SolverLimits, barycentric, exact, nearest_rows,
    shift_by_nearest, uniform,
};
use ndarray::{Array1, Array2, Axis, array};

#[test]
fn barycentric_targets_are_the_means_of_the_plan() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let coupling = Sinkhorn::of_mean_cost(0.1).solve(&cost, &a, &b).unwrap();
    let plan = coupling.plan();
    let want = plan.dot(&y) / &plan.sum_axis(Axis(1)).insert_axis(Axis(1));
    let got = coupling.barycentric(y.view()).unwrap();
    // Single-precision sums of thirty values of order one.
    assert!((got - want).iter().all(|d| d.abs() < 1e-5));
}

/// (1, 1) is nearest to (0, 0), which moves by (10, 0). (5, 4) is nearest to (4, 4), which moves by (0, -1).
#[test]
fn points_move_as_their_nearest_known_point() {
    let (known, images) = (array![[0.0, 0.0], [4.0, 4.0]], array![[10.0, 0.0], [4.0, 3.0]]);
    let x = array![[1.0, 1.0], [5.0, 4.0], [4.0, 4.0]];
    let moved = shift_by_nearest(known.view(), images.view(), x.view()).unwrap();
    assert_eq!(moved, array![[11.0, 1.0], [5.0, 3.0], [4.0, 3.0]]);
    let narrow = array![[1.0]];
    assert!(matches!(shift_by_nearest(known.view(), images.view(), narrow.view()), Err(Error::Shape { .. })));
    let none = Array2::<f64>::zeros((0, 2));
    assert!(matches!(shift_by_nearest(none.view(), none.view(), x.view()), Err(Error::Empty(_))));
    let broken = array![[f64::NAN, 0.0]];
    assert!(matches!(
        shift_by_nearest(known.view(), images.view(), broken.view()),
        Err(Error::NotFinite { .. })
    ));
}

/// At the points of the problem the entropic map equals the barycentric targets.
#[test]
fn the_entropic_maps_give_the_barycentric_targets() {
    let r = Reference::read();
    let (x, y, a, b) = (r.points("x"), r.points("y"), r.vector("a"), r.vector("b"));
    let apply = |map: &EntropicMap, x: &Array2<f32>| {
        let mut scores = x.dot(&map.keys.t()) + &map.bias;
        for mut row in scores.rows_mut() {
            let top = row.iter().fold(f32::MIN, |t, &v| t.max(v));
            row.mapv_inplace(|v| (v - top).exp());
            row /= row.sum();
        }
        scores.dot(&map.values)
    };
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let coupling = Sinkhorn::of_mean_cost(0.1).solve(&cost, &a, &b).unwrap();
    let forward = apply(&coupling.forward_map(y.view()).unwrap(), &x);
    // Exponents up to 40 in single precision.
    assert!((forward - coupling.barycentric(y.view()).unwrap()).iter().all(|d| d.abs() < 1e-4));
    let backward = apply(&coupling.backward_map(x.view()).unwrap(), &y);
    let turned = barycentric(coupling.plan().t(), x.view()).unwrap();
    assert!((backward - turned).iter().all(|d| d.abs() < 1e-4));
}

/// The images of new points follow the definition, computed here directly in double precision; at the points
/// of the problem they are the means of the plan, of partial and unbalanced plans too. The points are far
/// from the origin and in units of 1e-6: neither costs digits.
#[test]
fn the_entropic_map_extends_every_entropic_plan_and_cost() {
    let r = Reference::read();
    let place = |z: Array2<f64>| z * 1e-6 + 3e-4;
    let (x, y) = (place(r.matrix("x")), place(r.matrix("y")));
    let (a, b) = (r.vector("a"), r.vector("b"));
    let new = place(array![[0.3, -0.2, 0.5, 0.1, 0.0, 0.4], [2.0, 2.0, 2.0, 2.0, 2.0, 2.0]]);
    let new = Array2::from_shape_fn((2, x.ncols()), |(i, k)| new[[i, k % 6]]);
    type Make = fn(&Array2<f64>, &Array2<f64>) -> Cost<'static>;
    let makes: [(Make, i32); 2] = [
        (|x, y| Cost::squared_euclidean(x.view(), y.view()).unwrap(), 2),
        (|x, y| Cost::euclidean(x.view(), y.view()).unwrap(), 1),
    ];
    for (make, power) in makes {
        let cost = make(&x, &y);
        let penalty = cost.mean();
        for marginals in [
            Marginals::Balanced,
            Marginals::Unbalanced { source: penalty, target: 0.3 * penalty },
            Marginals::Partial { mass: 0.6 },
        ] {
            let solver = Sinkhorn::of_mean_cost(0.1).marginals(marginals);
            let coupling = solver.solve(&cost, &a, &b).unwrap();
            let plan = coupling.plan().mapv(f64::from);
            let means = plan.dot(&y) / plan.sum_axis(Axis(1)).insert_axis(Axis(1));
            let close = |got: &Array2<f64>, want: &Array2<f64>| {
                // Shares of single-precision exponents, times coordinates of 1e-6.
                assert!((got - want).iter().all(|d| d.abs() < 1e-11), "{marginals:?}\n{got}\n{want}");
            };
            close(&coupling.extend(&cost, y.view()).unwrap(), &means);
            let (g, eps) = (coupling.target_potential(), coupling.report.epsilon);
            let image = |point: ndarray::ArrayView1<'_, f64>| -> Array1<f64> {
                let square = |j: usize| (&point - &y.row(j)).mapv(|d| d * d).sum();
                let score = |j: usize| (g[j] - f64::powf(square(j), f64::from(power) / 2.0)) / eps;
                let scores: Vec<f64> = (0..b.len()).map(score).collect();
                let top = scores.iter().fold(f64::MIN, |t, s| t.max(*s));
                let shares: Array1<f64> = scores.iter().zip(&b).map(|(s, b)| b * (s - top).exp()).collect();
                shares.dot(&y) / shares.sum()
            };
            let wanted = ndarray::stack![Axis(0), image(new.row(0)), image(new.row(1))];
            close(&coupling.extend(&make(&new, &y), y.view()).unwrap(), &wanted);
        }
    }
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let coupling = Sinkhorn::of_mean_cost(0.1).solve(&cost, &a, &b).unwrap();
    let turned = Cost::squared_euclidean(y.view(), x.view()).unwrap();
    let refused = coupling.extend(&turned, x.view());
    assert!(matches!(refused, Err(Error::Shape { what: "columns of the costs", .. })), "{refused:?}");
}

/// At an epsilon a millionth of the cost, every point goes to one target, without NaN: the first and the
/// second point of a line, and a new one near the second.
#[test]
fn the_entropic_map_survives_a_tiny_epsilon() {
    let (x, y) = (array![[0.0], [1.0]], array![[10.0], [11.0]]);
    let cost = Cost::squared_euclidean(x.view(), y.view()).unwrap();
    let coupling = Sinkhorn::new(1e-4).solve(&cost, &uniform(2), &uniform(2)).unwrap();
    let images = coupling.extend(&cost, y.view()).unwrap();
    assert!((&images - &y).iter().all(|d| d.abs() < 1e-6), "{images}");
    let new = array![[0.9]];
    let cost = Cost::squared_euclidean(new.view(), y.view()).unwrap();
    assert!((coupling.extend(&cost, y.view()).unwrap()[[0, 0]] - 11.0).abs() < 1e-6);
}

/// Row 0 goes half to each target, row 2 to the second, and row 1 has no mass.
#[test]
fn exact_plans_have_images_from_their_entries() {
    let cost = array![[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]];
    let found = exact(cost.view(), &[0.5, 0.0, 0.5], &[0.25, 0.75], &SolverLimits::new(100)).unwrap();
    assert_eq!(found.source_mass().to_vec(), [0.5, 0.0, 0.5]);
    let images = found.barycentric(array![[1e9], [1e9 + 2.0]].view()).unwrap();
    assert_eq!(images, array![[1e9 + 1.0], [0.0], [1e9 + 2.0]]);
    assert!(found.barycentric(array![[1.0]].view()).is_err());
}

/// Compared with a plain search; equal points give the first.
#[test]
fn the_nearest_rows_are_found() {
    let known = Array2::from_shape_fn((40, 19), |(i, k)| ((i % 37 * 7 + k * k * 3) % 11) as f64);
    let x = Array2::from_shape_fn((25, 19), |(i, k)| ((i * 5 + k * 13) % 9) as f64 + 0.5);
    let found = nearest_rows(known.view(), x.view()).unwrap();
    for (row, found) in x.rows().into_iter().zip(found) {
        let square = |i: usize| (&row - &known.row(i)).mapv(|d| d * d).sum();
        let best = (0..40).map(square).fold(f64::INFINITY, f64::min);
        assert_eq!(Some(found), (0..40).find(|&i| square(i) == best));
    }
}
