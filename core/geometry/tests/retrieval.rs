//! Retrieval with several relevant items compared with scikit-learn, trec_eval and sentence-transformers (see
//! reference/make_retrieval.py), with brute force, and with chance.
#![expect(clippy::unwrap_used, reason = "a test that cannot build its case has failed")]

use chiasm_geometry::hubness::{bank_penalties, csls_penalties};
use chiasm_geometry::random::Random;
use chiasm_geometry::retrieval::{
    QueryOutcome, Rank, Ranks, Retrieval, RetrievalItems, RetrievalScores, SharedItems, TIE,
};
use ndarray::{Array2, Axis, array};
use serde_json::Value;

fn cases() -> Value {
    serde_json::from_str(include_str!("reference/retrieval.json")).unwrap()
}

fn vectors(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(value.clone()).unwrap();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn groups(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

fn noise(n: usize, d: usize, seed: u64) -> Array2<f32> {
    let mut random = Random::new(seed);
    Array2::from_shape_simple_fn((n, d), || random.normal() as f32)
}

fn scores(x: &Array2<f32>, of_x: &[usize], y: &Array2<f32>, of_y: &[usize]) -> RetrievalScores {
    let (x, y) = (
        RetrievalItems { vectors: x.view(), groups: of_x },
        RetrievalItems { vectors: y.view(), groups: of_y },
    );
    Retrieval::new(x, y, None).unwrap().outcomes().scores()
}

/// Recalls and the median are counts and must be equal. The tolerance of the others allows for sums of
/// fractions.
fn same(got: RetrievalScores, want: &Value) {
    let got = serde_json::to_value(got).unwrap();
    for (name, want) in want.as_object().unwrap() {
        let (got, want) = (got[name].as_f64().unwrap(), want.as_f64().unwrap());
        let slack = if name.starts_with("recall") || name == "median_rank" { 0.0 } else { 1e-12 };
        assert!((got - want).abs() <= slack, "{name}: {got}, expected {want}");
    }
}

/// Five captions per picture, the protocol of Flickr30k and COCO.
#[test]
fn five_captions_per_picture_agree_with_the_references() {
    let case = &cases()["captions"];
    let (x, y, rows) = (vectors(&case["x"]), vectors(&case["y"]), groups(&case["rows"]));
    let pictures: Vec<usize> = (0..x.nrows()).collect();
    same(scores(&x, &pictures, &y, &rows), &case["forward"]);
    same(scores(&y, &rows, &x, &pictures), &case["backward"]);
}

/// Items of several groups, against a search of every query by hand. The scores have no ties.
#[test]
fn an_item_may_belong_to_several_groups() {
    let (x, y) = (noise(30, 6, 1), noise(40, 6, 2));
    let mut random = Random::new(3);
    let mut memberships = |items: usize| -> Vec<Vec<usize>> {
        (0..items).map(|_| (0..1 + random.below(3)).map(|_| random.below(25)).collect()).collect()
    };
    let (of_x, of_y) = (memberships(30), memberships(40));
    let queries = SharedItems { vectors: x.view(), groups: &of_x };
    let gallery = SharedItems { vectors: y.view(), groups: &of_y };
    let found = Retrieval::shared(queries, gallery, None).unwrap().outcomes();
    let mut places = Vec::new();
    for (query, own) in of_x.iter().enumerate() {
        let mut order: Vec<usize> = (0..40).collect();
        order.sort_by(|a, b| x.row(query).dot(&y.row(*b)).total_cmp(&x.row(query).dot(&y.row(*a))));
        let relevant = |item: &usize| of_y[*item].iter().any(|group| own.contains(group));
        places.extend(order.iter().position(relevant));
    }
    assert_eq!(found.outcomes.len(), places.len());
    for k in [1, 5, 10] {
        let hits = places.iter().filter(|place| **place < k).count();
        let recall = found.outcomes.iter().map(|outcome| outcome.first.recall(k)).sum::<f64>();
        assert!((recall - hits as f64).abs() < 1e-9, "recall@{k}: {recall}, expected {hits}");
    }
    // one group each is the retrieval of groups
    let single = |groups: &[Vec<usize>]| -> Vec<usize> { groups.iter().map(|own| own[0]).collect() };
    let (of_x, of_y) = (single(&of_x), single(&of_y));
    let lists = |groups: &[usize]| -> Vec<Vec<usize>> { groups.iter().map(|group| vec![*group]).collect() };
    let (lists_x, lists_y) = (lists(&of_x), lists(&of_y));
    let queries = SharedItems { vectors: x.view(), groups: &lists_x };
    let gallery = SharedItems { vectors: y.view(), groups: &lists_y };
    let found = Retrieval::shared(queries, gallery, None).unwrap().outcomes();
    assert_eq!(found.scores(), scores(&x, &of_x, &y, &of_y));
}

/// Mean average precision over categories, some with more than ten relevant items.
#[test]
fn categories_agree_with_scikit_learn_and_trec_eval() {
    let case = &cases()["labels"];
    let [of_x, of_y] = [groups(&case["labels"][0]), groups(&case["labels"][1])];
    same(scores(&vectors(&case["x"]), &of_x, &vectors(&case["y"]), &of_y), &case["figures"]);
}

/// Integer scores with many ties. The reference splits a sorted list into blocks of equal scores.
#[test]
fn ties_are_blocks_of_equal_scores() {
    let mut random = Random::new(4);
    let whole =
        |n: usize, random: &mut Random| Array2::from_shape_simple_fn((n, 2), || random.below(5) as f32 - 2.0);
    let (x, y) = (whole(700, &mut random), whole(90, &mut random));
    let of_x: Vec<usize> = (0..700).map(|_| random.below(12)).collect();
    let of_y: Vec<usize> = (0..90).map(|_| random.below(10)).collect();
    let items = [
        RetrievalItems { vectors: x.view(), groups: &of_x },
        RetrievalItems { vectors: y.view(), groups: &of_y },
    ];
    let got = Retrieval::new(items[0], items[1], None).unwrap().outcomes();
    assert_eq!(got.queries, (0..700).filter(|&q| of_x[q] < 10).collect::<Vec<_>>());
    assert_eq!((got.left_out, got.gallery), (700 - got.queries.len(), 90));
    for (outcome, &query) in got.outcomes.iter().zip(&got.queries) {
        let score = |item: usize| x.row(query).dot(&y.row(item));
        let mut order: Vec<usize> = (0..90).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let mut places = Vec::new();
        let mut better = 0;
        for block in order.chunk_by(|&a, &b| score(a) == score(b)) {
            let relevant = block.iter().filter(|&&item| of_y[item] == of_x[query]).count();
            if relevant > 0 {
                places.push(Rank { better, ties: block.len() - relevant, relevant });
            }
            better += block.len();
        }
        assert_eq!(*outcome, QueryOutcome::new(&places).unwrap(), "query {query}");
    }
}

/// With one relevant item per query `Retrieval` and `Ranks` are bit-identical, with penalties and in both
/// directions.
#[test]
fn paired_sets_equal_groups_of_one() {
    let (a, b) = (noise(300, 8, 1), noise(300, 8, 2));
    let own: Vec<usize> = (0..300).collect();
    let items = [
        RetrievalItems { vectors: a.view(), groups: &own },
        RetrievalItems { vectors: b.view(), groups: &own },
    ];
    let [first, second] = csls_penalties(a.view(), b.view(), 10).unwrap();
    let ranks = Ranks::of_penalised(a.view(), b.view(), &first, &second).unwrap();
    let firsts = |x: usize, y: usize, penalty: &[f64]| -> Vec<Rank> {
        let found = Retrieval::new(items[x], items[y], Some(penalty)).unwrap().outcomes();
        found.outcomes.iter().map(|outcome| outcome.first).collect()
    };
    assert_eq!(firsts(0, 1, &second), ranks.forward);
    assert_eq!(firsts(1, 0, &first), ranks.backward);
}

/// A map that is constant up to rounding has exactly the scores of a random order.
#[test]
fn a_constant_map_scores_chance() {
    let mut random = Random::new(6);
    let mut constant = |n: usize| {
        Array2::from_shape_fn((n, 24), |(_, j)| {
            ((j + 1) as f32).sqrt() * (1.0 + f32::EPSILON * (random.below(3) as f32 - 1.0))
        })
    };
    let (x, y) = (constant(40), constant(150));
    let of_x: Vec<usize> = (0..40).collect();
    let of_y: Vec<usize> = (0..150).map(|i| if i < 50 { 0 } else { i % 40 }).collect();
    let items = [
        RetrievalItems { vectors: x.view(), groups: &of_x },
        RetrievalItems { vectors: y.view(), groups: &of_y },
    ];
    let found = Retrieval::new(items[0], items[1], None).unwrap().outcomes();
    assert_eq!(found.scores(), found.chance());
    // 1 - C(g - p, k) / C(g, k), as a product of the probabilities of k misses.
    let miss = |p: usize, k: usize| (0..k).map(|i| (150 - p - i) as f64 / (150 - i) as f64).product::<f64>();
    let sizes = (0..40).map(|group| of_y.iter().filter(|&&other| other == group).count());
    let want = sizes.map(|p| 1.0 - miss(p, 5)).sum::<f64>() / 40.0;
    assert!((found.chance().recall_at_5 - want).abs() < 1e-12);
}

/// For vectors of length 100, scores that differ by a few roundings of the product tie, others do not.
#[test]
fn ties_are_relative_to_the_lengths() {
    let query = array![[100.0f32, 0.0]];
    let unit = (TIE * 100.0) as f32;
    for (shift, ties) in [(0.5 * unit, 1), (4.0 * unit, 0)] {
        let gallery = array![[100.0f32, 3.0], [100.0 + shift, 7.0], [20.0, 5.0]];
        let items = RetrievalItems { vectors: query.view(), groups: &[0] };
        let others = RetrievalItems { vectors: gallery.view(), groups: &[0, 1, 2] };
        let found = Retrieval::new(items, others, None).unwrap().outcomes();
        assert_eq!(found.outcomes[0].first, Rank::single(1 - ties, ties));
    }
}

/// Both corrections rank the true partners above a hub that has the highest plain scores.
#[test]
fn hubness_penalties_demote_a_hub() {
    let queries = array![[1.0f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let gallery = array![[0.8f32, 0.1, 0.0], [0.1, 0.8, 0.0], [0.9, 0.9, 0.9], [0.7, 0.0, 0.0]];
    let items = RetrievalItems { vectors: queries.view(), groups: &[0, 1, 2] };
    let others = RetrievalItems { vectors: gallery.view(), groups: &[0, 1, 2, 0] };
    let firsts = |penalty: Option<&[f64]>| -> Vec<usize> {
        let found = Retrieval::new(items, others, penalty).unwrap().outcomes();
        found.outcomes.iter().map(|outcome| outcome.first.better).collect()
    };
    assert_eq!(firsts(None)[..2], [1, 1]);
    let [rows, columns] = csls_penalties(queries.view(), gallery.view(), 2).unwrap();
    assert_eq!((rows.len(), columns.len()), (3, 4));
    assert_eq!(firsts(Some(&columns))[..2], [0, 0]);
    assert_eq!(firsts(Some(&bank_penalties(gallery.view(), queries.view(), 2, 0.75).unwrap()))[..2], [0, 0]);
}

/// Related rows are far above their null. For unrelated rows the p-values are uniform: the mean of 60 is
/// within four standard errors (0.15) of one half.
#[test]
fn the_permutation_null_is_calibrated() {
    let base = noise(60, 12, 1);
    let rows: Vec<usize> = (0..300).map(|i| 10 + i / 5).collect();
    let ids: Vec<usize> = (0..60).map(|i| 10 + i).collect();
    let near = Array2::from_shape_fn((300, 12), |(i, j)| base[[i / 5, j]]) + 0.5 * noise(300, 12, 2);
    let null = |x: &Array2<f32>, of: &dyn Fn(usize) -> usize, draws: usize, seed: u64| {
        let (of_x, of_y): (Vec<_>, Vec<_>) =
            (rows.iter().map(|&r| of(r)).collect(), ids.iter().map(|&r| of(r)).collect());
        let items = [
            RetrievalItems { vectors: x.view(), groups: &of_x },
            RetrievalItems { vectors: base.view(), groups: &of_y },
        ];
        let retrieval = Retrieval::new(items[0], items[1], None).unwrap();
        retrieval.permutation_null(&rows, |rank| rank.recall(10), draws, seed).unwrap()
    };
    let (by_row, by_label) = (|row: usize| row, |row: usize| row % 7);
    let found = null(&near, &by_row, 199, 3);
    assert_eq!((found.p_value, found.permutations, found.queries), (1.0 / 200.0, 199, 300));
    // The chance level of recall@10 of 60 items, within five standard errors sd / sqrt(199).
    assert!((found.mean - 10.0 / 60.0).abs() < 5.0 * found.sd / 199.0_f64.sqrt(), "{found:?}");
    assert_eq!(null(&near, &by_label, 99, 3).p_value, 0.01);
    assert_eq!(null(&near, &by_row, 50, 8), null(&near, &by_row, 50, 8));
    for of in [&by_row as &dyn Fn(usize) -> usize, &by_label] {
        let mean = (0..60).map(|s| null(&noise(300, 12, 100 + s), of, 39, s).p_value).sum::<f64>() / 60.0;
        assert!((mean - 0.5).abs() < 0.15, "{mean}");
    }
}

/// The observed value is the score of all queries, and the mean of the null agrees with brute force.
#[test]
fn the_permutation_null_agrees_with_brute_force() {
    let (x, y) = (noise(12, 3, 1), noise(6, 3, 2));
    let rows: Vec<usize> = (0..12).map(|i| i / 2).collect();
    let ids: Vec<usize> = (0..6).collect();
    let items = [
        RetrievalItems { vectors: x.view(), groups: &rows },
        RetrievalItems { vectors: y.view(), groups: &ids },
    ];
    let retrieval = Retrieval::new(items[0], items[1], None).unwrap();
    let found = retrieval.permutation_null(&rows, Rank::reciprocal, 4000, 1).unwrap();
    assert!((found.value - retrieval.outcomes().scores().mrr).abs() < 1e-15);
    // Every row is paired equally often with every other row. Tolerance: five standard errors.
    let mean = (0..6).map(|turn| {
        let turned = y.select(Axis(0), &(0..6).map(|i| (i + turn) % 6).collect::<Vec<_>>());
        scores(&x, &rows, &turned, &ids).mrr
    });
    assert!((mean.sum::<f64>() / 6.0 - found.mean).abs() < 5.0 * found.sd / 4000.0_f64.sqrt());
}

/// 400 rows of 5 queries: the interval resamples rows and contains the score.
#[test]
fn intervals_resample_rows() {
    let y = noise(400, 16, 1);
    let x = Array2::from_shape_fn((2000, 16), |(i, j)| y[[i / 5, j]]) + 1.5 * noise(2000, 16, 2);
    let rows: Vec<usize> = (0..2000).map(|i| i / 5).collect();
    let ids: Vec<usize> = (0..380).collect();
    let gallery = y.slice_axis(Axis(0), (0..380).into());
    let items = [
        RetrievalItems { vectors: x.view(), groups: &rows },
        RetrievalItems { vectors: gallery, groups: &ids },
    ];
    let found = Retrieval::new(items[0], items[1], None).unwrap().outcomes();
    assert_eq!(found.left_out, 100);
    let hit = |outcome: &QueryOutcome| outcome.first.recall(1);
    let (low, high) = found.interval(&rows, hit, 1000, 0.95, 7).unwrap();
    let value = found.scores().recall_at_1;
    assert!(0.0 <= low && low < value && value < high && high <= 1.0, "{low} {value} {high}");
    assert!(found.interval(&rows[..1900], hit, 1000, 0.95, 7).is_err());
}

#[test]
fn invalid_input_is_an_error_that_names_it() {
    let (x, y) = (noise(4, 3, 1), noise(5, 3, 2));
    let new = |x: &Array2<f32>, of_x: &[usize], y: &Array2<f32>, of_y: &[usize], penalty: Option<&[f64]>| {
        let items = [
            RetrievalItems { vectors: x.view(), groups: of_x },
            RetrievalItems { vectors: y.view(), groups: of_y },
        ];
        Retrieval::new(items[0], items[1], penalty).map(|_| ()).unwrap_err().to_string()
    };
    let (four, five) = ([0, 1, 2, 3], [0, 1, 2, 3, 3]);
    assert!(new(&x, &four[..3], &y, &five, None).contains("groups of the queries"));
    assert!(new(&x, &four, &noise(5, 2, 3), &five, None).contains("expected 3, got 2"));
    assert!(new(&x, &four, &y, &five, Some(&[0.0])).contains("penalties"));
    assert!(new(&x, &[7; 4], &y, &five, None).contains("none of 4 queries"));
    let mut broken = y.clone();
    broken[[2, 1]] = f32::INFINITY;
    assert!(new(&x, &four, &broken, &five, None).contains("gallery: row 2"));
    let items = [
        RetrievalItems { vectors: x.view(), groups: &four },
        RetrievalItems { vectors: y.view(), groups: &five },
    ];
    let retrieval = Retrieval::new(items[0], items[1], None).unwrap();
    assert!(retrieval.permutation_null(&[0, 0, 1, 2], |r| r.recall(1), 9, 0).is_err());
    assert!(retrieval.permutation_null(&four, |r| r.recall(1), 0, 0).is_err());
}
