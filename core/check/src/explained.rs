//! What each check computes: the words of `core/check/README.md` and of `chiasm check --explain`.

use crate::settings::{CHECKS, CheckDefinition, LimitKind, definition};
use crate::verdict::digits;

/// What a check computes, beside what its definition says.
struct Explanation {
    name: &'static str,
    formula: &'static str,
    source: &'static str,
    /// On how many points it is computed, and how many it needs.
    sample: &'static str,
    /// The error of the number, and its constants.
    accuracy: &'static str,
}

const fn explained(
    name: &'static str,
    formula: &'static str,
    source: &'static str,
    sample: &'static str,
    accuracy: &'static str,
) -> Explanation {
    Explanation { name, formula, source, sample, accuracy }
}

const EXPLANATIONS: &[Explanation] = &[
    explained(
        "derivative",
        "median over points of |J v - D v| / max(|J v|, 1e-3 s1 |v|), with v the vector to another \
         point, s1 the \
         largest singular value of J, and D v the five-point difference (8 (f(x+hv) - f(x-hv)) - (f(x+2hv) - \
         f(x-2hv))) / 12h at h = 0.02",
        "Fornberg 1988",
        "`points` points; points where the difference changes by more than 1 % when h is \
         doubled are left \
         out, and inputs that are zero at a point are not moved",
        "about 1e-5 in single precision; it checks the derivative itself, on which the checks below rest",
    ),
    explained(
        "differentiable",
        "the share of (point, input) pairs by which the derivative is infinite or NaN, such as a \
         square root at \
         zero",
        "-",
        "`points` points",
        "exact; those inputs are left out of the Jacobian, after the zeros of the point were moved \
         by 1e-8 of its \
         typical coordinate",
    ),
    explained(
        "rank",
        "the share of the points where #{i: s_i > rank_tolerance s_1} < r, with the singular values s of J \
         without the directions that are lost by construction, and the attainable rank r = min(min(d, p) - \
         [ignores length], min(o, p, t) - [on a sphere]); p and t are the dimensions that the data and what \
         the map was fitted to reach span, counted at 1e-4 of the widest spread",
        "Golub and Van Loan 2013, section 5.4",
        "`points` points; d without the inputs that are left out at a point, p without those \
         of them that \
         vary",
        "Jacobians are exact to rounding: relative errors of singular values near 1e-6 s_1 in \
         single precision, \
         whatever the scale of x and z; rank_tolerance is 1e-6. Above 2048 dimensions on both sides a defect \
         can be found, but a full rank is UNKNOWN",
    ),
    explained(
        "condition_number",
        "median over points of s_1 / s_r, with r the attainable rank",
        "Golub and Van Loan 2013, section 2.6",
        "`points` points",
        "relative error about 1e-7 s_1 / s_r, at most 2^24: larger ones are rounding",
    ),
    explained(
        "lipschitz",
        "max over points of s_1, over its median",
        "Federer 1969, section 3.1: sup |J| is the Lipschitz constant on a convex set",
        "`points` points, so that it is a lower bound of the constant",
        "relative error about 1e-6 in single precision",
    ),
    explained(
        "local_injectivity",
        "min over points of s_r, over its median",
        "inverse function theorem",
        "`points` points",
        "absolute error about 1e-7 s_1",
    ),
    explained(
        "orientation",
        "the share of the points where det J has the rarer sign; between spheres, of J + x zT, \
         which completes \
         the map between their tangent spaces",
        "invariance of domain (Brouwer 1912): an injective continuous map keeps its orientation",
        "`points` points, of equal dimensions on both sides; points whose s_r is below 1e-3 \
         s_1 are left \
         out",
        "the sign is certain for those points",
    ),
    explained(
        "collision",
        "min over pairs (a, b) of |f(a) - f(b)| / |a - b|, over the smallest s_r of any point; pairs are all \
         given points that are at least 1 % of the mean distance apart, and points found by Newton's method \
         towards the image of another point (12 damped steps, damping 1e-10, inside 1.25 of the \
         data's radius)",
        "this project, `src/fold.rs`",
        "all pairs of at most 1024 points, and 32 searches (8 above 128 dimensions)",
        "at least 1 for every linear map, to rounding (1e-6 s_1 / s_r); finding no fold does not prove that \
         there is none",
    ),
    explained(
        "null_space",
        "1 - mean over points of |X V|^2 / |X|^2, with the centred data X and a basis V of the row \
         space of J",
        "-",
        "at most 8 of the points; the data are at most 1024 points",
        "an average over a sample of points",
    ),
    explained(
        "smoothness",
        "median over points of |f(y) - f(x) - J (y - x)| / |f(y) - f(x)|, with y the nearest other point",
        "first-order Taylor expansion",
        "`points` points; points where a slope is infinite are left out",
        "0 for a linear map, to rounding",
    ),
    explained(
        "round_trip",
        "sqrt(sum |g(f(x)) - x|^2 / sum |x - mean|^2), of unit rows if f ignores the length of x; \
         the limits are \
         raised to 1.5 times max(sqrt(null_space), 16 2^-24 condition_number), which no inverse can undercut",
        "-",
        "all of at most 1024 points; needs an inverse g that claims g(f(x)) = x",
        "rounding is about 1e-7 times the condition number",
    ),
    explained(
        "cycle",
        "sqrt(sum |f(g(z)) - z|^2 / sum |z - mean|^2), the larger one of images and targets",
        "-",
        "all of at most 1024 points, and as many targets; needs an inverse g that claims f(g(z)) = z",
        "rounding is about 1e-7 times the condition number",
    ),
    explained(
        "surjectivity",
        "the share of targets with an image within the distance to their k-th nearest other target, k = \
         `neighbours` (5)",
        "Naeem et al. 2020, arXiv 2002.09797 (coverage)",
        "at most 1024 points and targets; needs more than k targets",
        "a second sample of the targets reaches about 1 - 2^-k; sampling error about 0.5 / sqrt(targets)",
    ),
    explained(
        "neighbours",
        "mean over points of |N_k(x) and N_k(f(x))| / k, with the k = `neighbours` (5) nearest neighbours by \
         Euclidean distance on both sides",
        "mutual k nearest neighbours: Huh et al. 2024, arXiv 2405.07987",
        "at most 1024 points; needs 50",
        "by chance it is k / (n - 1); ties are broken at random with a seed",
    ),
    explained(
        "information",
        "mutual information of the 3 leading principal coordinates of x and of z, by k = `neighbours` (5) \
         neighbours; it must exceed that of 19 shuffles, a test at level 1/20",
        "Kraskov, Stoegbauer and Grassberger 2004, estimator 1",
        "at most 400 points; needs 50",
        "the estimate has an upper bound that depends on n and k only, which the sentence states",
    ),
    explained(
        "probe",
        "accuracy of the nearest class mean on g(f(x)) over its accuracy on x, for unit rows",
        "-",
        "all of at most 1024 points; needs labels (`checks.labels`) and an inverse g",
        "sampling error about 0.5 / sqrt(points)",
    ),
];

/// Returns what a check computes, as Markdown; `None` for an unknown name.
///
/// ```
/// let rank = chiasm_check::explain("rank").expect("a check");
/// assert!(rank.contains("rank_tolerance") && rank.contains("fails above 0.01"));
/// assert!(chiasm_check::explain("ranc").is_none());
/// ```
pub fn explain(name: &str) -> Option<String> {
    let check = definition(name)?;
    let found = EXPLANATIONS.iter().find(|explanation| explanation.name == name)?;
    let lines = [
        ("definition", check.what.to_owned()),
        ("formula", found.formula.to_owned()),
        ("source", found.source.to_owned()),
        ("limits", limits(check)),
        ("sample", found.sample.to_owned()),
        ("accuracy", found.accuracy.to_owned()),
    ];
    let mut text = format!("### {name}\n\n");
    for (title, words) in lines.into_iter().filter(|(_, words)| words != "-") {
        text.push_str(&wrapped(&format!("- **{title}**: {words}"), 2));
    }
    Some(text)
}

/// Returns the page `core/check/README.md`, as Markdown.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for check in CHECKS {
        page.push('\n');
        page.push_str(&explain(check.name).unwrap_or_default());
    }
    page
}

fn limits(check: &CheckDefinition) -> String {
    let side = match check.bound {
        LimitKind::AtMost => "above",
        LimitKind::AtLeast => "below",
    };
    let limit = |verb: &str, limit: Option<f64>| Some(format!("{verb} {side} {}", digits(limit?)));
    let both = [limit("warns", check.limits.warn), limit("fails", check.limits.fail)];
    let stated: Vec<String> = both.into_iter().flatten().collect();
    if stated.is_empty() { "none by default".to_owned() } else { stated.join(", ") }
}

/// Wraps words at 100 columns, with later lines indented.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.trim().is_empty() && line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push_str(&line);
            lines.push('\n');
            line = " ".repeat(indent);
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

const INTRODUCTION: &str = "\
# The checks of a map

`chiasm fit` and `chiasm check` examine every learned map f from x `[n, d]` to z `[n, o]` on held-out
points. This page defines each check; `chiasm check --explain KEY` prints its section. It is written
by `src/explained.rs`, and a test compares the two.

## Verdicts

| verdict | meaning | exit code |
|---|---|---|
| PASS | the number is within its limits | 0 |
| WARN | it is beyond the limit to warn | 0 |
| UNKNOWN | the check applies, but could not be made | 1, or 0 if that is allowed |
| FAIL | it is beyond the limit to fail, or not finite | 1 |

A check cannot be made if an operator of the map has no derivative, or if the map is too wide.
`--allow-unknown` or `checks.allow_unknown = true` allows that.

A check that does not apply to a map has no verdict and says why: there is no inverse, no labels, or a
map to fewer dimensions has no determinant. With too few points for an estimate a check does not apply
either, unless a limit to fail was set for it; then it is UNKNOWN. A verdict and its sentence are made
from the same comparison. `checks.KEY.warn` and `checks.KEY.fail` set limits.

## Jacobians

The derivative of a map is a graph, so Jacobians J `[o, d]` are exact to the rounding of single
precision; singular values are computed from them in double precision. They are computed at
`checks.points` evenly spaced points: 64 by default, and fewer for maps of more than 512 dimensions on
both sides (28 at 768, 16 from 1024 on), since the time for a point grows with the cube of the
dimensions. Two directions are lost by construction in many maps and are no defect. A map *ignores the
length* of x if f(2x) = f(x) to within 1e-4 of the spread of the images; then x is projected out of J. Its
images lie *on a sphere* if all of them have one length to within 1e-4, also those of 2x and of mirrored
points; then z is projected out. All tolerances are relative, so that results do not depend on the scale
of x or z as long as the map's own numbers stay within single precision, 1e-38 to 3e38 and their squares.

What is computed from images alone uses at most 1024 evenly spaced points.

## Checks
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_explained_once_and_in_order() {
        let explained: Vec<&str> = EXPLANATIONS.iter().map(|explanation| explanation.name).collect();
        let known: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(explained, known);
    }

    /// `UPDATE_GOLDEN=1 cargo test -p chiasm-check --lib readme` writes the page.
    #[test]
    fn the_readme_is_the_page() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let current = std::fs::read_to_string(path).unwrap() == page();
        assert!(current, "README.md is out of date: run this test with UPDATE_GOLDEN=1");
    }
}
