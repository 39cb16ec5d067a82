//! Aligns cells that were measured in two ways without using any pair, and scores the result by the pairs.
//!
//! `cargo run -p chiasm-closed-form --profile dev --example single_cells -- FOLDER [SETTINGS]`
//!
//! FOLDER holds the files that it reads, where they exist: `scGEM_expression.csv` and `scGEM_methylation.csv`
//! (177 cells; Cheow et al. 2016), `SNAREseq_atac_feat.npy` and `SNAREseq_rna_feat.npy` (1047 cells; Chen et
//! al. 2019). The repository github.com/rsinghlab/SCOT has them in `data/` (`scGEM_methylation.csv` in its
//! commit 8518d996). SETTINGS are the parameters of ot-map as JSON, `{"map": "canonical"}` when not given;
//! every choice that they leave open is made without the pairs. Row i of one file belongs to row i of the
//! other, which only FOSCTTM reads: the mean share of cells that are closer to the image of a cell than its
//! partner. `single_cells.py` beside this file computes SCOT's alignment with POT.
//!
//! Measured with the default settings, FOSCTTM: scGEM 0.184 (SCOT's published 0.192 was chosen by the true
//! pairs), SNARE-seq 0.148 (SCOT 0.150). The report of a fit tells how much it can be trusted: on scGEM the
//! best matching leaves 0.150 of the difference between the distances and the next best optimum 0.385, on
//! SNARE-seq 0.166 and 0.213.
//!
//! Seconds, on two threads beside other work: the fit of scGEM, with the choice of its settings, took 1.4 s,
//! and one solve of `entropic_gromov_wasserstein` in POT 3.4 to 36 s, of which SCOT's grid has eight (three
//! of them and a part of the fourth: 29.6 s of processor time). The fit of SNARE-seq took 72 s, and one of
//! POT's four solves (k 50, epsilon 0.005) 244 s of processor time.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use chiasm_closed_form::{FitContext, Method, Views, ot_map::OtMapParams};
use chiasm_geometry::foscttm::foscttm;
use ndarray::Array2;

const SETS: [(&str, &str, &str); 2] = [
    ("scGEM", "scGEM_expression.csv", "scGEM_methylation.csv"),
    ("SNARE-seq", "SNAREseq_atac_feat.npy", "SNAREseq_rna_feat.npy"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("expected: single_cells FOLDER [SETTINGS]")?;
    let settings = arguments.get(1).map_or(r#"{"map": "canonical"}"#, String::as_str);
    for (name, first, second) in SETS {
        let [first, second] = [first, second].map(|file| Path::new(folder).join(file));
        if !(first.is_file() && second.is_file()) {
            println!("{name}: skipped, {} or {} is missing", first.display(), second.display());
            continue;
        }
        let (x, y) = (read(&first)?, read(&second)?);
        let parameters = OtMapParams { pairs: Some(0), ..serde_json::from_str(settings)? };
        let clock = Instant::now();
        let fitted = parameters.fit_views(&Views::paired(x.view(), y.view())?, FitContext::default())?;
        let seconds = clock.elapsed().as_secs_f64();
        let images = [fitted.maps[0].apply(x.view())?, fitted.maps[1].apply(y.view())?];
        let share = foscttm(images[0].view(), images[1].view())?;
        let report = serde_json::to_string(&fitted.unpaired)?;
        println!("{name}: {} cells, FOSCTTM {share:.4}, {seconds:.1} s, {report}", x.nrows());
    }
    Ok(())
}

/// Reads numbers separated by commas, or an .npy array in double precision.
fn read(path: &Path) -> Result<Array2<f32>, Box<dyn Error>> {
    if path.extension().is_some_and(|extension| extension == "npy") {
        let bytes = std::fs::read(path)?;
        let file = npyz::NpyFile::new(&bytes[..])?;
        let shape = file.shape().to_vec();
        let [rows, columns] = shape[..] else { return Err("expected a matrix".into()) };
        let (rows, columns) = (rows as usize, columns as usize);
        let by_column = file.order() == npyz::Order::Fortran;
        let values: Vec<f64> = file.into_vec()?;
        let values = values.into_iter().map(|v| v as f32).collect();
        return Ok(match by_column {
            true => Array2::from_shape_vec((columns, rows), values)?.reversed_axes(),
            false => Array2::from_shape_vec((rows, columns), values)?,
        });
    }
    let text = std::fs::read_to_string(path)?;
    let rows: Vec<Vec<f32>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.split(',').map(|word| word.trim().parse::<f32>()).collect())
        .collect::<Result<_, _>>()?;
    let columns = rows.first().map_or(0, Vec::len);
    Ok(Array2::from_shape_vec((rows.len(), columns), rows.concat())?)
}
