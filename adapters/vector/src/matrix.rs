//! A dense matrix of 32-bit floats in row-major order.

/// `rows` vectors of `dim` numbers.
#[derive(Debug, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) values: Vec<f32>,
}

impl Matrix {
    /// Checks that the matrix is not empty and that every number is finite. The error names the first other
    /// row.
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
                "row {first} holds NaN or infinity, and so do {} of {} rows in all; \
                 embed these items again, or remove them",
                bad.len(),
                self.rows
            )),
        }
    }

    /// Returns one row; `None` if it does not exist.
    pub(crate) fn row(&self, row: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.dim).nth(row)
    }
}

/// Allocates space for this many numbers. Fails if memory does not suffice, because a damaged header may
/// state any number.
pub(crate) fn reserve(count: usize) -> Result<Vec<f32>, String> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| format!("{count} numbers do not fit into memory"))?;
    Ok(values)
}
