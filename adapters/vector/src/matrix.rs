//! A dense matrix of 32-bit floats, rows one after the other.

/// `rows` vectors of `dim` numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) values: Vec<f32>,
}

impl Matrix {
    /// The matrix itself when it has rows and every number is finite as an f32; else the first row that spoils it.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if self.rows == 0 || self.dim == 0 {
            return Err(format!("expected rows of numbers, got shape [{}, {}]", self.rows, self.dim));
        }
        let finite = |row: &[f32]| row.iter().all(|value| value.is_finite());
        let bad: Vec<usize> = self
            .values
            .chunks_exact(self.dim)
            .enumerate()
            .filter(|(_, row)| !finite(row))
            .map(|(i, _)| i)
            .collect();
        match bad.as_slice() {
            [] => Ok(self),
            [first, ..] => Err(format!(
                "row {first} holds NaN or infinity, and so do {} of {} rows in all; embed these items again, or remove them",
                bad.len(),
                self.rows
            )),
        }
    }

    /// One row; `None` behind the last.
    pub(crate) fn row(&self, row: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.dim).nth(row)
    }
}

/// Room for that many numbers, or an error: a header may promise anything.
pub(crate) fn reserve(count: usize) -> Result<Vec<f32>, String> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| format!("{count} numbers do not fit into memory"))?;
    Ok(values)
}
