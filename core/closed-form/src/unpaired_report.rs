//! What a fit reports on the items that have no known partner.

use serde::Serialize;

/// How a fit used the items that have no known partner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnpairedReport {
    /// Whether they changed the maps.
    pub used: bool,
    /// The scores of held-out pairs with them and without, if there were pairs enough.
    pub held_out: Option<HeldOutScores>,
    /// Without pairs: how the distances within each modality were matched, if they were.
    pub matching: Option<MatchingReport>,
    /// Without pairs: the mean cosine of the images under maps that were fitted on two halves of the items.
    pub agreement: Option<f64>,
    /// Why the maps should not be trusted, if there is a reason.
    pub warning: Option<String>,
}

impl Default for UnpairedReport {
    fn default() -> Self {
        Self { used: true, held_out: None, matching: None, agreement: None, warning: None }
    }
}

/// The scores of held-out pairs: the mean of `1 - ln rank / ln candidates` in both directions, 1 if every
/// partner comes first and 0 if every one comes last. Candidates are the items without a partner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeldOutScores {
    /// Pairs that were held out in turn.
    pub pairs: usize,
    /// By the other pairs alone.
    pub pairs_alone: f64,
    /// With the items without a partner.
    pub with_the_rest: f64,
}

/// How a plan without pairs was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MatchingReport {
    /// The distances that were compared.
    pub distances: Vec<String>,
    /// The objective as a share of that of the product plan: 0 if the spaces are equal, 1 if nothing matches.
    pub unexplained: f64,
    /// The same of the best other optimum, if a start led to one.
    pub next_best: Option<f64>,
    /// Whether that optimum is about as good ([`chiasm_transport::GromovPlan::is_ambiguous`]).
    pub ambiguous: bool,
}

impl MatchingReport {
    /// Returns why the matching should not be trusted, if there is a reason.
    pub(crate) fn doubt(&self) -> Option<String> {
        let next = self.next_best.filter(|_| self.ambiguous)?;
        let own = self.unexplained;
        Some(format!(
            "another matching of the items is nearly as good (it leaves {next:.3} of the difference of \
             distances, this one {own:.3}); check the result, or give a few pairs"
        ))
    }
}
