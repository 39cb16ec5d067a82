//! Fits with items that have no known partner: the rotation, or the covariance under a plan.

use chiasm_geometry::linalg::product;
use chiasm_geometry::random::Random;
use ndarray::{Array2, Axis, Slice};

use crate::alternation::Alternation;
use crate::held_out::PairsAlone;
use crate::matching::{Matching, matched};
use crate::partners::PartnerClouds;
use crate::prepared::Prepared;
use crate::procrustes::polar;
use crate::sample::RowMeans;
use crate::unpaired::rotations;
use crate::unpaired_report::HeldOutScores;
use crate::{Error, FitContext, Result, UnpairedReport};

/// The rotations of two halves of the items should give images with at least this mean cosine.
const AGREEMENT: f64 = 0.5;
/// The fewest items of a modality that are split.
const HALVED: usize = 40;
/// Items of each modality whose distances are compared: for one of several starts, and for the final plan,
/// whose work grows with their square.
const START: usize = 200;
const SEEN: usize = 1200;

/// The clouds of a fit: `a` is rotated onto the reference `b`.
pub(crate) struct PartnerFit<'f> {
    pub(crate) alternation: Alternation,
    pub(crate) a: &'f PartnerClouds,
    pub(crate) b: &'f PartnerClouds,
    /// The fit on pairs alone that the iteration is compared with, if it is another one than the first
    /// rotation.
    pub(crate) pairs_alone: Option<PairsAlone<'f>>,
    /// The items without a partner, by which distances are compared.
    pub(crate) items: [Array2<f32>; 2],
    pub(crate) context: FitContext<'f>,
}

impl PartnerFit<'_> {
    fn tick(&self, done: usize, total: usize) -> Result<()> {
        let go_on = (self.context.progress)(done as u64, total.max(1) as u64);
        if go_on { Ok(()) } else { Err(Error::Cancelled) }
    }

    /// Returns the rotation after all iterations, and how items without a partner were used.
    pub(crate) fn rotation(&self) -> Result<(Array2<f64>, Option<UnpairedReport>)> {
        let (first, second) = self.a.known.shared(&self.b.known);
        let pull = product(&first.t(), &second)?;
        let alternation = &self.alternation;
        if self.a.rest.is_empty() || self.b.rest.is_empty() || (alternation.steps == 0 && !first.is_empty()) {
            return Ok((polar(pull.view())?, None));
        }
        if first.is_empty() {
            return self.without_pairs();
        }
        let tested = HeldOutScores::turns(alternation);
        let total = tested + alternation.steps;
        let clouds = (self.a, self.b);
        let tick = |turn| self.tick(turn, total);
        let held_out = HeldOutScores::of(alternation, clouds, self.pairs_alone, self.context.seed, &tick)?;
        let start = polar(pull.view())?;
        let report = UnpairedReport { held_out, ..UnpairedReport::default() };
        if held_out.is_some_and(|scores| scores.pairs_alone > scores.with_the_rest) {
            return Ok((start, Some(UnpairedReport { used: false, ..report })));
        }
        let (_, turn) = alternation.run(clouds, &pull, &start, &|step| self.tick(tested + step, total))?;
        Ok((turn, Some(report)))
    }

    /// Returns the rotation with the cheapest plan over all starts, and how much those of two halves agree.
    fn without_pairs(&self) -> Result<(Array2<f64>, Option<UnpairedReport>)> {
        // The other starts remain where no distances can be compared.
        let (start, matching) = match self.matched(START) {
            Ok(found) => (Some(self.rotation_of(&found)?), Some(found.report)),
            Err(Error::Cancelled) => return Err(Error::Cancelled),
            Err(_) => (None, None),
        };
        let (_, turn) = self.cheapest(self.a, self.b, start)?;
        let halved = self.a.rest.nrows().min(self.b.rest.nrows()) >= HALVED;
        let agreement = if halved { Some(self.agreement()?) } else { None };
        let doubtful = agreement.filter(|agreement| *agreement < AGREEMENT);
        let warning = doubtful.map(|agreement| {
            format!(
                "fits without pairs on two halves of the items disagree (mean cosine {agreement:.2} of their \
                 images, expected {AGREEMENT} or more), so the result is hardly better than chance; give a \
                 few pairs"
            )
        });
        Ok((turn, Some(UnpairedReport { agreement, warning, matching, ..UnpairedReport::default() })))
    }

    /// Returns the rotation that follows a plan.
    fn rotation_of(&self, found: &Matching) -> Result<Array2<f64>> {
        let x = self.a.rest.select(Axis(0), &found.places[0]);
        let y = self.b.rest.select(Axis(0), &found.places[1]);
        polar(product(&product(&x.t(), &found.plan)?, &y)?.view())
    }

    /// Fits on two halves of the items and returns the mean cosine of the images of all items.
    fn agreement(&self) -> Result<f64> {
        let mut turns = Vec::new();
        for half in 0..2 {
            let part = |cloud: &PartnerClouds, salt: u64| {
                let order = Random::new(self.context.seed ^ salt).permutation(cloud.rest.nrows());
                let mut places: Vec<usize> = order.into_iter().skip(half).step_by(2).collect();
                places.sort_unstable();
                cloud.at(&places)
            };
            turns.push(self.cheapest(&part(self.a, 1), &part(self.b, 2), None)?.1);
        }
        let images = (product(&self.a.rest, &turns[0])?, product(&self.a.rest, &turns[1])?);
        Ok((&images.0 * &images.1).sum() / self.a.rest.nrows() as f64)
    }

    /// Returns the covariance of the coordinates of both modalities under the plan and the pairs, up to a
    /// factor.
    pub(crate) fn covariance(
        &self,
        [source, target]: [&Prepared; 2],
    ) -> Result<(Array2<f64>, Option<UnpairedReport>)> {
        let count = |view: &Prepared, cloud: &PartnerClouds| view.coordinates.nrows() - cloud.rest.nrows();
        let part = |view: &Prepared, range: Slice| view.coordinates.slice_axis(Axis(0), range).to_owned();
        let known = |view: &Prepared, cloud: &PartnerClouds| {
            let count = count(view, cloud);
            RowMeans::of(part(view, Slice::from(..count)), &view.rows[..count])
        };
        let (first, second) = known(source, self.a).shared(&known(target, self.b));
        let pairs = product(&first.t(), &second)?;
        if self.a.rest.is_empty() || self.b.rest.is_empty() {
            return Ok((pairs, None));
        }
        let rest = |view: &Prepared, cloud: &PartnerClouds| part(view, Slice::from(count(view, cloud)..));
        let (x, y) = (rest(source, self.a), rest(target, self.b));
        if first.is_empty() {
            let Matching { plan, places, report } = self.matched(SEEN)?;
            let (x, y) = (x.select(Axis(0), &places[0]), y.select(Axis(0), &places[1]));
            let warning = report.doubt();
            let report = UnpairedReport { matching: Some(report), warning, ..UnpairedReport::default() };
            return Ok((product(&product(&x.t(), &plan)?, &y)?, Some(report)));
        }
        let (turn, report) = self.rotation()?;
        if report.as_ref().is_none_or(|report| !report.used) {
            return Ok((pairs, report));
        }
        let alternation = &self.alternation;
        let (_, targets) = alternation.targets((self.a, self.b), &turn, &y)?;
        let weighted = &x * &self.a.weights.view().insert_axis(Axis(1));
        Ok((pairs + product(&weighted.t(), &targets)? * alternation.weight, report))
    }

    fn matched(&self, most: usize) -> Result<Matching> {
        let clouds = [self.items[0].view(), self.items[1].view()];
        matched(clouds, most, self.context.seed, &|done, of| self.tick(done, of))
    }

    /// Returns the cost of the last plan and the rotation of the start for which it is least. `further` is
    /// one more start.
    fn cheapest(
        &self,
        a: &PartnerClouds,
        b: &PartnerClouds,
        further: Option<Array2<f64>>,
    ) -> Result<(f64, Array2<f64>)> {
        let nothing = Array2::zeros((a.rest.ncols(), b.rest.ncols()));
        let mut starts = rotations(&a.rest, &b.rest, self.context.seed)?;
        starts.extend(further);
        let total = starts.len() * self.alternation.steps;
        let mut best = (f64::INFINITY, Array2::zeros((0, 0)));
        for (at, start) in starts.iter().enumerate() {
            let tick = |step| self.tick(at * self.alternation.steps + step, total);
            let found = self.alternation.run((a, b), &nothing, start, &tick)?;
            if found.0 < best.0 {
                best = found;
            }
        }
        Ok(best)
    }
}
