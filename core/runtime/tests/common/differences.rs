//! Compares the derivatives of a graph with central differences that the engine computes of the graph itself.

use chiasm_graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_runtime::{Session, SessionOptions};

use crate::common::engine;

/// Shapes of the inputs; the first axis of each is free when `free`.
pub struct Case {
    pub name: &'static str,
    pub shapes: &'static [&'static [usize]],
    /// Range of the inputs.
    pub range: (f64, f64),
    pub make: fn(&mut Builder, &[Value]) -> Value,
}

/// The step of the differences, relative to directions of length about one, and the error that is allowed,
/// relative to the largest derivative.
#[derive(Clone, Copy)]
pub struct Accuracy {
    pub step: f64,
    pub tolerance: f64,
}

/// A case: its name, the shapes of its inputs, their range, and the operator.
macro_rules! case {
    ($name:literal, [$($shape:expr),*], $range:expr, |$b:ident, $x:ident| $body:expr) => {
        Case { name: $name, shapes: &[$(&$shape),*], range: $range, make: |$b, $x| $body }
    };
}
pub(crate) use case;

/// Numbers that look random and never tie.
pub fn noise(count: usize, seed: u64, (low, high): (f64, f64)) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| low + (high - low) * next()).collect()
}

impl Case {
    fn names(&self) -> Vec<String> {
        (0..self.shapes.len()).map(|i| format!("x{i}")).collect()
    }

    /// The case as a graph; with free axes none of the lengths is known before the run.
    fn graph(&self, free: bool) -> Graph {
        // The engine determines the output's rank.
        let shape =
            open(&self.build(free, &[])).run(&pairs(&self.names(), &self.inputs())).unwrap().remove(0).1;
        self.build(free, shape.shape())
    }

    fn build(&self, free: bool, output: &[usize]) -> Graph {
        let dims = |shape: &[usize]| -> Vec<Dim> {
            shape.iter().map(|n| if free { Dim::Unknown } else { Dim::Fixed(*n) }).collect()
        };
        let mut b = Builder::new(self.name);
        let names = self.names();
        let input = |(name, shape): (&String, &&[usize])| b.input(name, DType::F64, &dims(shape)).unwrap();
        let inputs: Vec<Value> = names.iter().zip(self.shapes).map(input).collect();
        let y = (self.make)(&mut b, &inputs);
        b.output("y", &y, DType::F64, &dims(output));
        b.finish().unwrap()
    }

    fn inputs(&self) -> Vec<Tensor> {
        let one = |(i, shape): (usize, &&[usize])| {
            Tensor::f64(shape, noise(shape.iter().product(), 7 + i as u64, self.range)).unwrap()
        };
        self.shapes.iter().enumerate().map(one).collect()
    }
}

fn open(graph: &Graph) -> Session {
    engine()
        .session(graph, &SessionOptions::default())
        .unwrap_or_else(|error| panic!("{error}\n{}", graph.to_text()))
}

fn pairs<'a>(names: &'a [String], tensors: &'a [Tensor]) -> Vec<(&'a str, &'a Tensor)> {
    names.iter().map(String::as_str).zip(tensors).collect()
}

fn values(tensor: &Tensor) -> &[f64] {
    tensor.as_f64().unwrap()
}

/// `(f(x + h t) - f(x - h t)) / 2h`.
fn difference(session: &Session, names: &[String], x: &[Tensor], t: &[Tensor], step: f64) -> Vec<f64> {
    let at = |h: f64| {
        let moved: Vec<Tensor> = x
            .iter()
            .zip(t)
            .map(|(x, t)| {
                let sum = values(x).iter().zip(values(t)).map(|(x, t)| x + h * t).collect();
                Tensor::f64(x.shape(), sum).unwrap()
            })
            .collect();
        session.run(&pairs(names, &moved)).unwrap().remove(0).1
    };
    let (plus, minus) = (at(step), at(-step));
    values(&plus).iter().zip(values(&minus)).map(|(p, m)| (p - m) / (2.0 * step)).collect()
}

fn assert_close(case: &str, what: &str, got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{case}: {what}");
    let scale = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(
            (got - expected).abs() <= tolerance * scale,
            "{case}: {what}[{at}] is {got}, expected {expected}"
        );
    }
}

/// Two directions at once; each must be the central difference along it.
pub fn check_forward(case: &Case, free: bool, accuracy: Accuracy) {
    let graph = case.graph(free);
    let names = case.names();
    let wrt: Vec<&str> = names.iter().map(String::as_str).collect();
    let jvp = graph.jvp(&wrt).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let x = case.inputs();
    let directions: Vec<Vec<Tensor>> = (0..2)
        .map(|k| {
            let one = |(i, shape): (usize, &&[usize])| {
                let values = noise(shape.iter().product(), 31 + 10 * k + i as u64, (-1.0, 1.0));
                Tensor::f64(shape, values).unwrap()
            };
            case.shapes.iter().enumerate().map(one).collect()
        })
        .collect();
    let stacked: Vec<Tensor> = (0..x.len())
        .map(|i| {
            let both = [values(&directions[0][i]), values(&directions[1][i])].concat();
            Tensor::f64(&[&[2], x[i].shape()].concat(), both).unwrap()
        })
        .collect();
    let tangents: Vec<String> = names.iter().map(|name| format!("tangent/{name}")).collect();
    let mut inputs = pairs(&names, &x);
    inputs.extend(pairs(&tangents, &stacked));
    let session = open(&jvp);
    let got = session
        .run_outputs(&inputs, &["tangent/y"])
        .unwrap_or_else(|e| panic!("{}: {e}", case.name))
        .remove(0)
        .1;
    let plain = open(&graph);
    let along = |t: &Vec<Tensor>| difference(&plain, &names, &x, t, accuracy.step);
    let expected: Vec<f64> = directions.iter().flat_map(along).collect();
    assert_close(case.name, "tangent", values(&got), &expected, accuracy.tolerance);
}

/// `<c, J t>` from differences along every input element must be `<J' c, t>`.
pub fn check_reverse(case: &Case, free: bool, accuracy: Accuracy) {
    let graph = case.graph(free);
    let names = case.names();
    let wrt: Vec<&str> = names.iter().map(String::as_str).collect();
    let vjp = graph.vjp(&["y"], &wrt).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let x = case.inputs();
    let plain = open(&graph);
    let y = plain.run(&pairs(&names, &x)).unwrap().remove(0).1;
    let c = Tensor::f64(y.shape(), noise(y.len(), 77, (-1.0, 1.0))).unwrap();
    let mut inputs = pairs(&names, &x);
    inputs.push(("cotangent/y", &c));
    let session = open(&vjp);
    for (i, name) in names.iter().enumerate() {
        let port = format!("gradient/{name}");
        let got = session
            .run_outputs(&inputs, &[&port])
            .unwrap_or_else(|e| panic!("{}: {e}", case.name))
            .remove(0)
            .1;
        assert_eq!(got.shape(), x[i].shape(), "{}: shape of {port}", case.name);
        let mut expected = Vec::new();
        for at in 0..x[i].len() {
            let direction: Vec<Tensor> = x
                .iter()
                .enumerate()
                .map(|(j, x)| {
                    let mut unit = vec![0.0; x.len()];
                    if i == j {
                        unit[at] = 1.0;
                    }
                    Tensor::f64(x.shape(), unit).unwrap()
                })
                .collect();
            let column = difference(&plain, &names, &x, &direction, accuracy.step);
            expected.push(column.iter().zip(values(&c)).map(|(a, b)| a * b).sum());
        }
        assert_close(case.name, &port, values(&got), &expected, accuracy.tolerance);
    }
}

/// Checks every case and lists all that fail.
pub fn check_all(cases: &[Case], check: impl Fn(&Case) + std::panic::RefUnwindSafe) {
    let fails = |case: &&Case| std::panic::catch_unwind(|| check(case)).is_err();
    let failed: Vec<&str> = cases.iter().filter(fails).map(|case| case.name).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), cases.len());
}
