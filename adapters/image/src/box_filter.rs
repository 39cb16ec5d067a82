//! Pillow's `BOX`: a pixel of the result is the mean of the pixels whose centres it covers.
//!
//! The choice of a pixel whose centre lies on an edge depends on the rounding of the last bit, so this
//! follows Pillow's arithmetic (`src/libImaging/Resample.c`) step by step, with its fixed-point weights.

/// The bits behind the point of Pillow's weights.
const BITS: u32 = 22;

/// Resamples one axis of `pixels`, the values of `[outer, input, inner]`, to the length `output`.
pub(crate) fn resample_axis(pixels: &[u8], input: usize, output: usize, inner: usize) -> Vec<u8> {
    let spans = spans(input, output);
    let mut result = Vec::with_capacity(pixels.len() / input.max(1) * output);
    for block in pixels.chunks_exact((input * inner).max(1)) {
        for &(first, count) in &spans {
            let weight = if count == 0 { 0 } else { (0.5 + (1_u32 << BITS) as f64 / count as f64) as u64 };
            result.extend((0..inner).map(|at| {
                let covered = (first..first + count).map(|pixel| u64::from(block[pixel * inner + at]));
                let sum = (1 << (BITS - 1)) + covered.sum::<u64>() * weight;
                (sum >> BITS).min(255) as u8
            }));
        }
    }
    result
}

/// Returns the first pixel and the number of pixels that each pixel of the result covers.
fn spans(input: usize, output: usize) -> Vec<(usize, usize)> {
    let scale = input as f64 / output as f64;
    let width = scale.max(1.0);
    let (support, inverse) = (0.5 * width, 1.0 / width);
    let span = |place: usize| {
        let centre = (place as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let covers = |pixel: &usize| {
            let at = (*pixel as f64 - centre + 0.5) * inverse;
            at > -0.5 && at <= 0.5
        };
        let covered: Vec<usize> = (first..end).filter(covers).collect();
        (covered.first().copied().unwrap_or(0), covered.len())
    };
    (0..output).map(span).collect()
}
