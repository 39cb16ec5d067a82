//! The programs that the model cards show: each opens the export with its library and embeds one item of each
//! modality.

use crate::run::{
    hugging_face::{Prepared, RESIZED},
    model_card::quoted,
};
use serde_json::json;
use std::{collections::BTreeSet, fmt::Write as _};

/// A library.
#[derive(Clone, Copy)]
pub enum Program {
    /// transformers, with ONNX Runtime.
    Python,
    /// transformers.js.
    JavaScript,
}

impl Program {
    /// Returns what an export for the library is.
    pub fn what(self) -> &'static str {
        match self {
            Self::Python => {
                "This is an export of a Chiasm run: one folder for each modality, with its model in \
                 `onnx/model.onnx` and the files that `AutoTokenizer`, `AutoImageProcessor` and \
                 `AutoFeatureExtractor` of transformers open. There is no fusion in it."
            }
            Self::JavaScript => {
                "This is an export of a Chiasm run: one folder for each modality, with the files that \
                 transformers.js opens. There is no fusion in it."
            }
        }
    }

    /// Returns what is prepared, or why this library cannot do it.
    pub fn can_say(self, prepared: Prepared) -> Result<Prepared, String> {
        if matches!(self, Self::JavaScript) && prepared.javascript.is_empty() {
            return Err("transformers.js prepares such items in another way".to_owned());
        }
        Ok(prepared)
    }

    /// Returns the section of the card on how the models are run.
    pub fn text(self, all: &[(String, Prepared)]) -> String {
        let mut text = String::from("\n## How to run it\n");
        let (language, packages, code) = match self {
            Self::Python => {
                ("python", "Python with transformers, onnxruntime, numpy and pillow", python(all))
            }
            Self::JavaScript => ("js", "Node.js with @huggingface/transformers", javascript(all)),
        };
        let _ = writeln!(
            text,
            "\nThis program needs {packages}. Start it in the folder of this file.\n\n\
             ```{language}\n{code}```"
        );
        if all.iter().any(|(_, prepared)| prepared.class == "AutoImageProcessor") {
            text.push_str(&match self {
                Self::Python => {
                    format!(
                        "\n{RESIZED} Pictures of the model's own size give the vectors of `chiasm run` \
                         within 1e-4.\n"
                    )
                }
                Self::JavaScript => {
                    "\ntransformers.js resizes pictures in another way than Chiasm, which changes their \
                     vectors by some hundredths of their length. Pictures of the model's own size give the \
                     vectors of `chiasm run` within 1e-4. It warns that it does not know the class `chiasm`, \
                     and opens the model as it is.\n"
                        .to_owned()
                }
            });
        }
        if all.iter().any(|(_, prepared)| prepared.ports.iter().any(|form| form.rearranged)) {
            text.push_str(
                "\n`pixel_values` have the axes batch, channel, row and column and the channels red, green \
                 and blue. The model changes them to what the encoder takes.\n",
            );
        }
        text
    }
}

fn python(all: &[(String, Prepared)]) -> String {
    let classes: BTreeSet<&str> = all.iter().map(|(_, prepared)| prepared.class).collect();
    let lines = || all.iter().flat_map(|(_, prepared)| &prepared.python);
    let uses = |word: &str| lines().any(|line| line.contains(word));
    let mut code = String::from("import sys\n");
    code.push_str(if uses("wave.") { "import wave\n" } else { "" });
    code.push_str("\nimport numpy as np\nimport onnxruntime\n");
    code.push_str(match (uses("Image.open"), uses("ImageOps")) {
        (_, true) => "from PIL import Image, ImageOps\n",
        (true, false) => "from PIL import Image\n",
        _ => "",
    });
    let _ = writeln!(code, "from transformers import {}", classes.into_iter().collect::<Vec<_>>().join(", "));
    code.push_str(
        "\n# One item of each modality: change them here, or give them as arguments in this order.\n",
    );
    code.push_str("items = {\n");
    for (name, prepared) in all {
        let _ = writeln!(code, "    {}: {},", quoted(name), quoted(prepared.example));
    }
    code.push_str(
        "}\nitems.update(zip(items, sys.argv[1:]))\noutputs = {}\n\n\ndef run(folder, features):\n    file = \
         f\"{folder}/onnx/model.onnx\"\n    session = onnxruntime.InferenceSession(file, \
         providers=[\"CPUExecutionProvider\"])\n    own = {port.name: np.stack(features[port.name]) for port \
         in session.get_inputs()}\n    names = [port.name for port in session.get_outputs()]\n    \
         outputs.update(zip(names, session.run(names, own)))\n\n\n",
    );
    for (name, prepared) in all {
        let folder = quoted(&format!("./{name}"));
        let _ = writeln!(
            code,
            "item, prepare = items[{}], {}.from_pretrained({folder})",
            quoted(name),
            prepared.class
        );
        prepared.python.iter().for_each(|line| code.push_str(&format!("{line}\n")));
        let _ = writeln!(code, "run({folder}, features)\n");
    }
    code.push_str("for name, value in outputs.items():\n    print(name, value.shape, value.ravel()[:4])\n");
    code
}

fn javascript(all: &[(String, Prepared)]) -> String {
    let mut names = vec!["env", "AutoModel"];
    for (_, prepared) in all {
        let own: &[&str] = match prepared.class {
            "AutoTokenizer" => &["AutoTokenizer"],
            "AutoImageProcessor" => &["AutoProcessor", "RawImage"],
            _ => &["AutoProcessor"],
        };
        let new: Vec<&str> = own.iter().filter(|own| !names.contains(own)).copied().collect();
        names.extend(new);
    }
    let mut code = format!("import {{ {} }} from \"@huggingface/transformers\";\n", names.join(", "));
    code.push_str("\nenv.allowRemoteModels = false;\nenv.localModelPath = \"./\";\n");
    code.push_str(
        "\n// One item of each modality: change them here, or give them as arguments in this order.\n",
    );
    code.push_str("const items = {\n");
    for (name, prepared) in all {
        let _ = writeln!(code, "  {}: {},", json!(name), json!(prepared.example));
    }
    code.push_str(
        "};\nObject.keys(items).forEach((name, at) => (items[name] = process.argv[2 + at] ?? \
         items[name]));\nconst outputs = {};\n",
    );
    for (name, prepared) in all {
        let class = if prepared.class == "AutoTokenizer" { "AutoTokenizer" } else { "AutoProcessor" };
        let name = json!(name);
        let _ = writeln!(code, "\n{{\n  const item = items[{name}];");
        let _ = writeln!(code, "  const prepare = await {class}.from_pretrained({name});");
        let _ = writeln!(code, "  const model = await AutoModel.from_pretrained({name});");
        prepared.javascript.iter().for_each(|line| code.push_str(&format!("  {line}\n")));
        code.push_str("  Object.assign(outputs, await model(features));\n}\n");
    }
    code.push_str(
        "\nfor (const [name, value] of Object.entries(outputs)) {\n  console.log(name, value.dims, \
         value.data.slice(0, 4));\n}\n",
    );
    code
}
