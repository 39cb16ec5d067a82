//! The checks of rank and condition number, and what limits the attainable rank in words.

use crate::cloud::median;
use crate::spectra::JacobianSpectra;
use crate::verdict::{CheckLog, Verdict, digits};

/// Records the rank and the condition number.
pub(crate) fn check(log: &mut CheckLog<'_>, spectra: &JacobianSpectra, d: usize, o: usize) {
    let short = spectra.points_short_of_rank();
    log.judge("rank", short as f64 / spectra.rank.len().max(1) as f64, |verdict| {
        rank_in_words(spectra, short, verdict, (d, o))
    });
    let condition = median(&spectra.condition_number);
    let volume = median(&spectra.log_volume);
    let meaning = format!(
        "the strongest direction is stretched {} times more than the weakest attainable one; log-volume {}",
        digits(condition),
        digits(volume)
    );
    log.record("condition_number", condition, meaning);
}

/// Returns the ranks of all points beside the attainable one, in words that fit the verdict.
fn rank_in_words(
    spectra: &JacobianSpectra,
    short: usize,
    verdict: Verdict,
    (d, o): (usize, usize),
) -> String {
    let (points, attainable) = (spectra.rank.len(), spectra.attainable_rank);
    let range = |ranks: &[usize]| {
        let (least, most) = (ranks.iter().min().unwrap_or(&0), ranks.iter().max().unwrap_or(&0));
        if least == most { least.to_string() } else { format!("{least} to {most}") }
    };
    let limit = rank_limit(spectra, d, o);
    if short == 0 && range(&spectra.rank) == attainable.to_string() {
        return format!("the rank is {attainable} at every point, all that {limit} allows");
    }
    if short == 0 {
        let allowed = range(&spectra.attainable_ranks);
        return format!(
            "the rank is {} and nowhere too low: {limit} must have {allowed}",
            range(&spectra.rank)
        );
    }
    let below =
        spectra.rank.iter().zip(&spectra.attainable_ranks).filter(|(rank, attainable)| rank < attainable);
    let (least, of) = below.min().unwrap_or((&0, &attainable));
    match verdict {
        Verdict::Pass => format!(
            "the limits allow that the rank is too low at {short} of {points} points, down to \
             {least} of {of} \
             ({limit})"
        ),
        _ => format!(
            "at {short} of {points} points the rank is too low, down to {least} of {of} ({limit}): \
             directions \
             are lost"
        ),
    }
}

/// Returns a description of what limits the attainable rank.
fn rank_limit(spectra: &JacobianSpectra, d: usize, o: usize) -> String {
    let mut text = format!("a map from {d} to {o} dimensions");
    let spheres = spectra.spheres;
    match (spheres.ignores_length, spheres.on_sphere) {
        (true, true) => text.push_str(" that ignores its input's length and returns points on a sphere"),
        (true, false) => text.push_str(" that ignores its input's length"),
        (false, true) => text.push_str(" that returns points on a sphere"),
        (false, false) => {}
    }
    let (spanned, reached) = (spectra.spanned < d.min(o), spectra.reached < o.min(spectra.spanned));
    if spanned {
        text.push_str(&format!(", of data that spans {} dimensions", spectra.spanned));
    }
    if reached {
        text.push_str(&format!(", fitted to reach {} dimensions", spectra.reached));
    }
    text
}
