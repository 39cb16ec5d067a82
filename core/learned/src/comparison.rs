//! Who does best on rows that nobody was fitted on: the learned map, its start, or another closed form.

use chiasm_closed_form::cca::CcaParams;
use chiasm_closed_form::{Conduct, Fitted, Method, Pairs, rivals};
use chiasm_geometry::folds::seeded;
use chiasm_geometry::retrieval::{Ranks, recall};
use chiasm_plugin::ndarray::{Array2, ArrayView2, Axis};
use chiasm_plugin::{Json, Result, Services, json};
use serde::Serialize;

use crate::{apply, refuse};

/// One part in so many is held out.
const PARTS: usize = 5;
/// Rows held out at most; more would cost time and tell no more.
const MOST: usize = 2000;
/// Below this many rows none are held out: the part would be too few to judge by.
pub const FEWEST: usize = 50;
/// Ranks that the smoother figure looks at, as the closed forms' own search does.
const DEPTH: usize = 20;

/// Paired rows, `[n, dA]` and `[n, dB]`.
pub type Sides = [Array2<f32>; 2];

/// Rows to fit on and rows to judge by.
#[derive(Debug)]
pub struct Held {
    /// To fit on.
    pub training: Sides,
    /// To judge by.
    pub validation: Sides,
}

/// What one map reached on the rows held out.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its name.
    pub map: String,
    /// Recall@1 + @5 + @10 of both directions, in percent: what maps are chosen by.
    pub rsum: f64,
    /// Recall@1, source to target and back.
    #[serde(rename = "recall@1")]
    pub recall_at_1: [f64; 2],
    /// Mean of recall@1 to recall@20 of both directions, a smoother figure.
    pub early_recall: f64,
}

/// The table, in the order of entry.
#[derive(Debug, Clone, Default)]
pub struct Contest {
    entries: Vec<Entry>,
    rows: usize,
}

impl Held {
    /// A seeded fifth of the rows, at most 2000, held out; `None` when there are too few rows to judge by.
    ///
    /// # Errors
    /// Never: the number of rows allows the folds.
    pub fn out(source: ArrayView2<'_, f32>, target: ArrayView2<'_, f32>, seed: u64) -> Result<Option<Self>> {
        let rows = source.nrows();
        if rows < FEWEST {
            return Ok(None);
        }
        let parts = PARTS.max(rows.div_ceil(MOST));
        let fold = seeded(rows, parts, seed)?.swap_remove(0);
        let pick = |rows: &[usize]| [source.select(Axis(0), rows), target.select(Axis(0), rows)];
        Ok(Some(Self { training: pick(&fold.train), validation: pick(&fold.test) }))
    }
}

/// Canonical correlation on paired rows: what learned maps start from. `given` are its parameters, chosen where they are not set.
///
/// # Errors
/// When the parameters or the rows are refused, or the caller asked to stop.
pub fn start(
    sides: [ArrayView2<'_, f32>; 2],
    given: &Json,
    blocks: [Option<&[usize]>; 2],
    services: &Services<'_>,
) -> Result<Fitted<CcaParams>> {
    let mut given = if given.is_null() { json!({}) } else { given.clone() };
    if let Some(object) = given.as_object_mut() {
        for (name, widths) in [("source_blocks", blocks[0]), ("target_blocks", blocks[1])] {
            object.entry(name).or_insert_with(|| json!(widths));
        }
    }
    let parameters: CcaParams = chiasm_plugin::read_parameters(&given).map_err(|e| e.context("`start`"))?;
    let progress = |done, total| services.progress(done, total).is_ok();
    let conduct = Conduct { seed: services.seed(), progress: &progress };
    Pairs::new(sides[0], sides[1]).and_then(|pairs| parameters.fit_pairs(pairs, conduct)).map_err(refuse)
}

/// The parameters that a start came out with, without the blocks, which the plugin's own parameters say.
pub fn chosen(start: &Fitted<CcaParams>) -> Json {
    let mut chosen = json!(start.parameters);
    if let Some(object) = chosen.as_object_mut() {
        object.remove("source_blocks");
        object.remove("target_blocks");
    }
    chosen
}

impl Contest {
    /// A contest that the mean vector, Procrustes, ridge and the start have entered.
    ///
    /// # Errors
    /// When a closed form refuses the rows, or the engine fails.
    pub fn open(
        held: &Held,
        start: &Fitted<CcaParams>,
        blocks: [Option<&[usize]>; 2],
        services: &Services<'_>,
    ) -> Result<Self> {
        let progress = |done, total| services.progress(done, total).is_ok();
        let conduct = Conduct { seed: services.seed(), progress: &progress };
        let [x, y] = held.training.each_ref().map(Array2::view);
        let others = Pairs::new(x, y).and_then(|pairs| rivals(pairs, blocks, conduct)).map_err(refuse)?;
        let mut contest = Self { entries: Vec::new(), rows: held.validation[0].nrows() };
        let [x, y] = held.validation.each_ref().map(Array2::view);
        for rival in others {
            let mapped = [apply(services, &rival.source, x)?, apply(services, &rival.target, y)?];
            contest.enter(rival.name, &mapped)?;
        }
        let graphs = [start.source.graph("x").map_err(refuse)?, start.target.graph("y").map_err(refuse)?];
        contest.enter("cca", &[apply(services, &graphs[0], x)?, apply(services, &graphs[1], y)?])?;
        Ok(contest)
    }

    /// Enters a map by its images of the rows held out, unit rows; returns what it reached.
    ///
    /// # Errors
    /// When an image holds NaN.
    pub fn enter(&mut self, map: &str, images: &Sides) -> Result<Entry> {
        let ranks = Ranks::of_embeddings(images[0].view(), images[1].view())?;
        let entry = Entry {
            map: map.to_owned(),
            rsum: ranks.rsum(),
            recall_at_1: [recall(&ranks.forward, 1), recall(&ranks.backward, 1)],
            early_recall: ranks.early_recall(DEPTH),
        };
        self.entries.push(entry.clone());
        Ok(entry)
    }

    /// What a map reached that has entered.
    pub fn entry(&self, map: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.map == map)
    }

    /// Whether a learned map beats every closed form, in one plain sentence; `learned` is what it entered as, `title` what to
    /// call it.
    pub fn verdict(&self, learned: &str, title: &str) -> String {
        let best =
            |of: &mut dyn Iterator<Item = &Entry>| of.max_by(|a, b| a.rsum.total_cmp(&b.rsum)).cloned();
        let own = best(&mut self.entries.iter().filter(|entry| entry.map.starts_with(learned)));
        let other = best(&mut self.entries.iter().filter(|entry| !entry.map.starts_with(learned)));
        let (Some(own), Some(other)) = (own, other) else { return String::new() };
        let figures = format!(
            "rsum {:.1} against {:.1}, mean recall@1..{DEPTH} {:.4} against {:.4}, on {} rows held out",
            own.rsum, other.rsum, own.early_recall, other.early_recall, self.rows
        );
        if own.rsum > other.rsum {
            format!("{title} beats every closed form here; the best of those is {}: {figures}", other.map)
        } else {
            format!("{title} does not beat {} here: {figures}", other.map)
        }
    }

    /// The table for the notes.
    pub fn table(&self) -> Json {
        json!({ "rows": self.rows, "maps": self.entries })
    }
}
