//! Whether a fusion looked at the object that is the answer's.

use crate::scene::SIDE;

/// Looks at one picture, beside the box of the right object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looked {
    /// The share of the looks that fell on cells which the box touches.
    pub inside: f64,
    /// The share of all cells that it touches: what looking anywhere gives.
    pub chance: f64,
    /// Whether the cell most looked at is one of them.
    pub strongest: bool,
}

impl Looked {
    /// Of shares over a square grid that covers the picture, row by row; `None` when they are no square grid.
    pub fn of(shares: &[f64], object: [u32; 4]) -> Option<Self> {
        let side = shares.len().isqrt();
        if side == 0 || side * side != shares.len() {
            return None;
        }
        let [left, top, right, bottom] = object.map(f64::from);
        let cell = f64::from(SIDE) / side as f64;
        let touched = |index: usize| {
            let (x, y) = ((index % side) as f64 * cell, (index / side) as f64 * cell);
            x < right && x + cell > left && y < bottom && y + cell > top
        };
        let cells: Vec<usize> = (0..shares.len()).filter(|&index| touched(index)).collect();
        let strongest = (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b]))?;
        let total: f64 = shares.iter().sum();
        Some(Self {
            inside: cells.iter().map(|&index| shares[index]).sum::<f64>() / total.max(f64::MIN_POSITIVE),
            chance: cells.len() as f64 / shares.len() as f64,
            strongest: cells.contains(&strongest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A grid of 4 x 4 over 64 pixels: the box from (10, 20) to (20, 40) touches columns 0 and 1 of rows 1
    /// and 2.
    #[test]
    fn cells_that_the_box_touches_count() {
        let mut shares = vec![0.0; 16];
        shares[4] = 0.5;
        shares[9] = 0.25;
        shares[15] = 0.25;
        let looked = Looked::of(&shares, [10, 20, 20, 40]).unwrap();
        assert_eq!(looked, Looked { inside: 0.75, chance: 0.25, strongest: true });
        assert_eq!(Looked::of(&shares[..15], [0, 0, 1, 1]), None);
    }
}
