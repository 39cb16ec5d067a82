//! The settings of a benchmark, and their checks.

use super::manifold::Geometry;
use crate::dataset::Error;
use serde::{Deserialize, Serialize};

/// The names of the modalities, in order.
pub const MODALITIES: [&str; 4] = ["picture", "caption", "sound", "table"];
/// The least number of columns of each modality.
const WIDTHS: [usize; 4] = [128, 96, 64, 32];
/// The least radius of the tube of a torus; a thinner one is lost in the noise.
const THINNEST_TUBE: f64 = 0.1;
/// The largest accepted probability that a row folds over the antipode of a sphere.
const MOST_FOLDED: f64 = 1e-6;

/// The settings of a benchmark with known factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BenchmarkSettings {
    /// Number of rows.
    pub rows: usize,
    /// Random seed.
    pub seed: u64,
    /// The geometry of each modality: 2 to 4.
    pub geometries: Vec<Geometry>,
    /// Number of factors that all modalities share.
    pub shared: usize,
    /// Number of factors that each modality has alone.
    pub private: usize,
    /// Standard deviation of the noise of a column, relative to that of the column without noise.
    pub noise: f64,
    /// Correlation of the first shared factor with what a modality sees of it.
    pub coupling: f64,
    /// The share by which the coupling of the last shared factor is lower than that of the first. Factors
    /// with different couplings can be told apart; with equal ones they are known up to a rotation only.
    pub coupling_spread: f64,
    /// Curvature of the manifolds.
    pub curvature: f64,
    /// Scale of the inner weights of the networks; a larger one makes them less linear.
    pub gain: f64,
    /// Probability that a label is replaced by another class.
    pub label_noise: f64,
    /// Probability that a training or validation row lacks a modality; test rows are complete.
    pub missing: f64,
}

impl Default for BenchmarkSettings {
    fn default() -> Self {
        Self {
            rows: 5000,
            seed: 1,
            geometries: Geometry::ALL.to_vec(),
            shared: 6,
            private: 4,
            noise: 0.1,
            coupling: 0.99,
            coupling_spread: 0.1,
            curvature: 0.5,
            gain: 1.0,
            label_noise: 0.0,
            missing: 0.0,
        }
    }
}

impl BenchmarkSettings {
    /// Returns the number of factors of one modality, shared and private.
    pub fn factors(&self) -> usize {
        self.shared + self.private
    }

    /// Returns the number of columns of a modality: its own number, or more if 2 q + 2 is larger for q
    /// factors. A generic smooth map of a q-dimensional manifold into more than 2 q dimensions is injective
    /// (Whitney 1936).
    pub fn width(&self, modality: usize) -> usize {
        WIDTHS[modality].max(2 * self.factors() + 2)
    }

    /// Returns the coupling of every shared factor, highest first.
    pub fn couplings(&self) -> Vec<f64> {
        let steps = self.shared.saturating_sub(1).max(1) as f64;
        (0..self.shared).map(|j| self.coupling * (1.0 - self.coupling_spread * j as f64 / steps)).collect()
    }

    /// Returns the number of the factors that make the class: one bit each, at most three.
    pub fn bits(&self) -> usize {
        self.shared.min(3)
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        1 << self.bits()
    }

    /// Checks every setting, and those that collapse together.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first setting that is out of range.
    pub fn check(&self) -> Result<(), Error> {
        let modalities = self.geometries.len();
        if !(2..=MODALITIES.len()).contains(&modalities) {
            return Err(bad("--modalities", "2 to 4", modalities, "there are four modalities"));
        }
        whole("--rows", self.rows, 10, 100_000_000)?;
        whole("--shared", self.shared, 1, 64)?;
        whole("--private", self.private, 0, 64)?;
        real("--noise", self.noise, 0.0, 100.0)?;
        real("--coupling", self.coupling, 0.0, 1.0)?;
        real("--coupling-spread", self.coupling_spread, 0.0, 1.0)?;
        real("--curvature", self.curvature, 0.0, 10.0)?;
        real("--gain", self.gain, 0.01, 100.0)?;
        real("--label-noise", self.label_noise, 0.0, 0.5)?;
        self.check_missing()?;
        if self.curvature > 0.0 {
            self.geometries.iter().try_for_each(|one| self.check_shape(*one))
        } else {
            Ok(())
        }
    }

    /// A row keeps one modality, so that at most (M - 1) / M can be missing. If all others are, there are no
    /// pairs.
    fn check_missing(&self) -> Result<(), Error> {
        let modalities = self.geometries.len() as f64;
        let most = (modalities - 1.0) / modalities;
        if self.missing >= 0.0 && self.missing < most {
            return Ok(());
        }
        let help = "every row keeps at least one modality, and some rows must keep two";
        Err(bad("--missing", format!("0 or more and below {most:.3}"), self.missing, help))
    }

    /// Refuses manifolds that collapse or overlap themselves.
    fn check_shape(&self, geometry: Geometry) -> Result<(), Error> {
        let (factors, curvature) = (self.factors(), self.curvature);
        if geometry != Geometry::Plane && factors < 2 {
            let help = "a curve has no curvature: add shared or private factors, or set --curvature 0";
            let expected = format!("2 or more factors for the {}", geometry.name());
            return Err(bad("--shared and --private", expected, factors, help));
        }
        if geometry == Geometry::Torus && !(THINNEST_TUBE..=1.0).contains(&curvature) {
            let help = "the curvature of a torus is the radius of its tube divided by that of its ring: \
                        above 1 it crosses itself, near 0 it is a circle. Use 0 for planes, or another \
                        --geometry";
            return Err(bad("--curvature", format!("{THINNEST_TUBE} to 1 for the torus"), curvature, help));
        }
        let folded = folded(factors, curvature);
        if geometry == Geometry::Sphere && folded > MOST_FOLDED {
            let enough = (2.0 * MOST_FOLDED.ln() / self::folded(2, curvature).ln()).ceil();
            let help = if enough <= 128.0 {
                format!("use {enough} or more factors, or a lower curvature")
            } else {
                "use a lower curvature".to_owned()
            };
            let expected = "a sphere on which fewer than one row in a million folds over the antipode";
            let got = format!("curvature {curvature} with {factors} factors (up to {folded:.1e})");
            return Err(Error::Setting { what: "--curvature", expected: expected.into(), got, help });
        }
        Ok(())
    }
}

/// Returns an upper bound of the probability that a row with `factors` factors lies beyond the antipode of a
/// sphere: P(√κ |u| / √q > π). It is Chernoff's bound of the chi-squared distribution,
/// P(χ²_q > q t) ≤ (t e^(1 - t))^(q / 2) for t = π² / κ > 1.
fn folded(factors: usize, curvature: f64) -> f64 {
    let t = std::f64::consts::PI.powi(2) / curvature;
    if t <= 1.0 { 1.0 } else { (t * (1.0 - t).exp()).powf(factors as f64 / 2.0) }
}

fn whole(what: &'static str, value: usize, least: usize, most: usize) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(bad(what, format!("{least} to {most}"), value, "choose a value in that range"))
}

fn real(what: &'static str, value: f64, least: f64, most: f64) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(bad(what, format!("{least} to {most}"), value, "choose a value in that range"))
}

fn bad(what: &'static str, expected: impl Into<String>, got: impl ToString, help: &str) -> Error {
    Error::Setting { what, expected: expected.into(), got: got.to_string(), help: help.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut BenchmarkSettings)) -> String {
        let mut settings = BenchmarkSettings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        BenchmarkSettings::default().check().unwrap();
    }

    #[test]
    fn collapsing_manifolds_are_refused_with_the_way_out() {
        let torus = refusal(|s| s.curvature = 1.2);
        assert!(torus.contains("0.1 to 1 for the torus") && torus.contains("crosses itself"), "{torus}");
        assert!(refusal(|s| s.curvature = 0.01).contains("torus"));
        let sphere =
            |shared| move |s: &mut BenchmarkSettings| (s.shared, s.private, s.curvature) = (shared, 0, 1.0);
        let few = refusal(sphere(2));
        assert!(few.contains("with 2 factors") && few.contains("use 5 or more factors"), "{few}");
        let mut enough = BenchmarkSettings::default();
        sphere(5)(&mut enough);
        enough.check().unwrap();
        let curve = refusal(|s| (s.shared, s.private) = (1, 0));
        assert!(curve.contains("a curve has no curvature"), "{curve}");
        // Planes have no such limits.
        let flat = BenchmarkSettings { shared: 1, private: 0, curvature: 0.0, ..Default::default() };
        flat.check().unwrap();
    }

    /// The exact probability for two factors is exp(-q t / 2) = exp(-t); Chernoff's bound lies above it.
    #[test]
    fn the_share_of_folded_rows_is_an_upper_bound() {
        for curvature in [0.5, 1.0, 3.0] {
            let t = std::f64::consts::PI.powi(2) / curvature;
            assert!(folded(2, curvature) >= (-t).exp());
        }
        assert_eq!(folded(4, 10.0), 1.0);
    }

    #[test]
    fn values_out_of_range_name_the_flag() {
        assert!(refusal(|s| s.coupling = 1.5).starts_with("--coupling: expected 0 to 1, got 1.5"));
        assert!(refusal(|s| s.noise = f64::NAN).starts_with("--noise"));
        assert!(refusal(|s| s.rows = 3).starts_with("--rows"));
        assert!(refusal(|s| s.missing = 0.75).contains("below 0.750"));
        assert!(refusal(|s| s.geometries.truncate(1)).starts_with("--modalities: expected 2 to 4, got 1"));
    }

    #[test]
    fn couplings_fall_evenly() {
        let settings =
            BenchmarkSettings { shared: 3, coupling: 0.8, coupling_spread: 0.5, ..Default::default() };
        let expected = [0.8, 0.6, 0.4];
        assert!(settings.couplings().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(BenchmarkSettings { shared: 1, ..settings }.couplings(), [0.8]);
    }
}
