//! The rules for aligners.

use std::sync::atomic::Ordering;

use chiasm_graph::{Graph, TensorData};
use serde_json::json;

use super::data::Pairs;
use super::rule::{self, Rule, Subject, plain, refused, refused_or_fine, stopped_or_done};
use super::services::TestServices;
use crate::{AlignModality, AlignSpec, BorrowedArray, Host, Learned, Result};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "describes itself",
        sentence: "it lists its parameters and says how many modalities it takes",
        run: describes,
    },
    Rule {
        name: "refuses unknown parameters",
        sentence: "a parameter that it does not have is an error of the code `invalid`",
        run: unknown_parameter,
    },
    Rule {
        name: "survives garbage parameters",
        sentence: "parameters of any form are accepted or refused, without a panic",
        run: garbage_parameters,
    },
    Rule { name: "fits", sentence: "ordinary data give valid maps into one space", run: fits },
    Rule {
        name: "repeats",
        sentence: "the same data and seed give the same bytes in another process",
        run: repeats,
    },
    Rule {
        name: "keeps nothing",
        sentence: "a fit does not depend on earlier fits in its process, and keeps no pointer to their data",
        run: keeps_nothing,
    },
    Rule {
        name: "does not write its input",
        sentence: "the data are in memory that it may only read",
        run: read_only,
    },
    Rule {
        name: "does not depend on the threads",
        sentence: "one and three threads give the same weights within 1e-3 of the largest",
        run: threads,
    },
    Rule {
        name: "survives unusual data",
        sentence: "no rows, one row, constant columns, equal rows and huge numbers are fitted or refused",
        run: unusual,
    },
    Rule {
        name: "refuses data that are not finite",
        sentence: "NaN and infinity are an error of the code `invalid`",
        run: not_finite,
    },
    Rule {
        name: "refuses wrong types",
        sentence: "vectors of another element type are an error of the code `invalid`",
        run: wrong_type,
    },
    Rule {
        name: "stops when asked",
        sentence: "after a request to stop it ends the fit, with the code `cancelled` or its result",
        run: stops,
    },
];

const ROWS: usize = 60;
const WIDTHS: [usize; 2] = [6, 5];

fn spec(pairs: &Pairs) -> AlignSpec {
    let modality = |at: usize| AlignModality {
        name: pairs.names[at].into(),
        dim: pairs.widths[at],
        blocks: vec![pairs.widths[at]],
    };
    AlignSpec { modalities: vec![modality(0), modality(1)], anchor: None }
}

fn fit(subject: &Subject<'_>, host: &Host, pairs: &Pairs, services: &TestServices<'_>) -> Result<Learned> {
    let names = pairs.array_names();
    let aligner = host.aligner(subject.id)?;
    aligner.fit(&spec(pairs), &pairs.arrays(&names), &subject.parameters, services)
}

fn ordinary(subject: &Subject<'_>) -> Pairs {
    Pairs::new(subject.options.seed, ROWS, WIDTHS)
}

fn describes(subject: &Subject<'_>) -> Result<(), String> {
    let aligner = plain(subject.host().aligner(subject.id))?;
    plain(aligner.parameters())?;
    let takes = plain(aligner.takes(&subject.parameters))?;
    let possible = takes.most.is_none_or(|most| most >= takes.least);
    if possible {
        Ok(())
    } else {
        Err(format!("it takes at least {} and at most {:?}", takes.least, takes.most))
    }
}

fn unknown_parameter(subject: &Subject<'_>) -> Result<(), String> {
    let aligner = plain(subject.host().aligner(subject.id))?;
    refused("an unknown parameter", aligner.takes(&json!({ "no-such-parameter": 1 })))
}

fn garbage_parameters(subject: &Subject<'_>) -> Result<(), String> {
    let aligner = plain(subject.host().aligner(subject.id))?;
    let cases = rule::garbage_parameters(&plain(aligner.parameters())?);
    cases.iter().try_for_each(|set| refused_or_fine(&format!("parameters {set}"), aligner.takes(set)))
}

fn fits(subject: &Subject<'_>) -> Result<(), String> {
    plain(fit(subject, &subject.host(), &ordinary(subject), &subject.services())).map(drop)
}

fn repeats(subject: &Subject<'_>) -> Result<(), String> {
    let once = || plain(fit(subject, &subject.host(), &ordinary(subject), &subject.services()));
    let difference = differ(&once()?, &once()?)?;
    if difference { Err("two fits on the same data differ".into()) } else { Ok(()) }
}

fn keeps_nothing(subject: &Subject<'_>) -> Result<(), String> {
    let host = subject.host();
    let first = plain(fit(subject, &host, &ordinary(subject), &subject.services()))?;
    let other = Pairs::new(subject.options.seed + 1, 2 * ROWS, [7, 4]);
    plain(fit(subject, &host, &other, &subject.services()))?;
    let again = plain(fit(subject, &host, &ordinary(subject), &subject.services()))?;
    if differ(&first, &again)? {
        Err("a fit on other data in between changes the result".into())
    } else {
        Ok(())
    }
}

/// More than 64 KiB of data are passed in memory that the plugin's process maps for reading.
fn read_only(subject: &Subject<'_>) -> Result<(), String> {
    let pairs = Pairs::new(subject.options.seed, 2_000, WIDTHS);
    refused_or_fine("2,000 rows", fit(subject, &subject.host(), &pairs, &subject.services()))
}

fn threads(subject: &Subject<'_>) -> Result<(), String> {
    let with = |threads: usize| {
        let services = TestServices { threads, ..subject.services() };
        plain(fit(subject, &subject.host(), &ordinary(subject), &services))
    };
    let (one, three) = (with(1)?, with(3)?);
    for (one, three) in one.maps.iter().zip(&three.maps) {
        let (one, three) = (weights(one)?, weights(three)?);
        let largest = one.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let worst = one.iter().zip(&three).map(|(a, b)| (a - b).abs()).fold(0.0_f64, f64::max);
        if one.len() != three.len() || worst > 1e-3 * largest {
            return Err(format!(
                "the weights differ by up to {worst:.3e}; the largest weight is {largest:.3e}"
            ));
        }
    }
    Ok(())
}

fn unusual(subject: &Subject<'_>) -> Result<(), String> {
    let seed = subject.options.seed;
    let mut constant = ordinary(subject);
    constant.values[0].iter_mut().step_by(WIDTHS[0]).for_each(|value| *value = 1.0);
    let mut equal = ordinary(subject);
    equal.values.iter_mut().for_each(|values| values.fill(0.5));
    let mut huge = ordinary(subject);
    huge.values[1].iter_mut().for_each(|value| *value *= 1e30);
    let cases = [
        ("no rows", Pairs::new(seed, 0, WIDTHS)),
        ("one row", Pairs::new(seed, 1, WIDTHS)),
        ("three rows", Pairs::new(seed, 3, WIDTHS)),
        ("one column", Pairs::new(seed, ROWS, [1, 1])),
        ("a constant column", constant),
        ("equal rows", equal),
        ("huge numbers", huge),
    ];
    let host = subject.host();
    cases
        .iter()
        .try_for_each(|(what, pairs)| refused_or_fine(what, fit(subject, &host, pairs, &subject.services())))
}

fn not_finite(subject: &Subject<'_>) -> Result<(), String> {
    let host = subject.host();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut pairs = ordinary(subject);
        pairs.values[1][7] = value;
        refused(&format!("the number {value}"), fit(subject, &host, &pairs, &subject.services()))?;
    }
    Ok(())
}

fn wrong_type(subject: &Subject<'_>) -> Result<(), String> {
    let pairs = ordinary(subject);
    let names = pairs.array_names();
    let mut arrays = pairs.arrays(&names);
    let integers = vec![1_i64; ROWS * WIDTHS[0]];
    arrays[0].1 = BorrowedArray::i64(&[ROWS, WIDTHS[0]], &integers);
    let host = subject.host();
    let aligner = plain(host.aligner(subject.id))?;
    refused("i64 vectors", aligner.fit(&spec(&pairs), &arrays, &subject.parameters, &subject.services()))
}

fn stops(subject: &Subject<'_>) -> Result<(), String> {
    let services = TestServices { stop: true, ..subject.services() };
    let outcome = fit(subject, &subject.host(), &ordinary(subject), &services);
    stopped_or_done(outcome, services.asked.load(Ordering::Relaxed))
}

/// Returns whether the maps or the parameters of two fits differ.
fn differ(one: &Learned, other: &Learned) -> Result<bool, String> {
    let bytes = |learned: &Learned| -> Result<Vec<Vec<u8>>, String> {
        let inverses = learned.inverses.iter().flatten().map(|inverse| &inverse.graph);
        let graphs = learned.maps.iter().chain(inverses);
        graphs.map(|graph| graph.to_bytes().map_err(|e| e.to_string())).collect()
    };
    Ok(bytes(one)? != bytes(other)? || one.parameters != other.parameters)
}

/// Returns all weights of a graph that are floats, in the order of their names.
pub(super) fn weights(graph: &Graph) -> Result<Vec<f64>, String> {
    let mut names: Vec<&str> = graph.weight_names().collect();
    names.sort_unstable();
    let mut all = Vec::new();
    for name in names {
        match graph.weight(name).map_err(|e| e.to_string())?.data() {
            TensorData::F32(values) => all.extend(values.iter().map(|value| f64::from(*value))),
            TensorData::F64(values) => all.extend(values.iter().copied()),
            _ => {}
        }
    }
    Ok(all)
}
