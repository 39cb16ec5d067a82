//! Checks of maps whose verdicts and numbers are known in closed form.

mod common;

use chiasm_check::{CheckInput, CheckSettings, Error, InverseSides, ProbeLabels, Verdict, check};
use chiasm_graph::{Builder, DType, Dim, Tensor};
use common::*;
use ndarray::{Array2, Axis, array};

/// Jacobians are computed in single precision; 1e-5 relative is ten times the rounding here.
fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{got}, expected {expected}");
}

#[test]
fn an_orthogonal_map_passes_with_every_singular_value_one() {
    let report = report(&linear(&orthogonal(8, 8, 1)), &points(40, 8, 2));
    let spectra = report.jacobian.as_ref().unwrap();
    assert_eq!((spectra.singular_values.len(), &spectra.rank), (40, &vec![8; 40]));
    spectra.singular_values.iter().flatten().for_each(|s| near(f64::from(*s), 1.0));
    spectra.condition_number.iter().for_each(|c| near(*c, 1.0));
    spectra.log_volume.iter().for_each(|v| near(*v, 0.0));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    near(report.check("collision").unwrap().number, 1.0);
    near(report.check("smoothness").unwrap().number, 0.0);
}

#[test]
fn the_singular_values_of_a_diagonal_map_are_its_diagonal() {
    let report = report(&linear(&Array2::from_diag(&array![0.5, 4.0, 1.0, 2.0])), &points(20, 4, 3));
    let spectra = report.jacobian.as_ref().unwrap();
    for (got, expected) in spectra.singular_values[7].iter().zip([4.0, 2.0, 1.0, 0.5]) {
        near(f64::from(*got), expected);
    }
    near(spectra.condition_number[0], 8.0);
    near(spectra.log_volume[0], 4f64.ln());
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
}

#[test]
fn a_rank_deficient_map_fails_with_its_rank() {
    let low = orthogonal(6, 4, 4).dot(&orthogonal(6, 4, 5).t());
    let report = report(&linear(&low), &points(30, 6, 6));
    let spectra = report.jacobian.as_ref().unwrap();
    assert_eq!((spectra.attainable_rank, &spectra.rank), (6, &vec![4; 30]));
    near(f64::from(spectra.singular_values[0][3]), 1.0);
    near(f64::from(spectra.singular_values[0][4]), 0.0);
    assert!(spectra.condition_number.iter().all(|c| *c > 1e6));
    assert_eq!((report.verdict, verdict(&report, "rank")), (Verdict::Fail, Verdict::Fail));
    let said = &report.check("rank").unwrap().meaning;
    assert!(said.contains("4 of 6"), "{said}");
}

/// |x| has Jacobians of full rank and singular values 1 everywhere: only global checks can detect the fold.
#[test]
fn a_fold_fails_though_its_jacobians_are_perfect() {
    let report = report(&map(6, 6, |b, x| b.abs(x)), &points(64, 6, 7));
    let spectra = report.jacobian.as_ref().unwrap();
    assert_eq!(spectra.rank, vec![6; 64]);
    spectra.singular_values.iter().flatten().for_each(|s| near(f64::from(*s), 1.0));
    assert_eq!(verdict(&report, "rank"), Verdict::Pass);
    assert_eq!(
        (verdict(&report, "orientation"), verdict(&report, "collision")),
        (Verdict::Fail, Verdict::Fail)
    );
    assert!(report.check("collision").unwrap().number < 1e-5, "{report:#?}");
    assert!(report.check("orientation").unwrap().number > 0.3, "half of all orthants reflect: {report:#?}");
}

/// The square of a complex number is two-to-one, but its determinant 4|x|² never changes sign. Newton's
/// method finds -x.
#[test]
fn a_fold_that_keeps_orientation_is_found_too() {
    let square = map(2, 2, |b, x| {
        let mut pick = |index: f64| times(b, x, &array![[1.0 - index], [index]]);
        let (re, im) = (pick(0.0), pick(1.0));
        let (rr, ii, ri) = (b.mul(&re, &re), b.mul(&im, &im), b.mul(&re, &im));
        let (first, second) = (b.sub(&rr, &ii), b.mul_scalar(&ri, 2.0));
        b.concat(&[&first, &second], 1)
    });
    let report = report(&square, &points(64, 2, 8));
    assert_eq!(verdict(&report, "orientation"), Verdict::Pass);
    assert_eq!(verdict(&report, "collision"), Verdict::Fail, "{report:#?}");
}

/// tanh shrinks distances up to 50 times here and is injective, so no check may report a fold.
#[test]
fn a_bent_but_injective_map_does_not_fold() {
    let (q, p) = (orthogonal(5, 5, 9), orthogonal(5, 5, 10));
    let bent = map(5, 5, |b, x| {
        let turned = times(b, x, &q);
        let squeezed = b.tanh(&turned);
        times(b, &squeezed, &p)
    });
    let report = report(&bent, &points(200, 5, 11));
    assert_eq!((verdict(&report, "orientation"), verdict(&report, "rank")), (Verdict::Pass, Verdict::Pass));
    assert_ne!(verdict(&report, "collision"), Verdict::Fail, "{report:#?}");
    assert_ne!(report.verdict, Verdict::Fail, "{report:#?}");
}

/// x -> normalise(normalise(x) Q): the rank can only be d - 1, and between the spheres it is an isometry.
#[test]
fn a_map_between_spheres_is_checked_between_their_tangent_spaces() {
    let q = orthogonal(6, 6, 12);
    let sphere = map(6, 6, |b, x| {
        let unit = b.l2_normalise(x, -1, 1e-12);
        let turned = times(b, &unit, &q);
        b.l2_normalise(&turned, -1, 1e-12)
    });
    let report = report(&sphere, &points(50, 6, 13));
    let spectra = report.jacobian.as_ref().unwrap();
    assert!(spectra.spheres.ignores_length && spectra.spheres.on_sphere);
    assert_eq!((spectra.attainable_rank, &spectra.rank), (5, &vec![5; 50]));
    spectra.condition_number.iter().for_each(|c| near(*c, 1.0));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    near(report.check("collision").unwrap().number, 1.0);
}

/// A fold of the sphere, x -> |x|/|x|, is detected as well.
#[test]
fn a_fold_of_a_sphere_fails() {
    let fold = map(4, 4, |b, x| {
        let positive = b.abs(x);
        b.l2_normalise(&positive, -1, 1e-12)
    });
    let report = report(&fold, &points(60, 4, 14));
    assert_eq!(
        (verdict(&report, "orientation"), verdict(&report, "collision")),
        (Verdict::Fail, Verdict::Fail)
    );
}

/// A map to fewer dimensions that returns unit vectors does not fail. It loses the variance of eight of
/// twelve dimensions of equal variance, and of the one along its image (1/12 each; the points are a sample,
/// hence 0.06).
#[test]
fn the_null_space_of_a_map_to_fewer_dimensions_is_measured() {
    let w = orthogonal(12, 4, 15);
    let reduce = map(12, 4, |b, x| {
        let kept = times(b, x, &w);
        b.l2_normalise(&kept, -1, 1e-12)
    });
    let report = report(&reduce, &points(300, 12, 16));
    let spectra = report.jacobian.as_ref().unwrap();
    assert_eq!((spectra.attainable_rank, spectra.rank[0]), (3, 3));
    let lost = report.check("null_space").unwrap().number;
    assert!((lost - 9.0 / 12.0).abs() < 0.06, "{lost}");
    assert!(report.skipped.iter().any(|s| s.name == "collision" && s.reason.contains("cannot be injective")));
    assert_ne!(report.verdict, Verdict::Fail, "{report:#?}");
}

/// A dead input and too few training rows are not a defect of the map: they lower the attainable rank.
#[test]
fn the_attainable_rank_depends_on_the_data() {
    let blind = linear(&Array2::from_diag(&array![1.0, 1.0, 0.0, 1.0]));
    let mut points = points(60, 4, 30);
    assert_eq!(verdict(&report(&blind, &points), "rank"), Verdict::Fail);
    points.column_mut(2).fill(0.7);
    let dead = report(&blind, &points);
    assert_eq!(verdict(&dead, "rank"), Verdict::Pass, "{dead:#?}");
    points.column_mut(2).iter_mut().enumerate().for_each(|(i, v)| *v = i as f32);
    let subject = CheckInput { spanned: Some(3), ..input(&blind, &points) };
    assert_eq!(verdict(&check_map(&subject), "rank"), Verdict::Pass);
}

#[test]
fn a_constant_map_fails_and_does_not_panic() {
    let constant = map(3, 3, |b, x| b.mul_scalar(x, 0.0));
    let report = report(&constant, &points(60, 3, 17));
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(verdict(&report, "rank"), Verdict::Fail);
    assert_eq!(verdict(&report, "information"), Verdict::Warn, "a constant has no information");
}

/// sign(x) sqrt|x| has an infinite slope at 0, where pooled activations often are. Those inputs are left out
/// and reported.
#[test]
fn infinite_slopes_are_left_out_and_reported() {
    let rooted = map(4, 4, |b, x| {
        let (size, sign) = (b.abs(x), b.sign(x));
        let root = b.sqrt(&size);
        b.mul(&sign, &root)
    });
    let mut points = points(60, 4, 29).mapv(|v| v + v.signum());
    points.column_mut(2).fill(0.0);
    let report = report(&rooted, &points);
    let share = report.check("differentiable").unwrap();
    assert_eq!((share.verdict, share.number), (Verdict::Warn, 0.25), "{report:#?}");
    assert_eq!((verdict(&report, "rank"), verdict(&report, "derivative")), (Verdict::Pass, Verdict::Pass));
    assert_eq!(report.jacobian.unwrap().rank, vec![3; 60]);
}

#[test]
fn an_exact_inverse_passes_and_a_wrong_one_fails() {
    let q = orthogonal(5, 5, 18);
    let (map, back, wrong) = (linear(&q), linear(&q.t().to_owned()), linear(&-q.t().to_owned()));
    let points = points(60, 5, 19);
    let both = InverseSides { left: true, right: true };
    let subject = |inverse| CheckInput {
        inverse: Some((inverse, both)),
        targets: Some(points.view()),
        ..input(&map, &points)
    };
    let good = check_map(&subject(&back));
    assert_eq!((verdict(&good, "round_trip"), verdict(&good, "cycle")), (Verdict::Pass, Verdict::Pass));
    near(good.check("round_trip").unwrap().number, 0.0);
    let bad = check_map(&subject(&wrong));
    assert_eq!((verdict(&bad, "round_trip"), verdict(&bad, "cycle")), (Verdict::Fail, Verdict::Fail));
}

/// The best decoder of a map that keeps 4 of 8 dimensions of equal variance has an error of sqrt(1/2), the
/// error floor, so it passes.
#[test]
fn the_limits_of_a_decoder_account_for_the_variance_that_the_map_loses() {
    let w = orthogonal(8, 4, 20);
    let (map, decoder) = (linear(&w), linear(&w.t().to_owned()));
    let points = points(400, 8, 21);
    let subject = CheckInput {
        inverse: Some((&decoder, InverseSides { left: true, right: false })),
        ..input(&map, &points)
    };
    let report = check_map(&subject);
    let error = report.check("round_trip").unwrap();
    assert!((error.number - 0.5f64.sqrt()).abs() < 0.03, "{}", error.number);
    assert_eq!(error.verdict, Verdict::Pass, "{error:?}");
    assert!(report.skipped.iter().any(|s| s.name == "cycle"));
}

#[test]
fn surjectivity_is_the_fraction_of_targets_reached() {
    let identity = linear(&Array2::eye(2));
    let mut targets = points(200, 2, 22);
    targets.slice_axis_mut(Axis(0), (100..).into()).mapv_inplace(|v| v + 50.0);
    let points = points(200, 2, 23);
    let subject = CheckInput { targets: Some(targets.view()), ..input(&identity, &points) };
    let reached = check_map(&subject).check("surjectivity").unwrap().number;
    assert!((0.4..=0.5).contains(&reached), "{reached}");
}

/// Groups of six far from each other: the five nearest neighbours of a point are the rest of its group. The
/// first column tells the groups apart; the second is the same in all of them, so that the map that keeps it
/// moves points of other groups onto each point.
#[test]
fn the_neighbours_that_a_map_keeps_are_counted() {
    let groups = Array2::from_shape_fn((120, 2), |(i, j)| [100 * (i / 6), i % 6][j] as f32);
    for (column, kept, verdict_of) in [(0, 1.0, Verdict::Pass), (1, 0.0, Verdict::Warn)] {
        let w = Array2::from_shape_fn((2, 1), |(i, _)| f64::from(u8::from(i == column)));
        let report = report(&linear(&w), &groups);
        assert_eq!(report.check("neighbours").unwrap().number, kept, "column {column}");
        assert_eq!(verdict(&report, "neighbours"), verdict_of, "column {column}");
    }
}

#[test]
fn the_probe_compares_labels_predicted_from_reconstructed_rows() {
    let labels: Vec<usize> = (0..90).map(|i| i % 3).collect();
    let mut rows = points(90, 6, 24);
    rows.outer_iter_mut().zip(&labels).for_each(|(mut row, label)| row[*label] += 8.0);
    // The first map keeps the three columns that separate the classes, the second loses them.
    for (kept, verdict_of) in [(0, Verdict::Pass), (3, Verdict::Fail)] {
        let w = Array2::from_shape_fn((6, 3), |(i, j)| f64::from(u8::from(i == j + kept)));
        let (map, decoder) = (linear(&w), linear(&w.t().to_owned()));
        let probe =
            ProbeLabels { labels: labels.clone(), training: rows.view(), training_labels: labels.clone() };
        let sides = InverseSides { left: true, right: true };
        let subject =
            CheckInput { inverse: Some((&decoder, sides)), labels: Some(probe), ..input(&map, &rows) };
        assert_eq!(verdict(&check_map(&subject), "probe"), verdict_of, "columns from {kept}");
    }
}

#[test]
fn limits_can_be_set() {
    let stretched = linear(&Array2::from_diag(&array![1.0, 60.0]));
    let mut settings = CheckSettings::default();
    settings.set_limits(chiasm_check::definition("condition_number").unwrap(), Some(10.0), Some(50.0));
    let points = points(20, 2, 25);
    let subject = input(&stretched, &points);
    let report = check(&subject, &settings, engine(), &Default::default(), &|_, _| ()).unwrap();
    assert_eq!(verdict(&report, "condition_number"), Verdict::Fail);
    let settings = CheckSettings { expected_rank: Some(1), ..CheckSettings::default() };
    let report = check(&subject, &settings, engine(), &Default::default(), &|_, _| ()).unwrap();
    assert_eq!(report.jacobian.unwrap().attainable_rank, 1);
}

#[test]
fn invalid_maps_and_points_are_refused_with_the_reason() {
    let mut b = Builder::new("two");
    let x = b.input("x", DType::F32, &[Dim::named("n"), 2.into()]).unwrap();
    let y = b.input("y", DType::F32, &[Dim::named("n"), 2.into()]).unwrap();
    let z = b.add(&x, &y);
    b.output("z", &z, DType::F32, &[Dim::named("n"), 2.into()]);
    let two = b.finish().unwrap();
    let refuse = |graph, points: Array2<f32>| {
        let subject = input(graph, &points);
        check(&subject, &CheckSettings::default(), engine(), &Default::default(), &|_, _| ()).unwrap_err()
    };
    let error = refuse(&two, points(5, 2, 1));
    assert!(matches!(error, Error::NotAMap { .. }) && error.to_string().contains("y f32[n,2]"), "{error}");
    let identity = linear(&Array2::eye(3));
    assert!(refuse(&identity, points(5, 2, 1)).to_string().contains("width 3"));
    assert!(refuse(&identity, Array2::zeros((0, 3))).to_string().contains("at least one"));
    let mut holed = points(5, 3, 1);
    holed[[2, 1]] = f32::NAN;
    assert!(refuse(&identity, holed).to_string().contains("row 2"));
}

/// A row's image depends on the batch: no Jacobian per row exists. One point has no other rows, and is still
/// refused.
#[test]
fn a_map_that_mixes_rows_is_refused() {
    let centred = map(3, 3, |b, x| {
        let mean = b.op("ReduceMean", &[x], &[("axes", [0_i64].as_slice().into())]);
        b.sub(x, &mean)
    });
    let softmax = map(3, 3, |b, x| b.op("Softmax", &[x], &[("axis", 0_i64.into())]));
    let scaled = map(3, 3, |b, x| {
        let size = b.abs(x);
        let largest = b.op("ReduceMax", &[&size], &[("axes", [0_i64, 1].as_slice().into())]);
        b.div(x, &largest)
    });
    for (graph, rows) in [(&centred, 9), (&softmax, 9), (&scaled, 9), (&centred, 1), (&scaled, 1)] {
        let points = points(rows, 3, 34);
        let subject = input(graph, &points);
        let settings = CheckSettings::default();
        let error = check(&subject, &settings, engine(), &Default::default(), &|_, _| ()).unwrap_err();
        assert!(matches!(error, Error::RowsInteract { .. }), "{error}");
        assert!(error.to_string().contains("does not map every row by itself"), "{error}");
    }
}

/// The sums of this map cancel to a millionth, so that its images depend on the order of a sum, which an
/// engine may change with the number of rows. That is no influence of other rows.
#[test]
fn a_map_whose_sums_cancel_is_not_refused() {
    let half = points(128, 2, 36).mapv(f64::from);
    let weights =
        Array2::from_shape_fn((256, 2), |(i, k)| if i < 128 { half[[i, k]] } else { -half[[255 - i, k]] });
    let close = points(9, 256, 35).mapv(|v| 1.0 + 1e-6 * v);
    assert_eq!(report(&linear(&weights), &close).points, 9);
}

/// `Hardmax` has no derivative, so the checks that need one could not be made.
#[test]
fn every_check_is_recorded_or_skipped_once() {
    let steps = map(4, 4, |b, x| b.op("Hardmax", &[x], &[]));
    let plain = report(&linear(&orthogonal(4, 4, 31)), &points(60, 4, 32));
    let flat = report(&steps, &points(60, 4, 33));
    let rank = flat.check("rank").unwrap();
    assert!(flat.jacobian.is_none() && rank.meaning.contains("Hardmax"), "{flat:#?}");
    assert_eq!((rank.verdict, flat.verdict), (Verdict::Unknown, Verdict::Unknown));
    assert_every_check_has_an_entry(&plain);
    assert_every_check_has_an_entry(&flat);
}

#[test]
fn one_point_is_enough_for_a_jacobian() {
    let report = report(&linear(&orthogonal(3, 3, 26)), &points(1, 3, 27));
    assert_eq!(report.jacobian.unwrap().rank, [3]);
    assert_eq!(report.verdict, Verdict::Pass);
}

/// Above 2048 dimensions on both sides the ends of the spectrum are computed from products with the Jacobian.
/// The leading values are separated, so they have converged. A map that keeps half of its dimensions fails
/// the rank check; a full rank cannot be shown in this way.
#[test]
fn the_ends_of_the_spectrum_of_a_very_wide_map_are_found() {
    let wide = |weights: Vec<f32>| {
        let d = weights.len();
        map(d, d, |b, x| {
            let weights = b.constant("weights", Tensor::f32(&[d], weights).unwrap());
            b.mul(x, &weights)
        })
    };
    let leading = [10.0, 5.0, 3.0];
    let weights: Vec<f32> =
        (0..2100).map(|i| *leading.get(i).unwrap_or(&(0.5 + i as f32 / 4200.0))).collect();
    let points = points(3, 2100, 28);
    let whole = report(&wide(weights), &points);
    assert_every_check_has_an_entry(&whole);
    let spectra = whole.jacobian.as_ref().unwrap();
    assert!(!spectra.exact && spectra.rank.len() == 3);
    for (got, expected) in spectra.singular_values[1].iter().zip(leading) {
        near(f64::from(*got), f64::from(expected));
    }
    assert!(spectra.margins().iter().all(|m| *m >= 0.499), "no Ritz value is below the spectrum");
    assert_eq!(verdict(&whole, "rank"), Verdict::Unknown);
    let half = report(&wide((0..2100).map(|i| (i % 2) as f32).collect()), &points);
    assert_eq!(verdict(&half, "rank"), Verdict::Fail);
    let one = report(&wide(vec![1.0; 2100]), &points);
    assert_eq!((verdict(&one, "lipschitz"), verdict(&one, "collision")), (Verdict::Pass, Verdict::Unknown));
}
