//! The scans of a JPEG file, counted before it is decoded.

/// What the segments of a file say about the work of decoding it.
pub(crate) struct JpegScans {
    /// The number of scans; each goes over the whole picture.
    pub(crate) scans: u64,
    /// Whether an end-of-image marker follows the entropy-coded data.
    pub(crate) ended: bool,
    progressive: bool,
    /// The horizontal and vertical sampling of each component, in one byte.
    sampling: Vec<u8>,
}

impl JpegScans {
    /// Reads the markers of a file. Segments are skipped by their length, because an embedded thumbnail has
    /// its own markers.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut found = Self { scans: 0, ended: false, progressive: false, sampling: Vec::new() };
        let mut at = 2;
        while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == 0xff)) {
            at += step + 1;
            match bytes.get(at) {
                Some(0xd9) => {
                    found.ended = true;
                    return found;
                }
                // Stuffed byte, fill byte, restart markers: they begin no segment.
                Some(0x00 | 0x01 | 0xff | 0xd0..=0xd8) => {}
                Some(&marker) => {
                    let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return found };
                    match marker {
                        0xda => found.scans += 1,
                        // Frame headers, the last two of arithmetic coding: length, precision, height, width,
                        // number of components, then three bytes for each.
                        0xc0..=0xc2 | 0xc9 | 0xca => {
                            found.progressive = matches!(marker, 0xc2 | 0xca);
                            let count = bytes.get(at + 8).copied().unwrap_or(0).into();
                            let components = bytes.get(at + 9..).unwrap_or_default().chunks_exact(3);
                            found.sampling = components.take(count).map(|component| component[1]).collect();
                        }
                        _ => {}
                    }
                    at += 1 + usize::from(u16::from_be_bytes([high, low]));
                }
                None => return found,
            }
        }
        found
    }

    /// Returns the bytes that the decoder keeps for each pixel besides the picture: one for each sample of a
    /// component, and two for its coefficient, if the coefficients of a block arrive in several scans.
    pub(crate) fn plane_bytes(&self) -> f64 {
        let sides = self.sampling.iter().map(|sampling| [f64::from(sampling >> 4), f64::from(sampling & 15)]);
        let most =
            sides.clone().fold([1.0_f64; 2], |most, side| [most[0].max(side[0]), most[1].max(side[1])]);
        let samples = sides.map(|side| side[0] * side[1]).sum::<f64>() / (most[0] * most[1]);
        if self.progressive || self.scans > 1 { 3.0 * samples } else { samples }
    }
}
