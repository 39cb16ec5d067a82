//! A temporary folder for tests: a small world, recipes, files of vectors, and the binary with its own cache.
#![allow(clippy::allow_attributes, reason = "an expectation may go unmet in one of the test files")]
#![allow(dead_code, unused_imports, reason = "not every test file uses every function")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod chromium;
pub mod server;
pub mod views;

pub use chiasm_testing::peers;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;
use world::World;

/// A temporary folder with its own cache.
pub struct Sandbox(TempDir);

/// SplitMix64, scaled to [-1, 1).
pub struct RandomNumbers(pub u64);

impl RandomNumbers {
    pub fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }
}

/// The exit code and output of a command.
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Returns the command `chiasm` in this folder, with its cache, the project's models, and no other plugin
    /// paths.
    pub fn chiasm(&self) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.0.path()).env("CHIASM_CACHE", self.path("cache")).env("NO_COLOR", "1");
        command.env("CHIASM_MODELS", project().join("models")).env_remove("CHIASM_PLUGIN_PATH");
        command
    }

    pub fn call(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(self.chiasm().args(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and returns its stdout.
    pub fn good(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert_eq!(output.code, Some(0), "{arguments:?}: {}{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Fits `recipe.toml` into the folder `run`, which must be written; its checks may fail.
    #[track_caller]
    pub fn fit(&self) {
        let fitted = self.call(&["fit", "recipe.toml", "-o", "run"]);
        assert!(self.path("run/manifest.json").is_file(), "{}", fitted.stderr);
    }

    /// Runs a command that must fail with exit code 2, print all of `words`, and write no run folder.
    pub fn refused(&self, arguments: &[&str], words: &[&str]) {
        let output = self.call(arguments);
        output.refused(arguments, words);
        self.assert_no_run(arguments);
    }

    /// Asserts that there is no run folder.
    pub fn assert_no_run(&self, context: impl std::fmt::Debug) {
        assert!(!self.path("run").exists(), "{context:?} left a run folder");
    }

    /// Reads the model card in `folder` with Python, and runs its program on some items. `output` is what
    /// `chiasm run --format json` printed for them. See `peer/model_card.py`.
    pub fn card_in_python(&self, folder: &str, output: &str, items: &[&str]) -> serde_json::Value {
        self.write("output.json", output);
        let script = project().join("core/cli/tests/peer/model_card.py");
        let mut command = Command::new(peers());
        command.current_dir(self.path("")).arg(script).args([folder, "output.json"]).args(items);
        let peer = command.output().unwrap();
        assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
        serde_json::from_slice(&peer.stdout).unwrap()
    }

    /// Opens the files beside the cards in `folder` with transformers. The arguments are those of
    /// [`Sandbox::card_in_python`]. See `peer/transformers_beside_cards.py`.
    pub fn beside_cards(&self, folder: &str, output: &str, items: &[&str]) -> serde_json::Value {
        self.write("output.json", output);
        let script = project().join("core/cli/tests/peer/transformers_beside_cards.py");
        let mut command = Command::new(peers());
        command.current_dir(self.path("")).env("HF_HUB_OFFLINE", "1").env("HF_HOME", self.path("hub"));
        let peer = command.arg(script).args([folder, "output.json"]).args(items).output().unwrap();
        assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
        serde_json::from_slice(&peer.stdout).unwrap()
    }

    /// Writes `count` scenes of a world: pictures and pairs.jsonl in `world/`.
    pub fn world(&self, count: usize) -> PathBuf {
        let world = World::new(7);
        let mut lines = String::new();
        for index in 0..count {
            let scene = world.scene(index as u64);
            let name = format!("images/{index}.png");
            let path = self.write(&format!("world/{name}"), "");
            scene.render().save(&path).unwrap();
            let split = if index % 5 == 0 { "test" } else { "train" };
            let (id, captions) = (format!("s{index}"), scene.captions(5));
            let row = serde_json::json!({ "id": id, "split": split, "image": name, "captions": captions });
            lines.push_str(&format!("{row}\n"));
        }
        self.write("world/pairs.jsonl", lines)
    }

    /// Writes the recipe of the demo.
    pub fn recipe(&self) -> PathBuf {
        self.write(
            "recipe.toml",
            r#"[encoders.image]
model = "demo-image"

[encoders.text]
model = "demo-text"
column = "captions"
items = "first"

[data]
pairs = "world/pairs.jsonl"

[align]
plugin = "ridge"

[fuse]
plugin = "concat"
"#,
        )
    }

    /// Writes two files of linearly dependent vectors, with these numbers of rows, and their recipe.
    pub fn vectors(&self, rows: [usize; 2]) -> PathBuf {
        let value = |row: usize, column: usize| ((row * 37 + column * 101) % 89) as f32 / 89.0 - 0.5;
        let first: Vec<f32> = (0..rows[0] * 6).map(|i| value(i / 6, i % 6)).collect();
        let second: Vec<f32> =
            (0..rows[1] * 4).map(|i| value(i / 4, i % 4) + 0.5 * value(i / 4, i % 4 + 2)).collect();
        self.write("a.npy", npy(rows[0], 6, &first));
        self.write("b.npy", npy(rows[1], 4, &second));
        self.write(
            "recipe.toml",
            "[encoders.a]\nvectors = \"a.npy\"\n[encoders.b]\nvectors = \"b.npy\"\n\
             [align]\nplugin = \"ridge\"\n",
        )
    }
}

impl CommandOutput {
    pub fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    pub fn refused(&self, context: impl std::fmt::Debug, words: &[&str]) {
        let message = self.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        assert_eq!(self.code, Some(2), "{context:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{context:?} does not print {word:?}: {message}");
        }
        assert!(!message.contains("panicked"), "{context:?} panicked: {message}");
    }
}

/// Returns the root folder of the project.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Returns the binary. Its plugins must have been built in the same folder.
pub fn binary() -> PathBuf {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_chiasm"));
    let plugin = binary.with_file_name("libchiasm_ridge.so");
    assert!(plugin.is_file(), "no plugins beside {}: run `cargo build --workspace` first", binary.display());
    binary
}

/// Parses what a command printed with `--format json`, or a JSON file.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// Returns the bytes of an .npy file of f32 in C order.
pub fn npy(rows: usize, columns: usize, values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

/// Returns the bytes of every file below a folder, by name, except `timings.json`.
pub fn contents(folder: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let mut all = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("timings.json") {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                all.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    all
}
