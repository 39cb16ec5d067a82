use super::*;

const ROWS: usize = 80;

fn uniform(stream: u64, row: usize, column: u64) -> f64 {
    let hashed = (row as u64 * 37 + column * 101 + stream * 53) * 2_654_435_761 % (1 << 32);
    hashed as f64 / (1_u64 << 32) as f64
}

type Table = Vec<[f64; 3]>;
/// The stream and the noise of a system with each seed.
type Systems<'a> = &'a [(u64, f64)];

fn table(stream: u64) -> Table {
    (0..ROWS).map(|row| [0, 1, 2].map(|column| uniform(stream, row, column))).collect()
}

fn answers(stream: u64, noise: f64) -> Table {
    let mixed = |(truth, other): ([f64; 3], [f64; 3])| {
        [0, 1, 2].map(|column| (1.0 - noise) * truth[column] + noise * other[column])
    };
    table(5).into_iter().zip(table(stream)).map(mixed).collect()
}

/// What each row contributes: whether the class is right; right, wrong and missing labels; errors and
/// deviations divided by the variance.
fn contributions(kind: TaskKind, system: &Table) -> TaskRows {
    let truth = table(5);
    let largest = |row: &[f64; 3]| (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b]));
    let count = |held: &dyn Fn(usize) -> bool| (0..3).filter(|column| held(*column)).count() as f64;
    let moments = |column: usize| {
        let mean = truth.iter().map(|row| row[column]).sum::<f64>() / ROWS as f64;
        (mean, truth.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / ROWS as f64)
    };
    let moments = [0, 1, 2].map(moments);
    let of_row = |row: usize| {
        let (own, found) = (&truth[row], &system[row]);
        match kind {
            TaskKind::Classification => [f64::from(u8::from(largest(own) == largest(found))), 0.0, 0.0],
            TaskKind::MultiLabel => [
                count(&|at| own[at] > 0.6 && found[at] > 0.6),
                count(&|at| own[at] <= 0.6 && found[at] > 0.6),
                count(&|at| own[at] > 0.6 && found[at] <= 0.6),
            ],
            _ => {
                let sum = |of: &dyn Fn(usize) -> f64| (0..3).map(of).sum();
                let error = |at: usize| (own[at] - found[at]).powi(2) / moments[at].1;
                let deviation = |at: usize| (own[at] - moments[at].0).powi(2) / moments[at].1;
                [sum(&error), sum(&deviation), 0.0]
            }
        }
    };
    (0..ROWS).map(|row| (row, of_row(row))).collect()
}

fn sums(kind: TaskKind, systems: Systems<'_>) -> TaskSums {
    let rows = |(stream, noise): &(u64, f64)| contributions(kind, &answers(*stream, *noise));
    TaskSums::of(kind, &systems.iter().map(rows).collect::<Vec<_>>()).unwrap()
}

/// The values are printed by `tests/reference/task_bootstrap.py`, with 400,000 resamples of NumPy and the
/// scores of scikit-learn. With 20,000 resamples the standard error of a p-value of 0.5 is 0.0035, and the
/// tolerance 0.01.
#[test]
fn p_values_of_tasks_equal_those_of_scikit_learn() {
    let (one, other, close) = ([(7, 0.45)], [(11, 0.5)], [(11, 0.47)]);
    let seeds = |stream: u64, noise: f64| [0, 1, 2].map(|seed| (stream + 2 * seed, noise));
    let (first, second) = (seeds(7, 0.4), seeds(31, 0.45));
    let (class, labels, numbers) = (TaskKind::Classification, TaskKind::MultiLabel, TaskKind::Regression);
    let cases: [(TaskKind, Systems<'_>, Systems<'_>, f64, [f64; 2], f64); 9] = [
        (class, &one, &other, -0.062500, [-0.1250, -0.0125], 0.0332),
        (class, &one, &close, -0.062500, [-0.1250, -0.0125], 0.0332),
        (class, &first, &second, 0.220833, [0.0333, 0.4292], 0.0281),
        (labels, &one, &other, 0.047904, [0.0103, 0.0890], 0.0176),
        (labels, &one, &close, 0.003065, [-0.0170, 0.0226], 0.8149),
        (labels, &first, &second, 0.000802, [-0.1606, 0.2406], 0.9867),
        (numbers, &one, &other, 0.141319, [0.1310, 0.1524], 0.0000),
        (numbers, &one, &close, 0.053312, [0.0473, 0.0597], 0.0000),
        (numbers, &first, &second, 0.138127, [0.0400, 0.2747], 0.0242),
    ];
    for (kind, own, other, mean, interval, p) in cases {
        let (own, other) = (sums(kind, own), sums(kind, other));
        let found = own.difference(&other, 7).unwrap();
        assert!((found.mean - mean).abs() < 1e-6, "{kind:?}: {found:?}, scikit-learn {mean}");
        assert!((found.p - p).abs() < 0.01, "{kind:?}: {found:?}, NumPy {p}");
        let ends = found.interval.iter().zip(interval).all(|(own, numpy)| (own - numpy).abs() < 0.01);
        assert!(ends, "{kind:?}: {found:?}, NumPy {interval:?}");
        assert!((own.value() - other.value() - mean).abs() < 1e-6);
        let turned = other.difference(&own, 7).unwrap();
        assert!((turned.mean + found.mean).abs() < 1e-12 && turned.p == found.p, "{turned:?} {found:?}");
    }
}

#[test]
fn fusions_on_other_rows_or_tasks_are_not_compared() {
    let own = sums(TaskKind::Classification, &[(7, 0.4)]);
    let mut fewer = contributions(TaskKind::Classification, &answers(7, 0.4));
    fewer.pop();
    let fewer_sums = TaskSums::of(TaskKind::Classification, std::slice::from_ref(&fewer)).unwrap();
    assert!(own.difference(&fewer_sums, 1).is_none());
    assert!(own.difference(&sums(TaskKind::MultiLabel, &[(7, 0.4)]), 1).is_none());
    let whole = contributions(TaskKind::Classification, &answers(7, 0.4));
    assert!(TaskSums::of(TaskKind::Classification, &[whole.clone(), fewer]).is_none(), "nor are seeds");
    assert!(TaskSums::of(TaskKind::Classification, &[Vec::new()]).is_none());
    // The order of the rows does not matter.
    let turned: TaskRows = whole.into_iter().rev().collect();
    let turned = TaskSums::of(TaskKind::Classification, &[turned]).unwrap();
    assert_eq!(own.difference(&turned, 1).unwrap().mean, 0.0);
}
