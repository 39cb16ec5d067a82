//! Healthy maps pass, defective ones fail, and what was not examined is unknown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_check::{CheckInput, CheckSettings, MapReport, Verdict, check, definition};
use chiasm_graph::{Graph, Tensor};
use common::*;
use ndarray::{Array1, Array2, Axis};

fn report_with(subject: &CheckInput<'_>, settings: &CheckSettings) -> MapReport {
    check(subject, settings, engine(), &Default::default(), &|_, _| ()).unwrap()
}

/// A matrix `[d, o]` of rank r whose singular values fall from 1 to `least` as powers.
fn of_rank(d: usize, o: usize, r: usize, least: f64, seed: u64) -> Array2<f64> {
    let values = Array1::from_shape_fn(r, |i| least.powf(i as f64 / (r.max(2) - 1) as f64));
    let (u, v) = (orthogonal(d, r, seed), orthogonal(o, r, seed + 1));
    (u * &values).dot(&v.t())
}

/// normalise(x W), as closed forms end.
fn normalised(w: &Array2<f64>) -> Graph {
    map(w.nrows(), w.ncols(), |b, x| {
        let y = times(b, x, w);
        b.l2_normalise(&y, -1, 1e-12)
    })
}

/// A regression onto targets that span 11 of 16 dimensions cannot have a higher rank: between the spheres it
/// is 10. The same map fails if the targets span all 16, and so does one that loses a dimension of the 11.
#[test]
fn a_map_need_not_reach_more_than_its_targets_span() {
    let points = points(300, 20, 1);
    for (rank, reached, expected) in
        [(11, Some(11), Verdict::Pass), (11, None, Verdict::Fail), (10, Some(11), Verdict::Fail)]
    {
        let map = normalised(&of_rank(20, 16, rank, 0.1, 2));
        let report = check_map(&CheckInput { reached, ..input(&map, &points) });
        assert_eq!(verdict(&report, "rank"), expected, "rank {rank}, reached {reached:?}: {report:#?}");
        let spectra = report.jacobian.unwrap();
        assert_eq!(spectra.attainable_rank, reached.unwrap_or(16) - 1);
        assert_eq!(spectra.rank, vec![rank - 1; 64]);
    }
}

/// Constant inputs, as encoders have on some data, limit the rank in both directions.
#[test]
fn constant_inputs_and_constant_targets_are_not_a_defect() {
    let mut points = points(300, 12, 3);
    for (column, value) in [(1, 0.0), (4, 0.3), (7, -2.0)] {
        points.column_mut(column).fill(value);
    }
    let mut w = of_rank(12, 12, 12, 0.1, 4);
    for column in [1, 4, 7] {
        w.row_mut(column).fill(0.0);
    }
    for (map, reached) in
        [(normalised(&w), 12), (linear(&w), 12), (normalised(&of_rank(12, 12, 6, 0.2, 5)), 6)]
    {
        let report = check_map(&CheckInput { reached: Some(reached), ..input(&map, &points) });
        assert_eq!(verdict(&report, "rank"), Verdict::Pass, "{report:#?}");
    }
}

/// Roots have an infinite slope at zero, where those inputs are left out: the rank that is expected there is
/// lower by as many. Zeros lie at other inputs of each point, and two inputs are constant.
#[test]
fn inputs_that_are_left_out_lower_the_rank_that_is_expected() {
    let mut points = points(200, 10, 6).mapv(|v| v + 0.5 * v.signum());
    points.indexed_iter_mut().for_each(|((i, j), v)| *v = if (i + 3 * j) % 7 == 0 { 0.0 } else { *v });
    points.column_mut(2).fill(0.0);
    points.column_mut(5).fill(1.0);
    let (q, wide) = (orthogonal(10, 10, 7), orthogonal(10, 10, 8));
    for q in [&q, &wide] {
        for unit in [false, true] {
            let rooted = map(10, 10, |b, x| {
                let (size, sign) = (b.abs(x), b.sign(x));
                let root = b.sqrt(&size);
                let root = b.mul(&sign, &root);
                let root = if unit { b.l2_normalise(&root, -1, 1e-12) } else { root };
                times(b, &root, q)
            });
            let report = report(&rooted, &points);
            assert_eq!(verdict(&report, "rank"), Verdict::Pass, "{report:#?}");
            assert_eq!(verdict(&report, "derivative"), Verdict::Pass, "{report:#?}");
            let ranks = &report.jacobian.as_ref().unwrap().attainable_ranks;
            assert!(ranks.iter().min() < ranks.iter().max(), "{ranks:?}");
        }
    }
}

/// Maps that normalise lose the direction along the ray. Encoders have a large mean, and weights of small
/// directions are large, so that rounding leaves more of that direction than of the smallest one that is
/// kept: only a projection tells them apart.
#[test]
fn the_direction_along_the_ray_is_projected_out() {
    for (offset, least, seed) in [(1.0, 1e-3, 10), (8.0, 1e-4, 11), (50.0, 1e-4, 12)] {
        let points = points(200, 16, seed).mapv(|v| v + offset);
        let mean = unit_rows(&points).mean_axis(Axis(0)).unwrap();
        let w = of_rank(16, 16, 16, least, seed + 20);
        let centred = map(16, 16, |b, x| {
            let unit = b.l2_normalise(x, -1, 1e-12);
            let mean = b.constant("mean", Tensor::f32(&[16], mean.mapv(|v| v as f32).to_vec()).unwrap());
            let centred = b.sub(&unit, &mean);
            let y = times(b, &centred, &w);
            b.l2_normalise(&y, -1, 1e-12)
        });
        let report = report(&centred, &points);
        let spectra = report.jacobian.as_ref().unwrap();
        assert!(spectra.spheres.ignores_length && spectra.spheres.on_sphere, "offset {offset}");
        assert_eq!(verdict(&report, "rank"), Verdict::Pass, "offset {offset}, least {least}: {report:#?}");
        assert!(spectra.rank.iter().all(|rank| *rank == 15), "{:?}", spectra.rank);
    }
}

fn unit_rows(rows: &Array2<f32>) -> Array2<f64> {
    let rows = rows.mapv(f64::from);
    let lengths = rows.map_axis(Axis(1), |row| row.dot(&row).sqrt()).insert_axis(Axis(1));
    rows / lengths
}

/// A `Dropout` does nothing in inference, so that the map behind it is examined like any other.
#[test]
fn a_defect_behind_a_dropout_is_found() {
    let low = of_rank(16, 16, 6, 0.5, 30);
    let dropped = map(16, 16, |b, x| {
        let kept = b.op("Dropout", &[x], &[]);
        times(b, &kept, &low)
    });
    let report = report(&dropped, &points(100, 16, 31));
    assert_eq!(verdict(&report, "rank"), Verdict::Fail);
    assert!(report.check("rank").unwrap().meaning.contains("6 of 16"), "{report:#?}");
}

/// What was not examined is unknown, and worsens the verdict unless that is allowed.
#[test]
fn a_map_that_cannot_be_differentiated_is_unknown() {
    let steps = map(4, 4, |b, x| b.op("Hardmax", &[x], &[]));
    let points = points(80, 4, 40);
    let strict = report(&steps, &points);
    assert_eq!(strict.verdict, Verdict::Unknown, "{strict:#?}");
    assert!(["rank", "collision", "orientation"].iter().all(|name| strict.unknown.contains(name)));
    let settings = CheckSettings { allow_unknown: true, ..CheckSettings::default() };
    let lenient = report_with(&input(&steps, &points), &settings);
    assert_eq!(verdict(&lenient, "rank"), Verdict::Unknown);
    assert!(lenient.unknown.is_empty() && lenient.verdict < Verdict::Unknown, "{lenient:#?}");
}

/// With few rows some numbers mean nothing, which is no defect; but a limit that was set by name is not
/// passed in silence.
#[test]
fn a_limit_that_was_set_is_not_passed_by_too_few_rows() {
    let (identity, few) = (linear(&Array2::eye(3)), points(20, 3, 41));
    assert_eq!(report(&identity, &few).verdict, Verdict::Pass);
    let mut settings = CheckSettings::default();
    settings.set_limits(definition("neighbours").unwrap(), None, Some(0.3));
    let asked = report_with(&input(&identity, &few), &settings);
    assert_eq!((verdict(&asked, "neighbours"), asked.verdict), (Verdict::Unknown, Verdict::Unknown));
}

/// The sentence follows the verdict, also under limits that allow what it describes.
#[test]
fn the_sentence_follows_the_verdict() {
    let low = linear(&of_rank(6, 6, 4, 0.5, 50));
    let points = points(60, 6, 51);
    let mut settings = CheckSettings::default();
    let said = |settings: &CheckSettings| {
        let report = report_with(&input(&low, &points), settings);
        let rank = report.check("rank").unwrap();
        (rank.verdict, rank.meaning.clone())
    };
    let (strict, text) = said(&settings);
    assert!(strict == Verdict::Fail && text.contains("directions are lost"), "{text}");
    settings.set_limits(definition("rank").unwrap(), Some(1.0), Some(1.0));
    let (lenient, text) = said(&settings);
    assert!(lenient == Verdict::Pass && text.contains("the limits allow"), "{text}");
    // A rank above the one that is required is not called equal to it.
    let full = linear(&orthogonal(6, 6, 52));
    let report = check_map(&CheckInput { reached: Some(4), ..input(&full, &points) });
    let rank = report.check("rank").unwrap();
    assert!(rank.verdict == Verdict::Pass && rank.meaning.contains("the rank is 6"), "{rank:?}");
    assert!(rank.meaning.contains("must have 4"), "{rank:?}");
}
