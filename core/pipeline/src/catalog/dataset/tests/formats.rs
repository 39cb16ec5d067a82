//! The same content in every format, and what each format accepts or refuses.

use super::{COLUMNS, DatasetColumns, expect, parquet::table, read, refused, text};
use crate::catalog::dataset::{ItemRef, Split};
use serde_json::json;

const LINES: &str = r#"
{"id": "a", "split": "train", "image": "a.png", "captions": ["x, \"y\"", "z"], "answer": 1.5}
{"id": "7", "split": "val", "image": "b.png", "captions": [], "answer": "red"}
{"id": "c", "split": "test", "captions": "[music] plays\nloudly", "answer": true, "more": {"not": "read"}}
{"id": "d", "split": "train", "image": "", "captions": ["é"], "answer": [1, 2]}
"#;

const TABLE: &str = r#"id,split,image,captions,answer,more
a,train,a.png,"[""x, \""y\"""", ""z""]",1.5,
7,val,b.png,[],red,
c,test,,"[music] plays
loudly",true,{}
d,train,,"[""é""]","[1, 2]",
"#;

#[test]
fn json_lines_and_csv_give_the_same_rows() {
    let lines = read("rows.jsonl", LINES, COLUMNS).unwrap();
    assert_eq!(lines.ids, ["a", "7", "c", "d"]);
    assert_eq!(lines.splits, [Split::Train, Split::Validation, Split::Test, Split::Train]);
    assert_eq!(lines.column("image"), [vec![text("a.png")], vec![text("b.png")], vec![], vec![]]);
    assert_eq!(lines.column("captions")[0], [text("x, \"y\""), text("z")]);
    assert_eq!(lines.column("captions")[2], [text("[music] plays\nloudly")]);
    assert_eq!(lines.values("answer"), [json!(1.5), json!("red"), json!(true), json!([1, 2])]);
    assert_eq!(read("rows.csv", TABLE, COLUMNS).unwrap(), lines);
    for name in ["rows.ndjson", "rows.json", "rows.JSONL"] {
        assert_eq!(read(name, LINES, COLUMNS).unwrap(), lines, "{name}");
    }
    // Editors and spreadsheets of Windows write a byte-order mark.
    for (name, content) in [("rows.jsonl", LINES.trim_start()), ("rows.csv", TABLE)] {
        assert_eq!(read(name, format!("\u{feff}{content}"), COLUMNS).unwrap(), lines, "{name} with a mark");
    }
}

#[test]
fn json_lines_csv_and_parquet_give_the_same_rows() {
    let columns = DatasetColumns { inputs: &["image", "captions"], values: &["answer", "tags"], split: None };
    let lines = r#"{"image": "a.png", "captions": ["x", "y"], "answer": 3, "tags": ["p"]}
{"image": null, "captions": ["z"], "answer": 4, "tags": []}
{"image": "c.png", "captions": [], "answer": -5, "tags": ["p", "q"]}
{"image": "d.png", "answer": 6, "tags": ["r"]}
"#;
    let csv = r#"image,captions,answer,tags
a.png,"[""x"",""y""]",3,"[""p""]"
,"[""z""]",4,[]
c.png,[],-5,"[""p"",""q""]"
d.png,,6,"[""r""]"
"#;
    let lines = read("rows.jsonl", lines, columns).unwrap();
    assert_eq!(lines.ids, ["1", "2", "3", "4"]);
    assert_eq!(lines.splits[0], Split::Test);
    assert_eq!(lines.column("captions")[2], []);
    assert_eq!(read("rows.csv", csv, columns).unwrap(), lines);
    assert_eq!(read("rows.tsv", csv.replace(',', "\t").replace("\"\t\"", "\",\""), columns).unwrap(), lines);
    assert_eq!(read("rows.parquet", table(), columns).unwrap(), lines);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_accepted() {
    for (name, content) in [("rows.jsonl", LINES), ("rows.csv", TABLE)] {
        let windows = format!("\u{feff}{}", content.trim_start().replace('\n', "\r\n"));
        let (plain, windows) = (read(name, content, COLUMNS), read(name, windows, COLUMNS));
        let (plain, windows) = (plain.unwrap(), windows.unwrap());
        assert_eq!(windows.ids, plain.ids);
        assert_eq!(windows.values("answer"), plain.values("answer"));
        assert_eq!(windows.column("image"), plain.column("image"));
    }
}

#[test]
fn row_numbers_are_integers_in_json_and_texts_in_csv() {
    let columns = DatasetColumns { inputs: &["frame"], values: &[], split: None };
    let lines = read("rows.jsonl", "{\"frame\": 3}\n{\"frame\": [4, 5]}\n", columns).unwrap();
    assert_eq!(lines.column("frame"), [vec![ItemRef::Row(3)], vec![ItemRef::Row(4), ItemRef::Row(5)]]);
    let csv = read("rows.csv", "frame\n3\n\"[4, 5]\"\n", columns).unwrap();
    assert_eq!(csv.column("frame"), [vec![text("3")], vec![ItemRef::Row(4), ItemRef::Row(5)]]);
}

#[test]
fn csv_labels_that_are_not_exact_numbers_stay_texts() {
    let columns = DatasetColumns { inputs: &["image"], values: &["label"], split: None };
    let content = "image,label\na,007\nb,123456789012345678901234\nc,1e3\nd,NaN\n";
    let data = read("rows.csv", content, columns).unwrap();
    assert_eq!(
        data.values("label"),
        [json!("007"), json!("123456789012345678901234"), json!(1000.0), json!("NaN")]
    );
}

#[test]
fn an_unknown_extension_is_refused_with_the_supported_ones() {
    let known = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"];
    for name in ["rows.xlsx", "rows.jsonl.gz", "rows"] {
        expect(&refused(name, LINES, COLUMNS), &known);
    }
}

#[test]
fn only_a_regular_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let missing = super::Dataset::read(&folder.path().join("no.csv"), COLUMNS).unwrap_err();
    expect(&missing.to_string(), &["no.csv", "cannot read it"]);
    let path = folder.path().join("folder.csv");
    std::fs::create_dir(&path).unwrap();
    expect(
        &super::Dataset::read(&path, COLUMNS).unwrap_err().to_string(),
        &["it is a folder, expected a regular file"],
    );
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_line() {
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
    let lines = refused("rows.jsonl", b"{\"image\": \"a\"}\n{\"image\": \"\xff\"}\n", columns);
    expect(&lines, &["line 2: not UTF-8"]);
    expect(&refused("rows.csv", b"image\na\n\xff\n", columns), &["line 3: column `image` is not UTF-8"]);
}

#[test]
fn lines_that_are_too_long_are_refused() {
    let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
    let long = "x".repeat(9 << 20);
    let line = format!("{{\"image\": \"a\"}}\n{{\"image\": \"{long}\"}}\n");
    expect(&refused("rows.jsonl", line, columns), &["line 2 is longer than 8 MiB"]);
    let open = format!("image\na\n\"{long}");
    expect(&refused("rows.csv", open, columns), &["longer than 8 MiB", "quote"]);
}

#[test]
fn invalid_lines_of_a_csv_file_are_listed() {
    let content = "image,captions,answer\na,x,1\nb,x\nc,\"[\"\"x\"\" \"\"y\"\"]\",1\nd,\"['x']\",1\n,,1\n";
    expect(
        &refused("rows.csv", content, COLUMNS),
        &[
            "line 3: expected 3 cells as in the header line, got 2",
            "line 4: column `captions`: a list must be JSON",
            "line 5: column `captions`: a list must be JSON",
            "line 6: no item",
        ],
    );
    expect(&refused("rows.csv", "image,image\na,b\n", COLUMNS), &["two columns", "`image`"]);
}

#[test]
fn lines_that_are_deep_or_expand_are_refused_within_half_a_gigabyte() {
    // A test program and 512 MiB; the time is that of a machine with other work.
    chiasm_testing::limited(800, 20, || {
        let columns = DatasetColumns { inputs: &["image"], values: &[], split: None };
        let deep = |count: usize| format!("{}1{}", "[".repeat(count), "]".repeat(count));
        let line = format!("{{\"image\": {}}}\n", deep(1 << 20));
        expect(&refused("rows.jsonl", line, columns), &["line 1", "recursion limit"]);
        let cell = format!("image,b\n\"{}\",1\n", deep(1 << 20));
        // A text that is no JSON is a text, which is an item.
        drop(read("rows.csv", cell, columns));
        let zeros = |bytes: usize| format!("{}0", "0,".repeat(bytes / 2));
        let line = format!("{{\"image\": [{}]}}\n", zeros(7 << 20));
        read("rows.jsonl", line, columns).unwrap();
        let line = format!("{{\"image\": [{}]}}\n", zeros(60 << 20));
        expect(&refused("rows.jsonl", line, columns), &["line 1 is longer than 8 MiB"]);
        let commas = format!("image,b\na{}\n", ",".repeat(60 << 20));
        expect(&refused("rows.csv", commas, columns), &["a line is longer than 8 MiB"]);
        let commas = format!("image,b\na{}\n", ",".repeat(7 << 20));
        expect(&refused("rows.csv", commas, columns), &["line 2", "expected 2 cells as in the header line"]);
    });
}
