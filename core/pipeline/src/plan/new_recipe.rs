//! A commented recipe for given models and files of vectors.

use crate::{
    base::{environment::Environment, error::Error, paths::relative_path, wrapped::wrapped},
    catalog::card::ModelStore,
    recipe::{Recipe, encoders::RESERVED_NAMES, keys::RECIPE_KEYS},
};
use std::path::{Path, PathBuf};

/// What a new recipe is made from.
#[derive(Debug, Clone, Default)]
pub struct NewRecipeOptions {
    /// Names of model cards, or files of vectors (.npy, .npz, .parquet); each may follow `MODALITY=`.
    pub sources: Vec<String>,
    /// The data file.
    pub pairs: Option<PathBuf>,
    /// The id of the aligner.
    pub aligner: String,
    /// The recipe's own path, from whose folder paths are written.
    pub output: PathBuf,
}

/// The extensions of files of vectors.
const VECTORS: [&str; 3] = ["npy", "npz", "parquet"];

/// Returns the text of a recipe. Each key stands with what it does; those that are not needed are comments.
///
/// # Errors
/// If a model has no card, a modality is named twice or has a reserved name, there are fewer than two
/// modalities, models are given without a data file, or the working folder cannot be found.
pub fn new_recipe(options: &NewRecipeOptions, env: &Environment) -> Result<String, Error> {
    let whole = |path: &Path| std::path::absolute(path).map_err(|e| Error::io("find", path, e));
    let output = whole(&options.output)?;
    let folder = output.parent().unwrap_or(Path::new("/")).to_path_buf();
    let written =
        |path: &Path| Ok::<_, Error>(quoted(&relative_path(&folder, &whole(path)?).to_string_lossy()));
    let store = ModelStore::new(Path::new("."), &env.models);
    let mut text = String::from(
        "# Written by `chiasm recipe new`. `chiasm explain recipe` lists every key, `chiasm plan` checks the \
         recipe.\n\nseed = 0\n",
    );
    let (mut encoders, mut names, mut models) = (String::new(), Vec::<String>::new(), false);
    for source in &options.sources {
        let (named, source) = match source.split_once('=') {
            Some((name, source)) => (Some(name.to_owned()), source),
            None => (None, source.as_str()),
        };
        let path = Path::new(source);
        let extension = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        let (default, line) = if VECTORS.contains(&extension) {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (stem, format!("vectors = {}", written(path)?))
        } else {
            models = true;
            let card = store.find(source)?.card;
            (card.adapter, format!("model = {}", quoted(source)))
        };
        let name = named.unwrap_or_else(|| unused(&default, &names));
        encoders.push_str(&format!("\n[encoders.{name}]\n{line}\n"));
        comment(&mut encoders, "encoders.MODALITY.column", &format!("column = {}", quoted(&name)));
        comment(&mut encoders, "encoders.MODALITY.items", "items = \"each\"");
        names.push(name);
    }
    match &options.pairs {
        Some(pairs) => {
            text.push_str("\n[data]\n");
            explain(&mut text, "data.pairs");
            text.push_str(&format!("pairs = {}\n", written(pairs)?));
            comment(&mut text, "data.split", "split = \"split\"");
        }
        None if models => {
            let columns = names.join(", ");
            let message = "models read raw items, and no data file is given";
            let help = format!("add --pairs pairs.jsonl, a table with the columns {columns}");
            return Err(Error::input("chiasm::recipe::new", message, help));
        }
        None => {}
    }
    text.push_str(&encoders);
    text.push_str("\n[align]\n");
    explain(&mut text, "align.plugin");
    text.push_str(&format!("plugin = {}\n", quoted(&options.aligner)));
    let anchor = names.last().cloned().unwrap_or_default();
    comment(&mut text, "align.anchor", &format!("anchor = {}", quoted(&anchor)));
    text.push_str("\n# [score]\n");
    comment(&mut text, "score.bank", "bank = true");
    Recipe::parse("the new recipe", text.clone(), folder, &[])?;
    Ok(text)
}

/// Adds what a key does, as a comment.
fn explain(text: &mut String, name: &str) {
    let about = RECIPE_KEYS.iter().find(|key| key.name() == name).map_or("", |key| key.about);
    wrapped(about, 97).iter().for_each(|line| text.push_str(&format!("# {line}\n")));
}

/// Adds what a key does and the key itself, both as comments.
fn comment(text: &mut String, name: &str, line: &str) {
    explain(text, name);
    text.push_str(&format!("# {line}\n"));
}

/// Returns a name for a modality that no other has.
fn unused(default: &str, names: &[String]) -> String {
    let clean: String =
        default.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let taken = |name: &str| names.iter().any(|own| own == name) || RESERVED_NAMES.contains(&name);
    let numbered = |number: usize| if number == 1 { clean.clone() } else { format!("{clean}_{number}") };
    (1..).map(numbered).find(|name| !taken(name)).unwrap_or(clean.clone())
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
