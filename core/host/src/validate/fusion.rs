//! The rules for fusions.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::data::Random;
use super::rule::{self, Rule, Subject, plain, refused, refused_or_fine, stopped_or_done};
use super::services::TestServices;
use crate::{
    BorrowedArray, Fused, FusionHandle, FusionNeeds, FusionSpec, Host, Modality, Result, Task, TaskKind,
};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "describes itself", sentence: "it lists its parameters and its needs", run: describes },
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
    Rule { name: "fits", sentence: "ordinary data give a valid graph", run: fits },
    Rule {
        name: "repeats",
        sentence: "the same data and seed give the same bytes in another process",
        run: repeats,
    },
    Rule {
        name: "survives unusual data",
        sentence: "no rows, one row, one modality, equal rows and masks of zeros are fitted or refused",
        run: unusual,
    },
    Rule {
        name: "stops when asked",
        sentence: "after a request to stop it ends the fit, with the code `cancelled` or its result",
        run: stops,
    },
];

const ROWS: usize = 48;
const WIDTH: usize = 6;
const TOKENS: usize = 3;

/// Two modalities of one width, with tokens, masks and a target of two classes.
struct Rows {
    rows: usize,
    pooled: [Vec<f32>; 2],
    tokens: [Vec<f32>; 2],
    masks: [Vec<f32>; 2],
    target: Vec<f32>,
}

impl Rows {
    fn new(seed: u64, rows: usize) -> Self {
        let mut random = Random::new(seed);
        let mut fill =
            |count: usize| [(); 2].map(|()| (0..count).map(|_| random.normal()).collect::<Vec<f32>>());
        let (pooled, tokens) = (fill(rows * WIDTH), fill(rows * TOKENS * WIDTH));
        let target = (0..rows).flat_map(|row| {
            let class = pooled[0][row * WIDTH] > 0.0;
            [f32::from(u8::from(class)), f32::from(u8::from(!class))]
        });
        let target = target.collect();
        Self { rows, pooled, tokens, masks: [(); 2].map(|()| vec![1.0; rows * TOKENS]), target }
    }
}

fn fit(
    subject: &Subject<'_>,
    host: &Host,
    rows: &Rows,
    modalities: usize,
    services: &TestServices<'_>,
) -> Result<Fused> {
    let fusion = host.fusion(subject.id)?;
    let FusionNeeds { tokens, tasks } = fusion.needs(&subject.parameters)?;
    let names =
        ["first", "second"].map(|name| ["pooled", "tokens", "mask"].map(|port| format!("{name}.{port}")));
    let length = if tokens { TOKENS } else { 1 };
    let ones = vec![1.0; rows.rows];
    let mut spec = FusionSpec::default();
    let mut data: Vec<(&str, BorrowedArray<'_>)> = Vec::new();
    for at in 0..modalities {
        data.push((&names[at][0], BorrowedArray::f32(&[rows.rows, WIDTH], &rows.pooled[at])));
        if tokens {
            data.push((&names[at][1], BorrowedArray::f32(&[rows.rows, TOKENS, WIDTH], &rows.tokens[at])));
        }
        let mask = if tokens { &rows.masks[at] } else { &ones };
        data.push((&names[at][2], BorrowedArray::f32(&[rows.rows, length], mask)));
        let name = ["first", "second"][at].to_owned();
        spec.modalities.push(Modality { name, pooled_dim: WIDTH, token_dim: tokens.then_some(WIDTH) });
    }
    if tasks.contains(&TaskKind::Classification) {
        let labels = vec!["yes".to_owned(), "no".to_owned()];
        spec.task = Some(Task { kind: TaskKind::Classification, labels });
        data.push(("target", BorrowedArray::f32(&[rows.rows, 2], &rows.target)));
    }
    fusion.fit(&spec, &data, &subject.parameters, services)
}

fn ordinary(subject: &Subject<'_>) -> Rows {
    Rows::new(subject.options.seed, ROWS)
}

fn fusion(subject: &Subject<'_>) -> Result<FusionHandle, String> {
    plain(subject.host().fusion(subject.id))
}

fn describes(subject: &Subject<'_>) -> Result<(), String> {
    let fusion = fusion(subject)?;
    plain(fusion.parameters())?;
    plain(fusion.needs(&subject.parameters)).map(drop)
}

fn unknown_parameter(subject: &Subject<'_>) -> Result<(), String> {
    refused("an unknown parameter", fusion(subject)?.needs(&json!({ "no-such-parameter": 1 })))
}

fn garbage_parameters(subject: &Subject<'_>) -> Result<(), String> {
    let fusion = fusion(subject)?;
    let cases = rule::garbage_parameters(&plain(fusion.parameters())?);
    cases.iter().try_for_each(|set| refused_or_fine(&format!("parameters {set}"), fusion.needs(set)))
}

fn fits(subject: &Subject<'_>) -> Result<(), String> {
    plain(fit(subject, &subject.host(), &ordinary(subject), 2, &subject.services())).map(drop)
}

fn repeats(subject: &Subject<'_>) -> Result<(), String> {
    let once = || -> Result<Vec<u8>, String> {
        let fused = plain(fit(subject, &subject.host(), &ordinary(subject), 2, &subject.services()))?;
        fused.graph.to_bytes().map_err(|e| e.to_string())
    };
    if once()? == once()? { Ok(()) } else { Err("two fits on the same data differ".into()) }
}

fn unusual(subject: &Subject<'_>) -> Result<(), String> {
    let seed = subject.options.seed;
    let mut equal = ordinary(subject);
    equal.pooled.iter_mut().chain(&mut equal.tokens).for_each(|values| values.fill(0.5));
    let mut masked = ordinary(subject);
    masked.masks[1].fill(0.0);
    let cases = [
        ("no rows", Rows::new(seed, 0), 2),
        ("one row", Rows::new(seed, 1), 2),
        ("one modality", ordinary(subject), 1),
        ("equal rows", equal, 2),
        ("a mask of zeros", masked, 2),
    ];
    let host = subject.host();
    cases.iter().try_for_each(|(what, rows, modalities)| {
        refused_or_fine(what, fit(subject, &host, rows, *modalities, &subject.services()))
    })
}

fn stops(subject: &Subject<'_>) -> Result<(), String> {
    let services = TestServices { stop: true, ..subject.services() };
    let outcome = fit(subject, &subject.host(), &ordinary(subject), 2, &services);
    stopped_or_done(outcome, services.asked.load(Ordering::Relaxed))
}
