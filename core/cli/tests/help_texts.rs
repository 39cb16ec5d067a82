//! What a help text tells the user to do makes the error go away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use chiasm_graph::{Builder, DType, Dim, Graph};
use common::{CommandOutput, RandomNumbers, Sandbox, npy, peers, project};
use std::process::Command;

/// An error, what its help says, and the user who follows it.
struct Advice {
    name: &'static str,
    /// Makes what the command needs, but for the mistake.
    before: fn(&Sandbox),
    command: &'static [&'static str],
    /// Words of the error.
    error: &'static str,
    /// The words of the help that are followed.
    help: &'static str,
    /// Does what the help says.
    follow: fn(&Sandbox),
    /// The command that works then; empty for the same one.
    then: &'static [&'static str],
}

const PLAN: &[&str] = &["plan", "recipe.toml"];
const ADD: &[&str] = &["model", "add", "model.onnx", "--into", "models"];

/// A model from an input of this shape to the sum over its last axes.
fn model(input: &str, dims: &[Dim]) -> Graph {
    let mut b = Builder::new("sum");
    let x = b.input(input, DType::F32, dims).unwrap();
    let axes: Vec<i64> = (2..dims.len() as i64).collect();
    let y = if axes.is_empty() { b.mul_scalar(&x, 2.0) } else { b.reduce_sum(&x, &axes, false) };
    b.output("embedding", &y, DType::F32, &dims[..2]);
    b.finish().unwrap()
}

fn picture() -> Graph {
    model("image", &[Dim::named("batch"), 3.into(), 16.into(), 16.into()])
}

/// Two files of vectors and their recipe.
fn vectors(sandbox: &Sandbox) {
    sandbox.vectors([40, 40]);
}

/// A recipe of a picture encoder called `small` and vectors.
fn with_small(sandbox: &Sandbox) {
    sandbox.world(12);
    let mut random = RandomNumbers(1);
    let values: Vec<f32> = (0..12 * 4).map(|_| random.next()).collect();
    sandbox.write("b.npy", npy(12, 4, &values));
    let lines: String =
        (0..12).map(|row| format!("{{\"image\": \"world/images/{row}.png\", \"b\": {row}}}\n")).collect();
    sandbox.write("pairs.jsonl", lines);
    sandbox.write(
        "recipe.toml",
        "[encoders.image]\nmodel = \"small\"\n[encoders.b]\nvectors = \"b.npy\"\n[data]\npairs = \
         \"pairs.jsonl\"\n[align]\nplugin = \"ridge\"\n",
    );
    picture().save(sandbox.path("model.onnx")).unwrap();
}

fn added(sandbox: &Sandbox) {
    with_small(sandbox);
    let set = "preprocessing.mean=[0.5,0.5,0.5]";
    let std = "preprocessing.std=[0.5,0.5,0.5]";
    std::fs::create_dir(sandbox.path("models")).unwrap();
    sandbox.good(&[ADD, &["--name", "small", "--set", set, "--set", std]].concat());
}

/// Runs a line of Python with NumPy and pyarrow in the folder.
fn python(sandbox: &Sandbox, line: &str) {
    let done = Command::new(peers()).current_dir(sandbox.path("")).args(["-c", line]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn replace(sandbox: &Sandbox, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(sandbox.path(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}: {text}");
    sandbox.write(file, text.replace(from, to));
}

fn append(sandbox: &Sandbox, file: &str, more: &str) {
    let text = std::fs::read_to_string(sandbox.path(file)).unwrap();
    sandbox.write(file, text + more);
}

fn digest(sandbox: &Sandbox, file: &str) -> String {
    use sha2::Digest;
    let bytes = std::fs::read(sandbox.path(file)).unwrap();
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

const ADVICE: &[Advice] = &[
    Advice {
        name: "no card",
        before: with_small,
        command: PLAN,
        error: "no model card called \"small\"",
        help: "`chiasm model add FILE.onnx --name small` creates a card",
        follow: |sandbox| {
            std::fs::create_dir(sandbox.path("models")).unwrap();
            sandbox.good(&[ADD, &["--name", "small"]].concat());
        },
        then: &[],
    },
    Advice {
        name: "the model is gone",
        before: |sandbox| {
            added(sandbox);
            replace(sandbox, "models/small/card.toml", &sandbox.path("").display().to_string(), "");
        },
        command: PLAN,
        error: "the file model.onnx of model \"small\" was not found",
        help: "put it beside",
        follow: |sandbox| {
            std::fs::rename(sandbox.path("model.onnx"), sandbox.path("models/small/model.onnx")).unwrap();
        },
        then: &[],
    },
    Advice {
        name: "another file",
        before: |sandbox| {
            added(sandbox);
            let other = model("image", &[Dim::named("n"), 3.into(), 16.into(), 16.into()]);
            other.save(sandbox.path("model.onnx")).unwrap();
        },
        command: PLAN,
        error: "is not the file that its card describes",
        help: "update sha256 in",
        follow: |sandbox| {
            let card = std::fs::read_to_string(sandbox.path("models/small/card.toml")).unwrap();
            let old = card.lines().find(|line| line.starts_with("sha256")).unwrap();
            let new = format!("sha256 = \"{}\"", digest(sandbox, "model.onnx"));
            sandbox.write("models/small/card.toml", card.replace(old, &new));
        },
        then: &[],
    },
    Advice {
        name: "not recognised",
        before: |sandbox| {
            with_small(sandbox);
            let strange = model("thing", &[Dim::named("a"), 3.into(), Dim::named("b"), Dim::named("c")]);
            strange.save(sandbox.path("model.onnx")).unwrap();
            std::fs::create_dir(sandbox.path("models")).unwrap();
        },
        command: &["model", "add", "model.onnx", "--into", "models", "--name", "small", "--adapter", "text"],
        error: "no adapter recognises",
        help: "write models/NAME/card.toml by hand (`chiasm explain card` lists its keys)",
        follow: |sandbox| {
            let digest = digest(sandbox, "model.onnx");
            let card = format!(
                "name = \"small\"\nadapter = \"image\"\nmodel = \"../../model.onnx\"\nsha256 = \
                 \"{digest}\"\n[ports]\npooled = \"embedding\"\n[preprocessing]\nsize = [16, 16]\n"
            );
            sandbox.write("models/small/card.toml", card);
        },
        then: PLAN,
    },
    Advice {
        name: "the card exists",
        before: added,
        command: &["model", "add", "model.onnx", "--into", "models", "--name", "small"],
        error: "already exists",
        help: "or remove that card with `chiasm model remove small`",
        follow: |sandbox| {
            sandbox.good(&["model", "remove", "small", "--yes"]);
        },
        then: &[],
    },
    Advice {
        name: "a name that is none",
        before: with_small,
        command: &["model", "add", "model.onnx", "--into", "models", "--name", "a/b"],
        error: "the card",
        help: "give another name with --name",
        follow: |_| (),
        then: &["model", "add", "model.onnx", "--into", "models", "--name", "ab"],
    },
    Advice {
        name: "several models in a folder",
        before: |sandbox| {
            with_small(sandbox);
            std::fs::create_dir(sandbox.path("both")).unwrap();
            ["both/a.onnx", "both/b.onnx"].iter().for_each(|name| drop(picture().save(sandbox.path(name))));
        },
        command: &["model", "add", "both", "--into", "models"],
        error: "holds several models",
        help: "give the path of one of them",
        follow: |_| (),
        then: &["model", "add", "both/a.onnx", "--into", "models"],
    },
    Advice {
        name: "several arrays",
        before: |sandbox| {
            vectors(sandbox);
            python(sandbox, "import numpy as n; n.savez('a.npz', x=n.load('a.npy'), y=n.load('b.npy'))");
            replace(sandbox, "recipe.toml", "\"a.npy\"", "\"a.npz\"");
        },
        command: PLAN,
        error: "holds several arrays (x, y)",
        help: "say which: member = \"x\"",
        follow: |sandbox| replace(sandbox, "recipe.toml", "\"a.npz\"", "\"a.npz\"\nmember = \"x\""),
        then: &[],
    },
    Advice {
        name: "several columns",
        before: |sandbox| {
            vectors(sandbox);
            python(
                sandbox,
                "import numpy as n, pyarrow as p, pyarrow.parquet as q; a = \
                 p.array(n.load('a.npy').tolist()); q.write_table(p.table({'x': a, 'y': a}), 'a.parquet')",
            );
            replace(sandbox, "recipe.toml", "\"a.npy\"", "\"a.parquet\"");
        },
        command: PLAN,
        error: "several columns hold vectors (x, y)",
        help: "say which: member = \"x\"",
        follow: |sandbox| replace(sandbox, "recipe.toml", "\"a.parquet\"", "\"a.parquet\"\nmember = \"x\""),
        then: &[],
    },
    Advice {
        name: "member without vectors",
        before: |sandbox| {
            added(sandbox);
            replace(sandbox, "recipe.toml", "\"small\"", "\"small\"\nmember = \"x\"");
        },
        command: PLAN,
        error: "`member` of [encoders.image] names a part of `vectors`",
        help: "remove it, or add `vectors`",
        follow: |sandbox| replace(sandbox, "recipe.toml", "\nmember = \"x\"", ""),
        then: &[],
    },
    Advice {
        name: "no aligner",
        before: |sandbox| {
            vectors(sandbox);
            replace(sandbox, "recipe.toml", "[align]\nplugin = \"ridge\"\n", "");
        },
        command: PLAN,
        error: "the recipe has no `[align]` table",
        help: "add [align] with plugin = \"cca\"",
        follow: |sandbox| append(sandbox, "recipe.toml", "[align]\nplugin = \"cca\"\n"),
        then: &[],
    },
    Advice {
        name: "no data",
        before: |sandbox| {
            added(sandbox);
            replace(sandbox, "recipe.toml", "[data]\npairs = \"pairs.jsonl\"\n", "");
        },
        command: PLAN,
        error: "the recipe has no `[data]` table",
        help: "add [data] with pairs = \"pairs.jsonl\"",
        follow: |sandbox| append(sandbox, "recipe.toml", "[data]\npairs = \"pairs.jsonl\"\n"),
        then: &[],
    },
    Advice {
        name: "an encoder of nothing",
        before: |sandbox| {
            vectors(sandbox);
            replace(sandbox, "recipe.toml", "vectors = \"a.npy\"", "items = \"each\"");
        },
        command: PLAN,
        error: "needs either `model` or `vectors`",
        help: "vectors = \"a.npy\" uses precomputed embeddings",
        follow: |sandbox| replace(sandbox, "recipe.toml", "items = \"each\"", "vectors = \"a.npy\""),
        then: &[],
    },
    Advice {
        name: "a new recipe without data",
        before: added,
        command: &["recipe", "new", "small", "b.npy", "-o", "new.toml"],
        error: "no data file is given",
        help: "add --pairs pairs.jsonl, a table with the columns image, b",
        follow: |_| (),
        then: &["recipe", "new", "small", "b.npy", "-o", "new.toml", "--pairs", "pairs.jsonl"],
    },
    Advice {
        name: "points of a check",
        before: |sandbox| {
            vectors(sandbox);
            model("x", &[Dim::named("n"), 6.into()]).save(sandbox.path("map.onnx")).unwrap();
        },
        command: &["check", "map.onnx"],
        error: "--at is missing",
        help: "give the points to check it at: --at points.npy",
        follow: |_| (),
        then: &["check", "map.onnx", "--at", "a.npy"],
    },
    Advice {
        name: "penalties",
        before: vectors,
        command: &["transport", "a.npy", "a.npy", "--solver", "unbalanced"],
        error: "needs --rho",
        help: "e.g. --rho 1.0",
        follow: |_| (),
        then: &["transport", "a.npy", "a.npy", "--solver", "unbalanced", "--rho", "1.0"],
    },
    Advice {
        name: "infinite penalties",
        before: vectors,
        command: &["transport", "a.npy", "a.npy", "--solver", "unbalanced", "--rho", "inf"],
        error: "infinite penalties on both sides",
        help: "or one finite penalty, e.g. --rho 1.0,inf",
        follow: |_| (),
        then: &["transport", "a.npy", "a.npy", "--solver", "unbalanced", "--rho", "1.0,inf"],
    },
    Advice {
        name: "mass",
        before: vectors,
        command: &["transport", "a.npy", "a.npy", "--solver", "partial"],
        error: "needs --mass",
        help: "e.g. --mass 0.8",
        follow: |_| (),
        then: &["transport", "a.npy", "a.npy", "--solver", "partial", "--mass", "0.8"],
    },
    Advice {
        name: "a batch that the nodes fix",
        before: |sandbox| {
            with_small(sandbox);
            let mut b = Builder::new("one");
            let dims: [Dim; 4] = [Dim::named("batch"), 3.into(), 16.into(), 16.into()];
            let x = b.input("image", DType::F32, &dims).unwrap();
            let y = b.reshape(&x, &[1, 768]);
            b.output("embedding", &y, DType::F32, &[Dim::named("batch"), 768.into()]);
            b.finish().unwrap().save(sandbox.path("model.onnx")).unwrap();
            std::fs::create_dir(sandbox.path("models")).unwrap();
            sandbox.good(&[ADD, &["--name", "small"]].concat());
        },
        command: PLAN,
        error: "runs with one item, but not with two",
        help: "set batch = 1 in [ports] of its card",
        follow: |sandbox| drop(sandbox.good(&["model", "set", "small", "ports.batch=1"])),
        then: &[],
    },
    Advice {
        name: "no run folder",
        before: |sandbox| {
            vectors(sandbox);
            sandbox.good(&["fit", "recipe.toml", "-o", "first-run"]);
        },
        command: &["eval", "frist-run"],
        error: "there is no run folder frist-run",
        help: "did you mean `first-run`?",
        follow: |_| (),
        then: &["eval", "first-run"],
    },
];

fn one_line(output: &CommandOutput) -> String {
    output.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ")
}

#[test]
fn following_a_help_text_mends_the_error() {
    let mut wrong = Vec::new();
    for advice in ADVICE {
        let sandbox = Sandbox::new();
        (advice.before)(&sandbox);
        let failed = sandbox.call(advice.command);
        let message = one_line(&failed);
        if failed.code != Some(2) || ![advice.error, advice.help].iter().all(|part| message.contains(part)) {
            wrong.push(format!("{}: the error is another one ({:?}): {message}", advice.name, failed.code));
            continue;
        }
        (advice.follow)(&sandbox);
        let then = if advice.then.is_empty() { advice.command } else { advice.then };
        let done = sandbox.call(then);
        // A check may find the map bad; the help was about being able to check it.
        if !matches!(done.code, Some(0 | 1)) {
            wrong.push(format!("{}: the help does not help: {}", advice.name, one_line(&done)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The help of `model add` of a text encoder without its tokenizer, and of one with too long texts.
#[test]
fn the_help_for_tokenizers_helps() {
    let sandbox = Sandbox::new();
    let source = project().join("models/demo-text");
    sandbox.write("text/model.onnx", std::fs::read(source.join("model.onnx")).unwrap());
    let add = ["model", "add", "text", "--into", "models", "--name", "words"];
    let added = sandbox.good(&add);
    assert!(added.contains("put its own tokenizer.json there"), "{added}");
    sandbox.write("text/tokenizer.json", std::fs::read(source.join("tokenizer.json")).unwrap());
    let unset = sandbox.call(&["model", "inspect", "words"]);
    let message = one_line(&unset);
    assert!(unset.code == Some(0) || message.contains("set it to the model's longest text"), "{message}");
    sandbox.good(&["model", "set", "words", "preprocessing.max_length=32"]);
    sandbox.good(&["model", "inspect", "words"]);
}
