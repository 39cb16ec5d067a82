//! Whether items without a partner help: held-out pairs are ranked by maps that are fitted on the other pairs
//! alone, and by the rotation that items without a partner have changed.

use chiasm_geometry::folds::shuffled_folds;
use chiasm_geometry::linalg::product;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Slice};

use crate::Result;
use crate::alternation::Alternation;
use crate::partners::PartnerClouds;
use crate::procrustes::polar;
use crate::unpaired_report::HeldOutScores;

/// Folds over the known pairs, and the fewest pairs that are split.
const FOLDS: usize = 5;
const FEWEST: usize = 2 * FOLDS;
/// The largest number of turns of a fold, which decides only whether they help.
const TURNS: usize = 5;

/// Returns the images of both modalities under a fit on some of the known pairs: those of other pairs, then
/// those of the items without a partner. Pairs are given by their places.
pub(crate) type PairsAlone<'f> = &'f dyn Fn(&[usize], &[usize]) -> Result<[Array2<f64>; 2]>;

impl HeldOutScores {
    /// Scores both on held-out pairs; `None` if there are too few. Without `pairs_alone`, the pairs alone are
    /// those in the coordinates of `a` and `b`. `tick` is called before each turn with its number.
    pub(crate) fn of(
        alternation: &Alternation,
        (a, b): (&PartnerClouds, &PartnerClouds),
        pairs_alone: Option<PairsAlone<'_>>,
        seed: u64,
        tick: &dyn Fn(usize) -> Result<()>,
    ) -> Result<Option<Self>> {
        let (first, second) = a.known.shared(&b.known);
        let pairs = first.nrows();
        if pairs < FEWEST {
            return Ok(None);
        }
        let quick = Alternation { steps: alternation.steps.min(TURNS), ..alternation.clone() };
        let (mut alone, mut helped) = (0.0, 0.0);
        for (fold, split) in shuffled_folds(pairs, FOLDS, seed)?.into_iter().enumerate() {
            let part = |rows: &Array2<f64>| rows.select(Axis(0), &split.train);
            let pull = product(&part(&first).t(), &part(&second))?;
            let start = polar(pull.view())?;
            let (_, turn) = quick.run((a, b), &pull, &start, &|step| tick(fold * quick.steps + step))?;
            let tested = (first.select(Axis(0), &split.test), second.select(Axis(0), &split.test));
            let by = |turn: &Array2<f64>| -> Result<f64> {
                let (there, rest) = (product(&tested.0, turn)?, product(&a.rest, turn)?);
                score([there.view(), tested.1.view()], [rest.view(), b.rest.view()])
            };
            alone += match pairs_alone {
                Some(images) => score_of_images(&images(&split.train, &split.test)?, split.test.len())?,
                None => by(&start)?,
            };
            helped += by(&turn)?;
        }
        let mean = |sum: f64| sum / pairs as f64;
        Ok(Some(Self { pairs, pairs_alone: mean(alone), with_the_rest: mean(helped) }))
    }

    /// The turns of all folds.
    pub(crate) fn turns(alternation: &Alternation) -> usize {
        FOLDS * alternation.steps.min(TURNS)
    }
}

/// The score of images of tested pairs, which are followed by those of the items without a partner.
fn score_of_images(images: &[Array2<f64>; 2], pairs: usize) -> Result<f64> {
    let part = |at: usize, range: Slice| images[at].slice_axis(Axis(0), range);
    let (tested, rest) = (Slice::from(..pairs), Slice::from(pairs..));
    score([part(0, tested), part(1, tested)], [part(0, rest), part(1, rest)])
}

/// The sum over tested pairs of `1 - ln rank / ln candidates`, the mean of both directions. Candidates are
/// the partner and the items without a partner.
fn score(
    [first, second]: [ArrayView2<'_, f64>; 2],
    [rest_a, rest_b]: [ArrayView2<'_, f64>; 2],
) -> Result<f64> {
    let (there, back) = (product(&first, &rest_b.t())?, product(&second, &rest_a.t())?);
    let found = |others: ArrayView1<'_, f64>, own: f64| {
        let better = others.iter().filter(|score| **score > own).count();
        1.0 - (1.0 + better as f64).ln() / (1.0 + others.len() as f64).ln()
    };
    let own = (&first * &second).sum_axis(Axis(1));
    let of_pair = |i: usize| 0.5 * (found(there.row(i), own[i]) + found(back.row(i), own[i]));
    Ok((0..own.len()).map(of_pair).sum())
}
