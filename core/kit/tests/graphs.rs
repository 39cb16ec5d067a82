//! Compares losses with PyTorch's values, and checks a network's start and spectral bound, in the engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chiasm_kit::{Network, terms};
use chiasm_plugin::graph::{Builder, DType, Dim, Graph, Tensor, Value};
use chiasm_plugin::ndarray::Array2;
use chiasm_runtime::{Engine, EngineSearch, SessionOptions};

fn run(graph: &Graph, inputs: &[(&str, &Tensor)]) -> Vec<(String, Tensor)> {
    let engine = Engine::open(&EngineSearch::from_environment(None)).unwrap();
    engine.session(graph, &SessionOptions::default()).unwrap().run(inputs).unwrap()
}

/// The clouds of reference/losses.py.
fn clouds() -> [Tensor; 2] {
    let rows = |value: &dyn Fn(f64, f64) -> f64| {
        let mut values = Vec::new();
        for i in 0..7 {
            let row: Vec<f64> = (0..5).map(|j| value(f64::from(i), f64::from(j))).collect();
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            values.extend(row.iter().map(|x| (x / length) as f32));
        }
        Tensor::f32(&[7, 5], values).unwrap()
    };
    [
        rows(&|i, j| (i * (2.0 * j + 1.0) + 0.3).sin()),
        rows(&|i, j| (i * (2.0 * j + 1.0) + 0.9).sin() + 0.2 * (i + j).cos()),
    ]
}

/// The loss of the clouds.
fn loss(build: impl Fn(&mut Builder, &Value, &Value) -> Value) -> f32 {
    let mut b = Builder::new("loss");
    let dims = [Dim::named("batch"), 5.into()];
    let first = b.input("a", DType::F32, &dims).unwrap();
    let second = b.input("b", DType::F32, &dims).unwrap();
    let value = build(&mut b, &first, &second);
    b.output("loss", &value, DType::F32, &[]);
    let [first, second] = clouds();
    run(&b.finish().unwrap(), &[("a", &first), ("b", &second)])[0].1.as_f32().unwrap()[0]
}

/// Stored by reference/losses.py; 1e-5 relative is rounding of single precision over 49 terms.
#[test]
fn losses_equal_pytorch() {
    let temperature = |b: &mut Builder| b.constant("log_temperature", Tensor::scalar(0.2_f32.ln()));
    let infonce = loss(|b, x, y| {
        let t = temperature(b);
        terms::infonce(b, x, y, &t, None)
    });
    let siglip = loss(|b, x, y| {
        let t = temperature(b);
        let bias = b.constant("bias", Tensor::scalar(-1.5));
        terms::siglip(b, x, y, [&t, &bias], None)
    });
    let squared = loss(|b, x, y| terms::paired_mse(b, x, y, None));
    for (name, got, expected) in [
        ("infonce", infonce, 0.445_629_24_f32),
        ("siglip", siglip, 2.262_752_8),
        ("squared", squared, 0.437_252_97),
    ] {
        assert!((got / expected - 1.0).abs() < 1e-5, "{name}: {got}, expected {expected}");
    }
}

#[test]
fn a_network_starts_as_its_start_matrix() {
    let start = Array2::from_shape_fn((4, 3), |(i, j)| ((3 * i + j) as f64).cos());
    let network = Network::new("n", &start, 8, 1).unwrap();
    let rows = Array2::from_shape_fn((5, 4), |(i, j)| ((i + 2 * j) as f64).sin());
    let input = Tensor::f32(&[5, 4], rows.iter().map(|&x| x as f32).collect()).unwrap();
    let image = run(&network.graph("x", "z").unwrap(), &[("x", &input)]).remove(0).1;
    let expected = rows.dot(&start);
    let close = image.as_f32().unwrap().iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6);
    assert!(close, "{image:?} is not {expected}");
}

/// Thirty steps of the bound on a fixed matrix: its largest singular value ends at the limit and stays there.
/// The matrix is 5 u vᵀ plus 1 of another pair, so the power iteration is exact to 5^-60; 1e-3 covers the
/// random share of each step.
#[test]
fn spectral_normalisation_finds_the_largest_singular_value() {
    let mut network = Network::new("n", &Array2::zeros((3, 2)), 2, 1).unwrap();
    let inner = Tensor::f32(&[3, 2], vec![5.0, 0.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
    let kept = network.names().map(str::to_owned).collect::<Vec<_>>();
    let shapes: [(&str, &[usize]); 5] = [
        ("n/delta", &[3, 2]),
        ("n/in", &[3, 2]),
        ("n/in_bias", &[2]),
        ("n/out", &[2, 2]),
        ("n/out_bias", &[2]),
    ];
    let zeros = |shape: &[usize]| Tensor::f32(shape, vec![0.0; shape.iter().product()]).unwrap();
    let trained: Vec<(String, Tensor)> = shapes
        .iter()
        .map(|(name, shape)| ((*name).to_owned(), if *name == "n/in" { inner.clone() } else { zeros(shape) }))
        .collect();
    assert_eq!(kept[1..], trained.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    network.load(&trained).unwrap();
    let powers = network.power_vectors(3).unwrap();
    let mut b = Builder::new("after");
    network.spectral_norm(&mut b, 2.0, &powers).unwrap();
    let graph = b.finish().unwrap();
    let names = ["n/in", "n/out", "n/in/power", "n/out/power"];
    let mut state = vec![inner, zeros(&[2, 2]), powers[0].1.clone(), powers[1].1.clone()];
    for _ in 0..30 {
        let given: Vec<(&str, &Tensor)> = names.into_iter().zip(&state).collect();
        let next = run(&graph, &given);
        let find = |name: &str| next.iter().find(|(n, _)| *n == format!("next/{name}")).unwrap().1.clone();
        state = names.iter().map(|name| find(name)).collect();
    }
    let values = state[0].as_f32().unwrap();
    assert!((values[0] - 2.0).abs() < 1e-3, "the top singular value is held at the limit: {values:?}");
    assert!(state.iter().all(|tensor| tensor.as_f32().unwrap().iter().all(|x| x.is_finite())));
}
