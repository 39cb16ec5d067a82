//! Every key of a recipe: what it takes, its default, what it does, and an example. The reference page and
//! `chiasm explain recipe` are made from this table, and a test compares it with the keys that are read.

use serde::Serialize;

/// A key of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecipeKey {
    /// The table that holds it; a word in capitals stands for a name, such as `encoders.MODALITY`. Empty for
    /// the top of the recipe.
    pub table: &'static str,
    /// The key.
    pub key: &'static str,
    /// The values it takes.
    pub takes: &'static str,
    /// What holds without it; "required" if it must be given.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
    /// An example.
    pub example: &'static str,
}

impl RecipeKey {
    /// Returns the whole name of the key, such as `align.anchor`.
    pub fn name(&self) -> String {
        if self.table.is_empty() { self.key.to_owned() } else { format!("{}.{}", self.table, self.key) }
    }

    /// Returns whether a written name, such as `encoders.image.model`, is this key.
    pub fn is(&self, name: &str) -> bool {
        let pattern = self.name();
        let (mut pattern, mut name) = (pattern.split('.'), name.split('.'));
        loop {
            match (pattern.next(), name.next()) {
                (None, None) => return true,
                (Some(part), Some(word)) if part == word || part.chars().all(|c| c.is_ascii_uppercase()) => {}
                _ => return false,
            }
        }
    }
}

const fn key(
    table: &'static str,
    key: &'static str,
    takes: &'static str,
    default: &'static str,
    about: &'static str,
    example: &'static str,
) -> RecipeKey {
    RecipeKey { table, key, takes, default, about, example }
}

const ENCODER: &str = "encoders.MODALITY";
const CORRUPTION: &str = "data.corruption.MODALITY";
const CORRUPT: &str = "robustness.corrupt.MODALITY";
const BASELINES: &str = "robustness.baselines";
const KIND: &str = "The kind of corruption, one of those of the modality's adapter.";
const STRENGTH: &str = "The strength, in the unit of the kind.";
const SYNONYMS: &str = "A JSON file { \"word\": [\"synonym\", ...] }, for the kind `synonyms` of texts.";

/// All keys, in the order of a recipe.
pub const RECIPE_KEYS: &[RecipeKey] = &[
    key("", "seed", "an integer >= 0", "0", "The seed of every random choice.", "seed = 1"),
    key(
        "",
        "encoders",
        "a table for each modality",
        "required",
        "The modalities, two or more, in the order of their columns in tables and reports.",
        "[encoders.image]",
    ),
    key(
        ENCODER,
        "model",
        "a name or a list of names",
        "required, or `vectors`",
        "The model card of the frozen encoder (`chiasm model list`). The pooled vectors of several encoders \
         are concatenated.",
        "model = \"mobilenetv2\"",
    ),
    key(
        ENCODER,
        "vectors",
        "a path to .npy, .npz or .parquet",
        "required, or `model`",
        "A file of precomputed embeddings, floats [n, d], instead of a model. Relative to the recipe.",
        "vectors = \"image.npy\"",
    ),
    key(
        ENCODER,
        "member",
        "a name",
        "the only one that holds vectors",
        "The array of an .npz file, or the column of a Parquet file, that holds the vectors. A field of a \
         struct column is `column.field`.",
        "member = \"image\"",
    ),
    key(
        ENCODER,
        "column",
        "a column of the data",
        "the name of the modality",
        "The column that holds the raw items: paths of files, texts, or rows of `vectors`.",
        "column = \"picture\"",
    ),
    key(
        ENCODER,
        "items",
        "\"each\", \"first\" or \"mean\"",
        "\"each\"",
        "Which items of a row's list are used: each with a vector of its own, the first, or the mean of \
         their pooled vectors as one item.",
        "items = \"each\"",
    ),
    key(
        ENCODER,
        "train_items",
        "\"each\", \"first\" or \"mean\"",
        "as `items`",
        "The same for training and validation rows.",
        "train_items = \"mean\"",
    ),
    key("", "data", "a table", "required, unless every encoder has `vectors`", "The data.", "[data]"),
    key(
        "data",
        "pairs",
        "a path to .jsonl, .csv, .tsv or .parquet",
        "rows of `vectors` are paired by position",
        "The table with one row for each set of items that belong together. Relative to the recipe.",
        "pairs = \"pairs.jsonl\"",
    ),
    key(
        "data",
        "split",
        "a column of the data",
        "the column `split` if there is one; else every fifth row is a test row, and the others train",
        "The column that says train, validation or test for each row.",
        "split = \"split\"",
    ),
    key(
        "data",
        "shards",
        "a path to .parquet, or to a folder of them",
        "none",
        "More training rows, a few thousand of which are in memory at once: a column of vectors for each \
         modality, named after it. Every encoder has `vectors`, and the aligner is cca, ridge or procrustes.",
        "shards = \"shards\"",
    ),
    key(
        "data",
        "corruption",
        "a table for each modality",
        "none",
        "Corruption of training items, made anew for each fit from the seed.",
        "[data.corruption.text]",
    ),
    key(CORRUPTION, "kind", "a name", "required", KIND, "kind = \"dropout\""),
    key(CORRUPTION, "strength", "a number", "required", STRENGTH, "strength = 0.2"),
    key(CORRUPTION, "synonyms", "a path", "none", SYNONYMS, "synonyms = \"synonyms.json\""),
    key(
        CORRUPTION,
        "probability",
        "a number from 0 to 1",
        "1",
        "The probability of each training item to be corrupted.",
        "probability = 0.5",
    ),
    key(
        CORRUPTION,
        "keep_clean",
        "true or false",
        "false",
        "Adds the corrupted item beside the clean one instead of replacing it.",
        "keep_clean = true",
    ),
    key("", "align", "a table", "required", "The aligner, which learns the maps.", "[align]"),
    key(
        "align",
        "plugin",
        "the id of an aligner",
        "required",
        "The aligner (`chiasm plugin list`). All other keys of [align] are its parameters.",
        "plugin = \"cca\"",
    ),
    key(
        "align",
        "anchor",
        "a modality",
        "the aligner decides",
        "The modality that all others are aligned to.",
        "anchor = \"text\"",
    ),
    key(
        "align",
        "labels",
        "a column of the data",
        "none",
        "The column of classes that aligners with a task term learn.",
        "labels = \"class\"",
    ),
    key("", "fuse", "a table", "no fusion", "The fusion of the aligned embeddings.", "[fuse]"),
    key(
        "fuse",
        "plugin",
        "the id of a fusion",
        "required",
        "The fusion (`chiasm plugin list`). All other keys of [fuse] are its parameters.",
        "plugin = \"cross-attention\"",
    ),
    key("", "task", "a table", "no task", "The task that the fusion is trained for.", "[task]"),
    key(
        "task",
        "kind",
        "\"classification\", \"multi-label\", \"regression\" or \"retrieval\"",
        "required",
        "The kind of task.",
        "kind = \"classification\"",
    ),
    key(
        "task",
        "column",
        "a column of the data",
        "required, but for retrieval",
        "The column of the targets.",
        "column = \"answer\"",
    ),
    key(
        "task",
        "modality",
        "a modality",
        "required for retrieval",
        "The modality whose other items are found.",
        "modality = \"text\"",
    ),
    key("", "score", "a table", "cosine similarity", "How scores are computed from embeddings.", "[score]"),
    key(
        "score",
        "bank",
        "true, false or a table",
        "false",
        "Corrects hubness: a score is reduced by `weight` times the mean of the `top` largest similarities \
         of each item to the training items of the other modality.",
        "bank = true",
    ),
    key("score.bank", "top", "an integer >= 1", "30", "The number of training items.", "top = 30"),
    key("score.bank", "weight", "a number >= 0", "0.75", "The weight of the correction.", "weight = 0.75"),
    key("", "eval", "a table", "as its keys", "Which test items are relevant for a query.", "[eval]"),
    key(
        "eval",
        "relevant",
        "\"row\" or \"label\"",
        "\"row\"",
        "Items of the same row, or items whose rows have the same label.",
        "relevant = \"label\"",
    ),
    key(
        "eval",
        "label",
        "a column of the data",
        "required for relevant = \"label\"",
        "The column of labels.",
        "label = \"class\"",
    ),
    key(
        "",
        "checks",
        "a table",
        "as its keys",
        "How the maps are checked (`chiasm explain checks`).",
        "[checks]",
    ),
    key(
        "checks",
        "points",
        "an integer >= 1",
        "64, fewer above 512 dimensions",
        "The number of points at which Jacobians are computed. The default is 28 for maps between 768 \
         dimensions, and 16 from 1024 dimensions on.",
        "points = 128",
    ),
    key(
        "checks",
        "neighbours",
        "an integer >= 1",
        "5",
        "The number of neighbours in the checks of neighbourhoods.",
        "neighbours = 10",
    ),
    key(
        "checks",
        "expected_rank",
        "an integer >= 0",
        "the attainable rank",
        "The rank that the map should have.",
        "expected_rank = 16",
    ),
    key(
        "checks",
        "rank_tolerance",
        "a number from 0 to 1",
        "0.000001",
        "Singular values below this fraction of the largest count as zero.",
        "rank_tolerance = 1e-5",
    ),
    key(
        "checks",
        "allow_unknown",
        "true or false",
        "false",
        "Whether a check that could not be made is allowed; without it, `fit` and `check` exit with 1.",
        "allow_unknown = true",
    ),
    key(
        "checks",
        "labels",
        "a column of the data",
        "none",
        "The column of classes, for checks of what a map keeps of them.",
        "labels = \"class\"",
    ),
    key(
        "checks",
        "CHECK",
        "a table with `warn` and `fail`",
        "those of the check",
        "The limits of a check (`chiasm explain checks` lists them).",
        "condition_number = { warn = 1e4, fail = 1e6 }",
    ),
    key("checks.CHECK", "warn", "a number", "that of the check", "The limit of a warning.", "warn = 1e4"),
    key("checks.CHECK", "fail", "a number", "that of the check", "The limit of a failure.", "fail = 1e6"),
    key(
        "",
        "robustness",
        "a table",
        "no sweep",
        "Evaluates the run again with corrupted test items and with missing modalities.",
        "[robustness]",
    ),
    key(
        "robustness",
        "corruption",
        "ascending numbers from 0 to 1",
        "none",
        "The shares of the test items that are corrupted.",
        "corruption = [0.2, 0.5, 0.8]",
    ),
    key(
        "robustness",
        "missing",
        "ascending numbers from 0 to 1",
        "none",
        "The shares of the test rows that lack a modality, for each modality.",
        "missing = [0.2, 0.5]",
    ),
    key(
        "robustness",
        "corrupt",
        "a table for each modality",
        "required with `corruption`",
        "How the test items of a modality are corrupted.",
        "[robustness.corrupt.image]",
    ),
    key(CORRUPT, "kind", "a name", "required", KIND, "kind = \"noise\""),
    key(CORRUPT, "strength", "a number", "required", STRENGTH, "strength = 0.1"),
    key(CORRUPT, "synonyms", "a path", "none", SYNONYMS, "synonyms = \"synonyms.json\""),
    key(
        "robustness",
        "baselines",
        "a list of ids or tables",
        "none",
        "Other aligners for the same table.",
        "baselines = [\"cca\", { plugin = \"mlp\", steps = 500 }]",
    ),
    key(BASELINES, "plugin", "the id of an aligner", "required", "The aligner.", "plugin = \"mlp\""),
    key(
        BASELINES,
        "name",
        "a name",
        "the id",
        "Its name in the table. All other keys are parameters of the aligner.",
        "name = \"infonce\"",
    ),
];

#[cfg(test)]
mod tests;
