//! The plan: a recipe with everything looked up and checked. Only a plan can run.
//!
//! Every problem is found before anything is embedded, and all of them are reported together.

use crate::{
    Error, Recipe, Workbench,
    card::ModelStore,
    data::{Cell, Pairs, Split},
    encoder::{EncoderPlan, Raw},
    problem::{Problem, Problems},
    recipe::{EncoderRecipe, PluginRecipe, Select},
    task::{TaskPlan, check_needs},
    tree,
};
use chiasm_graph::OPSET;
use chiasm_host::{FusionNeeds, Takes, Task};
use serde::Serialize;
use std::collections::BTreeSet;

/// A recipe that can run.
pub struct Plan {
    /// What was said.
    pub recipe: Recipe,
    /// The rows.
    pub pairs: Pairs,
    /// The two modalities: source, then target.
    pub modalities: [ModalityPlan; 2],
    /// Whether the fusion reads tokens.
    pub tokens: bool,
    /// What the fusion is trained for.
    pub task: Option<TaskPlan>,
}

/// One modality, its encoders opened.
pub struct ModalityPlan {
    /// Its name.
    pub name: String,
    /// Which items of a list make the row.
    pub select: Select,
    /// Its encoders.
    pub encoders: Vec<EncoderPlan>,
    /// The raw items of every row; several where the column holds a list and all are wanted.
    pub items: Vec<Vec<Raw>>,
}

impl ModalityPlan {
    /// Width of the pooled vectors, all encoders together.
    pub fn width(&self) -> usize {
        self.encoders.iter().map(|e| e.pooled_dim).sum()
    }

    /// Width of each encoder's pooled vectors.
    pub fn blocks(&self) -> Vec<usize> {
        self.encoders.iter().map(|e| e.pooled_dim).collect()
    }
}

impl Plan {
    /// Looks up and checks everything the recipe names.
    ///
    /// # Errors
    /// Every problem found, together.
    pub fn check(recipe: Recipe, bench: &Workbench) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let store = ModelStore::new(&recipe.folder, &bench.models);
        let order = problems.keep(source_and_target(&recipe));
        let mut opened: Vec<Option<Vec<EncoderPlan>>> = Vec::new();
        for encoder in &recipe.encoders {
            opened.push(open(encoder, &recipe, &store, bench, &mut problems));
        }
        check_plugin(bench, "aligner", &recipe.align.plugin, &mut problems);
        let needs = check_fusion(bench, &recipe, &mut problems);
        check_opsets(opened.iter().flatten().flatten(), &mut problems);
        let pairs = read_pairs(&recipe, &opened, &mut problems);
        let mut modalities = Vec::new();
        for (encoder, encoders) in recipe.encoders.iter().zip(opened) {
            let (Some(pairs), Some(encoders)) = (&pairs, encoders) else { continue };
            let takes = encoders.first().map_or(Takes::Row, |e| e.takes);
            let items = read_items(encoder, takes, pairs, &mut problems);
            check_rows(encoder, &encoders, &items, &mut problems);
            modalities.push(ModalityPlan {
                name: encoder.modality.value.clone(),
                select: encoder.select,
                encoders,
                items,
            });
        }
        let takes = |name: &str| {
            let modality = modalities.iter().find(|m| m.name == name)?;
            modality.encoders.first().map(|encoder| encoder.takes)
        };
        let task =
            pairs.as_ref().and_then(|pairs| problems.keep(TaskPlan::check(&recipe, pairs, &takes, None)));
        let modalities = order.and_then(|order| in_order(modalities, order));
        let (pairs, modalities) = problems.or(pairs.zip(modalities))?;
        Ok(Self { recipe, pairs, modalities, tokens: needs.tokens, task: task.flatten() })
    }

    /// What the plan would do, for people and machines.
    pub fn report(&self) -> PlanReport {
        let encoders = (self.modalities.iter())
            .flat_map(|m| m.encoders.iter().map(|e| e.report(&m.name, m.items.iter().map(Vec::len).sum())))
            .collect();
        PlanReport {
            rows: self.pairs.len(),
            train: self.pairs.rows_of(Split::Train).len(),
            test: self.pairs.rows_of(Split::Test).len(),
            encoders,
            source: self.modalities[0].name.clone(),
            target: self.modalities[1].name.clone(),
            aligner: self.recipe.align.plugin.id.value.clone(),
            fusion: self.recipe.fuse.as_ref().map(|f| f.id.value.clone()),
            task: self.task.as_ref().map(|plan| plan.task.clone()),
            reads_tokens: self.tokens,
            bank: self.recipe.score.bank.is_some(),
            opset: merged_opset(self.modalities.iter().flat_map(|m| &m.encoders)),
            embedding_bytes: self.modalities.iter().map(|m| 4 * m.width() * self.pairs.len()).sum(),
        }
    }
}

/// What a plan would do.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// Rows of the pairs.
    pub rows: usize,
    /// Rows that maps are fitted on.
    pub train: usize,
    /// Rows held out.
    pub test: usize,
    /// Every encoder.
    pub encoders: Vec<EncoderReport>,
    /// The modality whose space is mapped.
    pub source: String,
    /// The modality it is mapped onto.
    pub target: String,
    /// The aligner.
    pub aligner: String,
    /// The fusion.
    pub fusion: Option<String>,
    /// What the fusion is trained for.
    pub task: Option<Task>,
    /// Whether the fusion reads tokens: of each modality those of its first encoder.
    pub reads_tokens: bool,
    /// Whether scores get a hubness bank.
    pub bank: bool,
    /// The operator set of the merged model.
    pub opset: i64,
    /// Memory of all embeddings, in bytes.
    pub embedding_bytes: usize,
}

/// One encoder of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct EncoderReport {
    /// The modality it serves.
    pub modality: String,
    /// Its name.
    pub name: String,
    /// Its adapter.
    pub adapter: String,
    /// Its input ports.
    pub inputs: Vec<String>,
    /// Shape of its tokens.
    pub tokens: String,
    /// Width of its pooled vectors.
    pub pooled: usize,
    /// Its operator set.
    pub opset: i64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
    /// Items it has to embed.
    pub items: usize,
    /// Its licence.
    pub licence: String,
}

/// Indices into the recipe's encoders.
pub(crate) fn source_and_target(recipe: &Recipe) -> Result<[usize; 2], Problem> {
    let names: Vec<&str> = recipe.encoders.iter().map(|e| e.modality.value.as_str()).collect();
    let find = |said: &Option<tree::At<String>>| match said {
        None => Ok(None),
        Some(at) => names.iter().position(|n| *n == at.value).map(Some).ok_or_else(|| {
            Problem::new("chiasm::plan::modality", format!("no encoder is called {:?}", at.value))
                .at(&at.at, "this modality")
                .help(format!("the encoders are {}", names.join(", ")))
        }),
    };
    match (find(&recipe.align.source)?, find(&recipe.align.target)?) {
        (None, None) | (Some(0), None) | (None, Some(1)) | (Some(0), Some(1)) => Ok([0, 1]),
        (Some(1), None) | (None, Some(0)) | (Some(1), Some(0)) => Ok([1, 0]),
        _ => Err(Problem::new("chiasm::plan::modality", "`align.source` and `align.target` are the same")),
    }
}

fn in_order(modalities: Vec<ModalityPlan>, order: [usize; 2]) -> Option<[ModalityPlan; 2]> {
    let [mut first, second]: [ModalityPlan; 2] = modalities.try_into().ok()?;
    let mut second = second;
    if order == [1, 0] {
        std::mem::swap(&mut first, &mut second);
    }
    Some([first, second])
}

fn open(
    encoder: &EncoderRecipe,
    recipe: &Recipe,
    store: &ModelStore,
    bench: &Workbench,
    problems: &mut Problems,
) -> Option<Vec<EncoderPlan>> {
    let mut opened = Vec::new();
    if let Some(vectors) = &encoder.vectors {
        let plan = EncoderPlan::of_vectors(&recipe.path(&vectors.value), bench);
        opened.push(problems.keep(plan.map_err(|p| p.at(&vectors.at, "these vectors"))));
    }
    for model in &encoder.models {
        let plan = EncoderPlan::of_model(&model.value, store, bench);
        opened.push(problems.keep(plan.map_err(|p| p.at(&model.at, "this model"))));
    }
    let names: BTreeSet<&str> = encoder.models.iter().map(|m| m.value.as_str()).collect();
    if let Some(model) = encoder.models.first().filter(|_| names.len() < encoder.models.len()) {
        let message = format!("[encoders.{}] names a model twice", encoder.modality.value);
        problems.push(Problem::new("chiasm::plan::model_twice", message).at(&model.at, "in this list"));
    }
    let opened: Option<Vec<EncoderPlan>> = opened.into_iter().collect();
    let same = |all: &Vec<EncoderPlan>| all.windows(2).all(|two| two[0].takes == two[1].takes);
    if !opened.as_ref().is_none_or(same) {
        let message =
            format!("the encoders of {:?} read different kinds of raw input", encoder.modality.value);
        problems
            .push(Problem::new("chiasm::plan::takes", message).at(&encoder.modality.at, "these encoders"));
        return None;
    }
    opened
}

fn check_plugin(bench: &Workbench, kind: &str, plugin: &PluginRecipe, problems: &mut Problems) {
    let parameters = match kind {
        "aligner" => bench.host.aligner(&plugin.id.value).and_then(|a| a.parameters()),
        _ => bench.host.fusion(&plugin.id.value).and_then(|f| f.parameters()),
    };
    match parameters {
        Err(error) => problems.push(
            Problem::new("chiasm::plan::plugin", error.to_string())
                .at(&plugin.id.at, format!("this {kind}"))
                .help("`chiasm plugin list` shows what there is, `chiasm plugin why ID` where it was looked for"),
        ),
        Ok(parameters) => {
            let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let path = if kind == "aligner" { "align" } else { "fuse" };
            for (key, node) in plugin.parameters.iter().filter(|(k, _)| !known.contains(&k.as_str())) {
                problems.push(tree::unknown_key(path, key, node, known.iter().copied()));
            }
            for (key, node) in &plugin.parameters {
                let kind = parameters.iter().find(|p| p.name == *key).map(|p| p.kind.as_str());
                if let Some(expected) = kind.filter(|kind| !node.value.is(kind)) {
                    let message = format!("`{path}.{key}` expects: {expected}; got {}", node.value.kind());
                    let problem = Problem::new("chiasm::recipe::wrong_type", message);
                    problems.push(problem.at(&node.at, "this value"));
                }
            }
        }
    }
}

/// The fusion's plugin, what it needs, and whether the recipe has that.
fn check_fusion(bench: &Workbench, recipe: &Recipe, problems: &mut Problems) -> FusionNeeds {
    let mut needs = FusionNeeds::default();
    if let Some(fuse) = &recipe.fuse {
        check_plugin(bench, "fusion", fuse, problems);
        match bench.host.fusion(&fuse.id.value).and_then(|fusion| fusion.needs()) {
            Ok(found) => needs = found,
            Err(_) => return needs, // told already
        }
    }
    check_needs(recipe.task.as_ref(), recipe.fuse.as_ref(), &needs, problems);
    for encoder in recipe.encoders.iter().filter(|e| needs.tokens && e.select == Select::Mean) {
        let message = format!(
            "the fusion reads the tokens of one item a row, and [encoders.{}] takes the mean of all",
            encoder.modality.value
        );
        let problem = Problem::new("chiasm::plan::tokens", message).at(&encoder.modality.at, "this encoder");
        problems.push(problem.help("leave out select = \"mean\": the first item stands for the row"));
    }
    needs
}

fn merged_opset<'a>(encoders: impl Iterator<Item = &'a EncoderPlan>) -> i64 {
    encoders.map(|e| e.graph.opset()).fold(OPSET, i64::max)
}

fn check_opsets<'a>(encoders: impl Iterator<Item = &'a EncoderPlan> + Clone, problems: &mut Problems) {
    let opset = merged_opset(encoders.clone());
    for encoder in encoders {
        if let Err(error) = encoder.graph.upgraded(opset) {
            let message =
                format!("{:?} cannot join a merged model of operator set {opset}: {error}", encoder.name);
            problems.push(
                Problem::new("chiasm::plan::opset", message)
                    .help("export the model again with a newer operator set"),
            );
        }
    }
}

fn read_pairs(
    recipe: &Recipe,
    opened: &[Option<Vec<EncoderPlan>>],
    problems: &mut Problems,
) -> Option<Pairs> {
    let by_position = || by_position(&recipe.inputs(), opened);
    let pairs = recipe.read_pairs();
    let pairs = pairs.unwrap_or_else(|| recipe.without_values().and_then(|()| by_position()));
    let pairs = match pairs {
        Ok(pairs) => pairs,
        Err(found) => {
            found.iter().for_each(|p| problems.push(p.clone()));
            return None;
        }
    };
    for (split, name, least) in [(Split::Train, "train", 2), (Split::Test, "test", 1)] {
        let rows = pairs.rows_of(split).len();
        if rows < least {
            let message = format!("the {name} split has {rows} rows, at least {least} are needed");
            problems.push(Problem::new("chiasm::data::split", message));
        }
    }
    Some(pairs)
}

/// No pairs file: row i of one file of vectors belongs to row i of the other.
fn by_position(columns: &[&str], opened: &[Option<Vec<EncoderPlan>>]) -> Result<Pairs, Problems> {
    let counts: Vec<(&str, u64)> =
        opened.iter().flatten().flatten().filter_map(|e| Some((e.name.as_str(), e.rows?))).collect();
    match counts.as_slice() {
        [(_, a), (_, b)] if a == b => Ok(Pairs::by_position(*a, columns)),
        [(one, a), (two, b)] => {
            let message = format!("{one} has {a} rows and {two} has {b}: rows are paired by position");
            let problem = Problem::new("chiasm::data::rows", message);
            Err(problem.help("give files of equal length, or a `data.pairs` file that names the rows").into())
        }
        _ => Err(Problem::new("chiasm::data::pairs", "`data.pairs` is missing")
            .help("only two files of vectors can be paired without one")
            .into()),
    }
}

/// The raw items of every row, as the recipe selects them; a cell of the wrong kind is a problem.
pub(crate) fn read_items(
    encoder: &EncoderRecipe,
    takes: Takes,
    pairs: &Pairs,
    problems: &mut Problems,
) -> Vec<Vec<Raw>> {
    let column = &encoder.column;
    let mut items = Vec::with_capacity(pairs.len());
    let mut wrong = Vec::new();
    for (cell, id) in pairs.column(&column.value).iter().zip(&pairs.ids) {
        match (cell, takes) {
            (Cell::Row(row), Takes::Row) => items.push(vec![Raw::Row(*row as usize)]),
            (Cell::Items(list), Takes::Text | Takes::Path) => {
                let wanted = match encoder.select {
                    Select::First => &list[..1],
                    Select::Mean => list,
                };
                match wanted.iter().map(|s| Raw::read(s, takes, &pairs.folder)).collect() {
                    Ok(raws) => items.push(raws),
                    Err(_) => wrong.push(id.as_str()),
                }
            }
            _ => wrong.push(id.as_str()),
        }
    }
    if !wrong.is_empty() {
        let message = format!(
            "column `{}` must hold a {} for {:?}; {} rows do not, e.g. row {:?}",
            column.value,
            wording(takes),
            encoder.modality.value,
            wrong.len(),
            wrong[0]
        );
        problems.push(Problem::new("chiasm::data::column", message).at(&column.at, "this column"));
    }
    items
}

fn wording(takes: Takes) -> &'static str {
    match takes {
        Takes::Path => "file's path",
        Takes::Text => "text",
        Takes::Row => "row number",
    }
}

/// Row numbers are cheap to try: one beyond the file's end, or a row that is not finite, is found now.
fn check_rows(recipe: &EncoderRecipe, encoders: &[EncoderPlan], items: &[Vec<Raw>], problems: &mut Problems) {
    for encoder in encoders.iter().filter(|e| e.takes == Takes::Row) {
        if let Some(error) = items.iter().flatten().find_map(|item| encoder.prepare(item).err()) {
            let at = recipe.vectors.as_ref().map_or(&recipe.modality.at, |v| &v.at);
            problems.push(Problem::new("chiasm::data::vectors", error.to_string()).at(at, "these vectors"));
        }
    }
}
