//! The overlap of a fusion's attention with the object that answers a question.

use crate::scene::SIDE;

/// The overlap of the attention over one picture with the box of the answer's object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionOverlap {
    /// The fraction of the attention on cells that the box touches.
    pub inside: f64,
    /// The fraction of cells that the box touches: the value of uniform attention.
    pub chance: f64,
    /// Whether the box touches the cell with the most attention.
    pub strongest: bool,
}

impl AttentionOverlap {
    /// Returns the overlap for attention weights on a square grid over the picture, in row-major order.
    /// `None` if the number of weights is not a square.
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
    fn the_overlap_counts_all_cells_that_the_box_touches() {
        let mut shares = vec![0.0; 16];
        shares[4] = 0.5;
        shares[9] = 0.25;
        shares[15] = 0.25;
        let overlap = AttentionOverlap::of(&shares, [10, 20, 20, 40]).unwrap();
        assert_eq!(overlap, AttentionOverlap { inside: 0.75, chance: 0.25, strongest: true });
        assert_eq!(AttentionOverlap::of(&shares[..15], [0, 0, 1, 1]), None);
    }
}
