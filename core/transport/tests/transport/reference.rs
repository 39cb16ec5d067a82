//! Reads the inputs and reference values that `reference/make.py` stored.

use ndarray::Array2;
use serde_json::Value;

pub struct Reference(Value);

impl Reference {
    pub fn read() -> Self {
        Self(serde_json::from_str(include_str!("../reference/values.json")).unwrap())
    }

    pub fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap()
    }

    pub fn vector(&self, name: &str) -> Vec<f64> {
        self.0[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    }

    pub fn matrix(&self, name: &str) -> Array2<f64> {
        let rows = self.0[name].as_array().unwrap();
        let columns = rows[0].as_array().unwrap().len();
        let flat = rows.iter().flat_map(|r| r.as_array().unwrap()).map(|v| v.as_f64().unwrap()).collect();
        Array2::from_shape_vec((rows.len(), columns), flat).unwrap()
    }

    pub fn points(&self, name: &str) -> Array2<f32> {
        self.matrix(name).mapv(|v| v as f32)
    }
}

/// Squared Euclidean distances in double precision.
pub fn squared(x: &Array2<f64>, y: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| {
        x.row(i).iter().zip(y.row(j)).map(|(a, b)| (a - b).powi(2)).sum()
    })
}
