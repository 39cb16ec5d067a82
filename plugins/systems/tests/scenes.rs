//! Three modalities that observe common factors through different curved functions, with noise of their own.

use chiasm_geometry::random::Random;
use chiasm_plugin::ndarray::Array2;

/// The columns of the three modalities.
const COLUMNS: [usize; 3] = [14, 11, 9];
/// Common factors, and factors that only one modality observes.
const COMMON: usize = 4;
const PRIVATE: usize = 2;

/// The common factors of `rows` rows.
pub fn common_factors(rows: usize, seed: u64) -> Array2<f64> {
    let mut random = Random::new(seed);
    Array2::from_shape_simple_fn((rows, COMMON), || random.normal())
}

/// `rows` items of each modality.
pub fn scenes(rows: usize, seed: u64) -> Vec<Array2<f32>> {
    let common = common_factors(rows, seed);
    let one = |(at, columns): (usize, &usize)| {
        let mut own = Random::new(1000 * seed + at as u64);
        let private = Array2::from_shape_simple_fn((rows, PRIVATE), || own.normal());
        // the functions are the same for every seed
        let mut mixing = Random::new(77 + at as u64);
        let weight = Array2::from_shape_simple_fn((COMMON + PRIVATE, *columns), || mixing.normal());
        let bend = 0.4 + 0.4 * at as f64;
        let mut noise = || 0.1 * own.normal();
        Array2::from_shape_fn((rows, *columns), |(i, j)| {
            let linear: f64 = (0..COMMON).map(|k| common[[i, k]] * weight[[k, j]]).sum::<f64>()
                + (0..PRIVATE).map(|k| private[[i, k]] * weight[[COMMON + k, j]]).sum::<f64>();
            ((bend * linear).sin() / bend + noise()) as f32
        })
    };
    COLUMNS.iter().enumerate().map(one).collect()
}
