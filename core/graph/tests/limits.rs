//! Models that are small as files and large when they are read or evaluated: each is an error within two
//! seconds and half a gigabyte.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{fs, os::unix::fs::symlink, path::Path};

use chiasm_graph::Graph;
use chiasm_testing::limited;

/// Memory of a test program and 512 MiB, and the time on a machine with other work.
const MEBIBYTES: u64 = 700;
const SECONDS: u64 = 10;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn field(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// NodeProto: input = 1, output = 2, op_type = 4, domain = 7.
fn node(domain: &str, operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().map(|name| field(1, name)).collect::<Vec<_>>().concat();
    [inputs, field(2, output), field(4, operator), field(7, domain)].concat()
}

/// OperatorSetIdProto: domain = 1, version = 2.
fn import(number_: u64, domain: &str, version: u64) -> Vec<u8> {
    field(number_, [field(1, domain), number(2, version)].concat())
}

/// ModelProto: graph = 7, opset_import = 8, functions = 25.
fn model(graph: &[u8], functions: &[Vec<u8>]) -> Vec<u8> {
    let functions: Vec<u8> = functions.iter().flat_map(|function| field(25, function)).collect();
    [field(7, graph), import(8, "", 17), import(8, "f", 1), functions].concat()
}

/// FunctionProto: name = 1, input = 4, output = 5, node = 7, opset_import = 9, domain = 10.
fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let nodes: Vec<u8> = nodes.iter().flat_map(|node| field(7, node)).collect();
    [field(1, name), field(4, "x"), field(5, "y"), nodes, import(9, "", 17), field(10, "f")].concat()
}

/// TensorProto: dims = 1, data_type = 2, int64_data = 7, name = 8, external_data = 13, data_location = 14.
fn integers(name: &str, values: &[u64]) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| varint(*value)).collect();
    [number(1, values.len() as u64), number(2, 7), field(7, data), field(8, name)].concat()
}

fn external(name: &str, length: u64, entries: &[(&str, &str)]) -> Vec<u8> {
    let entry = |(key, value): &(&str, &str)| field(13, [field(1, key), field(2, value)].concat());
    let entries: Vec<u8> = entries.iter().flat_map(entry).collect();
    [number(1, length), number(2, 1), field(8, name), entries, number(14, 1)].concat()
}

fn refused(bytes: &[u8]) -> String {
    Graph::from_bytes(bytes).unwrap_err().to_string()
}

fn refused_file(path: &Path) -> String {
    Graph::load(path).unwrap_err().to_string()
}

#[test]
fn functions_that_double_thirty_times_are_counted_and_not_expanded() {
    limited(MEBIBYTES, SECONDS, || {
        let double =
            |inner: (&str, &str)| [node(inner.0, inner.1, &["x"], "t"), node(inner.0, inner.1, &["t"], "y")];
        let names: Vec<String> = (0..60).map(|at| format!("F{at}")).collect();
        let functions = |count: usize| -> Vec<Vec<u8>> {
            let inner = |at: usize| if at == 0 { ("", "Relu") } else { ("f", names[at - 1].as_str()) };
            (0..count).map(|at| function(&names[at], &double(inner(at)))).collect()
        };
        let graph = |count: usize| field(1, node("f", &names[count - 1], &["x"], "y"));
        for count in [30, 60] {
            let message = refused(&model(&graph(count), &functions(count)));
            assert!(
                message.contains("with its functions expanded: it takes more than 1048576 nodes"),
                "{message}"
            );
        }
        // Ten doublings are a thousand nodes.
        Graph::from_bytes(&model(&graph(10), &functions(10))).unwrap();
        let own = [function("F", &[node("f", "F", &["x"], "y")])];
        let message = refused(&model(&field(1, node("f", "F", &["x"], "y")), &own));
        assert!(message.contains("`F` calls itself"), "{message}");
    });
}

#[test]
fn a_chain_of_very_many_functions_is_an_error() {
    limited(MEBIBYTES, SECONDS, || {
        let name = |at: usize| format!("F{at}");
        let functions: Vec<_> =
            (1..20_000).map(|at| function(&name(at), &[node("f", &name(at - 1), &["x"], "y")])).collect();
        let message = refused(&model(&field(1, node("f", &name(19_999), &["x"], "y")), &functions));
        assert!(message.contains("deeper than 100"), "{message}");
    });
}

#[test]
fn messages_that_are_small_in_the_file_and_large_in_memory_are_an_error() {
    limited(MEBIBYTES, SECONDS, || {
        // GraphProto: node = 1, initializer = 5, value_info = 13. NodeProto: input = 1, attribute = 5.
        // AttributeProto: ints = 8.
        let many = |field: u8| field_bytes(field).repeat(5 << 20);
        for graph in [
            many(1),
            many(5),
            many(13),
            field(1, field_bytes(1).repeat(16 << 20)),
            field(1, field(5, field(8, vec![0; 80 << 20]))),
            // Fields that do not exist.
            field(1, (0..5 << 20).flat_map(|at| number(5000 + at, 0)).collect::<Vec<_>>()),
        ] {
            let message = refused(&model(&graph, &[]));
            assert!(message.contains("the model is too large: it takes more than"), "{message}");
        }
    });
}

/// An empty message in this field.
fn field_bytes(number: u8) -> Vec<u8> {
    vec![number << 3 | 2, 0]
}

#[test]
fn constants_of_any_size_are_refused_before_they_are_computed() {
    limited(MEBIBYTES, SECONDS, || {
        let shape = field(5, integers("shape", &[1 << 20, 1 << 18]));
        let one = field(5, integers("one", &[1]));
        let bombs = [
            [field(1, node("", "ConstantOfShape", &["shape"], "big")), shape.clone()].concat(),
            [field(1, node("", "Expand", &["one", "shape"], "big")), shape.clone(), one].concat(),
            // Lengths whose product does not fit into 64 bits.
            [
                field(1, node("", "ConstantOfShape", &["shape"], "big")),
                field(5, integers("shape", &[1 << 40, 1 << 40])),
            ]
            .concat(),
            // No tensor of its own is too large, but all of them are.
            [
                (0..40)
                    .flat_map(|at| field(1, node("", "ConstantOfShape", &["s"], &format!("y{at}"))))
                    .collect(),
                field(5, integers("s", &[1 << 22])),
            ]
            .concat(),
        ];
        for graph in bombs {
            let message = refused(&model(&graph, &[]));
            assert!(message.contains("ConstantOfShape") || message.contains("Expand"), "{message}");
            assert!(
                message.contains("from the weights alone: it takes more than 134217728 elements"),
                "{message}"
            );
        }
        // In a function that is called forty times, and in a branch.
        let constant = |name: &str, values: &[u64]| {
            let value = [field(1, "value"), field(5, integers("", values)), number(20, 4)].concat();
            [node("", "Constant", &[], name), field(5, value)].concat()
        };
        let body = [constant("s", &[1 << 22]), node("", "ConstantOfShape", &["s"], "y")];
        let calls = (0..40).flat_map(|at| field(1, node("f", "Big", &["x"], &format!("y{at}"))));
        let message = refused(&model(&calls.collect::<Vec<_>>(), &[function("Big", &body)]));
        assert!(message.contains("(ConstantOfShape), of shape [4194304]"), "{message}");
        let branch: Vec<u8> = [constant("s", &[1 << 30]), node("", "ConstantOfShape", &["s"], "y")]
            .iter()
            .flat_map(|node| field(1, node))
            .collect();
        let attribute = field(5, [field(1, "then_branch"), field(6, branch), number(20, 5)].concat());
        let graph = field(1, [node("", "If", &["c"], "y"), attribute].concat());
        let message = refused(&model(&graph, &[]));
        assert!(message.contains("(ConstantOfShape), of shape [1073741824]"), "{message}");
        // A mask of a million elements is not unusual.
        let shape = field(5, integers("shape", &[1024, 1024]));
        let small = [field(1, node("", "ConstantOfShape", &["shape"], "mask")), shape].concat();
        Graph::from_bytes(&model(&small, &[])).unwrap();
    });
}

#[test]
fn shapes_that_no_tensor_has_do_not_stop_the_reader() {
    limited(MEBIBYTES, SECONDS, || {
        let most = u64::MAX >> 1;
        for (operator, inputs) in [
            ("Reshape", vec!["data", "odd"]),
            ("Expand", vec!["data", "odd"]),
            ("Slice", vec!["data", "odd", "odd", "odd", "odd"]),
            ("ConstantOfShape", vec!["odd"]),
            ("Concat", vec!["odd"; 1000]),
            ("Unsqueeze", vec!["data", "odd"]),
            ("Pad", vec!["data", "odd"]),
            ("Conv", vec!["data", "data"]),
        ] {
            let constants = field(5, integers("odd", &[most, most - 1, u64::MAX, 1 << 63, 0]));
            let graph =
                [field(1, node("", operator, &inputs, "y")), constants, field(5, integers("data", &[1]))];
            // Either answer is right; the reader must return.
            drop(Graph::from_bytes(&model(&graph.concat(), &[])));
        }
    });
}

#[test]
fn one_external_file_is_not_read_many_times() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let data = fs::File::create(folder.path().join("data")).unwrap();
        // One GiB, which is more than this process may use: it is refused before a weight is read.
        data.set_len(1 << 30).unwrap();
        let weight = |at: usize, length: u64| {
            field(5, external(&format!("w{at}"), length, &[("location", "data"), ("offset", "0")]))
        };
        let file = folder.path().join("amplified.onnx");
        let large = |at| weight(at, 1 << 28);
        fs::write(&file, model(&(0..64).flat_map(large).collect::<Vec<_>>(), &[])).unwrap();
        let message = refused_file(&file);
        assert!(
            message.contains("more than twice as many") && message.contains("each weight once"),
            "{message}"
        );
        // A matrix with two names.
        data.set_len(64 << 20).unwrap();
        let small = |at| weight(at, 16 << 20);
        fs::write(&file, model(&(0..2).flat_map(small).collect::<Vec<_>>(), &[])).unwrap();
        assert_eq!(Graph::load(&file).unwrap().weight_bytes(), 128 << 20);
    });
}

#[test]
fn weights_are_read_from_regular_files_in_the_models_folder() {
    limited(MEBIBYTES, SECONDS, || {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("model.onnx");
        let write = |entries: &[(&str, &str)]| {
            fs::write(&file, model(&field(5, external("w", 4, entries)), &[])).unwrap();
        };
        fs::write(root.path().join("outside"), [0; 16]).unwrap();
        symlink("../outside", folder.join("link")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink("/dev/zero", folder.join("zero")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap().success());
        fs::create_dir(folder.join("folder")).unwrap();
        for (location, reason) in [
            ("link", "leaves the model's folder"),
            ("up/outside", "leaves the model's folder"),
            ("zero", "leaves the model's folder"),
            ("/dev/zero", "leaves the model's folder"),
            ("pipe", "it is a pipe, expected a regular file"),
            ("folder", "it is a folder, expected a regular file"),
        ] {
            write(&[("location", location)]);
            let message = refused_file(&file);
            assert!(message.contains(reason) && message.contains(location), "{message}");
        }
        fs::write(folder.join("data"), [0; 16]).unwrap();
        let most = u64::MAX.to_string();
        for (offset, length) in
            [(most.as_str(), "16"), ("1", "16"), ("0", most.as_str()), ("-1", "16"), ("", "16")]
        {
            write(&[("location", "data"), ("offset", offset), ("length", length)]);
            let message = refused_file(&file);
            assert!(message.contains("`w` is stored in another file"), "{message}");
        }
        write(&[("location", "data")]);
        assert_eq!(Graph::load(&file).unwrap().weight_bytes(), 16);
        // The layout of a download cache: the model and its weights are links into a folder of blobs.
        let (blobs, snapshot) = (root.path().join("blobs"), root.path().join("snapshot"));
        fs::create_dir(&blobs).unwrap();
        fs::create_dir(&snapshot).unwrap();
        fs::rename(&file, blobs.join("abc")).unwrap();
        fs::rename(folder.join("data"), blobs.join("def")).unwrap();
        symlink("../blobs/abc", snapshot.join("model.onnx")).unwrap();
        symlink("../blobs/def", snapshot.join("data")).unwrap();
        assert_eq!(Graph::load(snapshot.join("model.onnx")).unwrap().weight_bytes(), 16);
    });
}

#[test]
fn only_a_regular_file_is_read_as_a_model() {
    limited(MEBIBYTES, SECONDS, || {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.onnx");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, kind) in
            [(pipe.as_path(), "a pipe"), (Path::new("/dev/zero"), "a device"), (folder.path(), "a folder")]
        {
            let message = refused_file(path);
            assert!(message.contains(&format!("it is {kind}, expected a regular file")), "{message}");
        }
        let large = folder.path().join("large.onnx");
        fs::File::create(&large).unwrap().set_len(3 << 30).unwrap();
        let message = refused_file(&large);
        assert!(message.contains("large.onnx") && message.contains("bytes, at most"), "{message}");
        for text in ["", "plain text, which is not a model"] {
            fs::write(&large, text).unwrap();
            assert!(refused_file(&large).contains("large.onnx"));
        }
    });
}
