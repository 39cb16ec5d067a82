//! The modules of a sentence-transformers model behind its transformer: pooling, dense layers and
//! normalisation.

use chiasm_kit::draft::{CardDraft, ConfigFile, ModelFolder};
use chiasm_plugin::{Json, Result, json};

/// The key of each pooling in the older form of a pooling's file, in the order of concatenation, and its name
/// in the newer one, which is also that of a card.
const POOLINGS: [(&str, &str); 6] = [
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
    ("pooling_mode_weightedmean_tokens", "weightedmean"),
    ("pooling_mode_lasttoken", "lasttoken"),
];

/// What the modules do with the tokens.
#[derive(Debug, Default)]
pub(super) struct SentenceModules {
    /// The poolings and their origin.
    poolings: Option<(Vec<String>, String)>,
    /// Entries of `dense` in `[ports]`, and the files that they are from.
    dense: Vec<Json>,
    dense_origins: Vec<String>,
    /// The names of the modules, for messages.
    names: Vec<String>,
    /// Whether the vector is scaled to length one after the last layer.
    normalised: bool,
    /// Keys of the card that the files leave to the user, with the reasons.
    undecided: Vec<(&'static str, String)>,
}

/// Reads `modules.json` and the files of its modules; without it, the file of a pooling. `None` if there is
/// neither.
pub(super) fn sentence_modules(folder: &ModelFolder<'_>) -> Result<Option<SentenceModules>> {
    let mut found = SentenceModules::default();
    let Some(list) = folder.json("modules.json")? else {
        let Some(config) = folder.json("1_Pooling/config.json")? else { return Ok(None) };
        found.names.push("1_Pooling".to_owned());
        found.pooling(&config);
        return Ok(Some(found));
    };
    // The paths of modules start at the folder of modules.json.
    let root = list.name.strip_suffix("modules.json").unwrap_or_default();
    for module in list.content.as_array().into_iter().flatten() {
        let kind = module["type"].as_str().unwrap_or_default().rsplit('.').next().unwrap_or_default();
        let path = format!("{root}{}", module["path"].as_str().unwrap_or_default());
        let config = || folder.json(&format!("{path}/config.json"));
        found.names.push(format!("{kind} ({path})"));
        match kind {
            "Transformer" | "Dropout" => {
                found.names.pop();
            }
            "Pooling" => match config()? {
                Some(config) => found.pooling(&config),
                None => found.missing("ports.pooled", &format!("{path}/config.json")),
            },
            "Dense" => match config()? {
                Some(config) => found.dense(&config, &path, folder),
                None => found.missing("ports.dense", &format!("{path}/config.json")),
            },
            "Normalize" => found.normalised = true,
            other => found.undecided.push((
                "ports.pooled",
                format!(
                    "{} has the module {other} ({path}), which a card cannot express: export the model with \
                     its `sentence_embedding` as an output, or set the pooling to use without it",
                    list.name
                ),
            )),
        }
    }
    Ok(Some(found))
}

impl SentenceModules {
    fn missing(&mut self, key: &'static str, file: &str) {
        self.undecided.push((key, format!("modules.json names a module whose {file} is missing: add it")));
    }

    /// Reads the file of a pooling, in both of its forms.
    fn pooling(&mut self, config: &ConfigFile) {
        let newer = |value: &Json| match value {
            Json::String(name) => Some(vec![name.clone()]),
            Json::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let (poolings, origin) = match config.get("pooling_mode") {
            Some(value) => (newer(value).unwrap_or_default(), config.origin("pooling_mode")),
            None => {
                let on = || POOLINGS.iter().filter(|(key, _)| config.content[key] == true);
                let names: Vec<String> = on().map(|(_, name)| (*name).to_owned()).collect();
                let keys: Vec<String> = on().map(|(key, _)| format!("`{key}`")).collect();
                match names.is_empty() {
                    true => (
                        vec!["mean".to_owned()],
                        format!("the default of sentence-transformers, as {} names no pooling", config.name),
                    ),
                    false => (names, format!("{} of {}", keys.join(", "), config.name)),
                }
            }
        };
        let known = |name: &String| POOLINGS.iter().any(|(_, own)| own == name);
        if poolings.is_empty() || !poolings.iter().all(known) {
            let names: Vec<&str> = POOLINGS.iter().map(|(_, name)| *name).collect();
            let got = config.get("pooling_mode").map(Json::to_string).unwrap_or_default();
            self.undecided.push((
                "ports.pooled",
                format!("{origin} is {got}, which is not one of {}; set the pooling", names.join(", ")),
            ));
        } else {
            self.poolings = Some((poolings, origin));
        }
        if config.content["include_prompt"] == false {
            let reason = format!(
                "{} is false: the tokens of the prompt are left out of the pooling, which a card cannot \
                 express. Set \"\" for texts without a prompt, or the prompt to pool its tokens too",
                config.origin("include_prompt")
            );
            self.undecided.push(("preprocessing.prefix", reason));
        }
    }

    /// Reads a dense layer.
    fn dense(&mut self, config: &ConfigFile, path: &str, folder: &ModelFolder<'_>) {
        let leave_out = "to leave the layer out: --set 'ports.dense=[]'";
        let function = config.content["activation_function"].as_str().unwrap_or("Tanh");
        let activation = match function.rsplit('.').next().unwrap_or_default() {
            "Identity" => "identity",
            "Tanh" => "tanh",
            "ReLU" => "relu",
            "Sigmoid" => "sigmoid",
            "GELU" => "gelu",
            _ => {
                let known = "expected Identity, Tanh, ReLU, Sigmoid or GELU";
                let origin = config.origin("activation_function");
                let reason =
                    format!("{origin} is {function}, {known}: export the model with it, or {leave_out}");
                return self.undecided.push(("ports.dense", reason));
            }
        };
        for key in ["module_input_name", "module_output_name"] {
            if let Some(name) = config.get(key).and_then(Json::as_str).filter(|n| *n != "sentence_embedding")
            {
                let origin = config.origin(key);
                let reason = format!("{origin} is {name}, expected sentence_embedding; {leave_out}");
                return self.undecided.push(("ports.dense", reason));
            }
        }
        let weights = format!("{path}/model.safetensors");
        if !folder.path(&weights).is_file() {
            let old = folder.path(&format!("{path}/pytorch_model.bin")).is_file();
            let reason = match old {
                true => format!(
                    "the weights of {path} are in pytorch_model.bin, which is not read, since such a file \
                     can run code: save the module as {weights}, or {leave_out}"
                ),
                false => format!("the weights of {path} are missing: add {weights}, or {leave_out}"),
            };
            return self.undecided.push(("ports.dense", reason));
        }
        let mut layer = json!({ "weights": weights, "activation": activation });
        if std::mem::take(&mut self.normalised) {
            layer["normalise"] = json!(true);
        }
        self.dense.push(layer);
        self.dense_origins.push(config.name.clone());
    }

    /// Returns what the files say, for messages.
    pub(super) fn told(&self) -> String {
        match &self.poolings {
            Some((poolings, origin)) => format!("{origin} says {}", poolings.join(", ")),
            None => format!("the modules are {}", self.names.join(", ")),
        }
    }

    /// Returns the line for a model that computes its embedding itself.
    pub(super) fn beside(&self, output: &str) -> String {
        let pooling = match self.poolings.as_ref().map(|(poolings, _)| poolings.as_slice()) {
            Some([one]) => format!("--set ports.pooled={one}"),
            Some(many) => format!("--set 'ports.pooled={}'", json!(many)),
            None => "--set ports.pooled=...".to_owned(),
        };
        format!(
            "modules {}: taken to be computed by the model in `{output}`, as exports of \
             sentence-transformers do. {}: to pool the tokens that way instead, {pooling}",
            self.names.join(", "),
            self.told()
        )
    }

    /// Sets `pooled` and `dense`.
    pub(super) fn draft(self, card: &mut CardDraft) {
        let (prefix, prompts) = (card.value("prefix").is_string(), card.value("prefix").is_object());
        for (key, reason) in self.undecided {
            // Without a prompt, it does not matter whether its tokens are pooled.
            if key != "preprocessing.prefix" || prefix {
                card.undecided(key, reason);
            } else if prompts {
                card.note(
                    "a prompt that is chosen pools its tokens too, which `include_prompt` says it must not",
                );
            }
        }
        match self.poolings {
            Some((poolings, origin)) if poolings.len() == 1 => {
                card.port("pooled", poolings[0].as_str(), origin)
            }
            Some((poolings, origin)) => card.port("pooled", poolings, origin),
            None => card.port("pooled", "mean", "a guess, no file names a pooling; CHECK"),
        }
        if !self.dense.is_empty() {
            card.port("dense", self.dense, self.dense_origins.join(", "));
        }
        if self.normalised {
            card.note("Normalize: needs no key, since every map scales its input to length one");
        }
    }
}
