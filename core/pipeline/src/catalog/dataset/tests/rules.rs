//! The rules that hold in every format, tested with JSON lines.

use super::{COLUMNS, Dataset, DatasetColumns, expect, read, refused, text};
use crate::catalog::dataset::{ItemRef, Split};
use serde_json::json;

const INPUTS: DatasetColumns<'static> =
    DatasetColumns { inputs: &["image", "captions"], values: &[], split: None };

fn lines(content: &str, columns: DatasetColumns<'_>) -> Dataset {
    read("rows.jsonl", content, columns).unwrap()
}

fn bad(content: &str, columns: DatasetColumns<'_>) -> String {
    refused("rows.jsonl", content, columns)
}

#[test]
fn a_cell_that_is_absent_null_or_empty_holds_no_item() {
    let content = r#"{"image": "a"}
{"image": "a", "captions": null}
{"image": "a", "captions": ""}
{"image": "a", "captions": []}
{"image": "a", "captions": ["", null, "x"]}"#;
    let none = Vec::new();
    let data = lines(content, INPUTS);
    assert_eq!(data.len(), 5);
    assert_eq!(data.column("captions"), [none.clone(), none.clone(), none.clone(), none, vec![text("x")]]);
    assert!(data.column("sound").is_empty());
}

#[test]
fn a_row_without_any_item_is_refused() {
    let message = bad("{\"image\": \"a\"}\n\n{\"captions\": []}\n", INPUTS);
    expect(&message, &["line 3: no item in any of the columns `captions`, `image`"]);
}

#[test]
fn a_missing_column_is_refused_with_the_columns_of_the_file() {
    let message = bad("{\"image\": \"a\", \"caption\": \"x\"}\n{\"image\": \"b\"}\n", INPUTS);
    expect(&message, &["no column `captions`", "`caption`, `image`", "did you mean `caption`?"]);
    let columns = DatasetColumns { values: &["anwser"], ..INPUTS };
    let message = bad("{\"image\": \"a\", \"captions\": \"x\", \"answer\": 1}\n", columns);
    expect(&message, &["no column `anwser`", "did you mean `answer`?"]);
    for (name, content) in [("rows.csv", "image,caption\na,x\n"), ("rows.tsv", "image\tcaption\na\tx\n")] {
        expect(&refused(name, content, INPUTS), &["no column `captions`", "did you mean `caption`?"]);
    }
}

#[test]
fn items_are_texts_and_row_numbers() {
    let data = lines(r#"{"image": [0, "a", 18446744073709551615], "captions": 2}"#, INPUTS);
    assert_eq!(data.column("image")[0], [ItemRef::Row(0), text("a"), ItemRef::Row(u64::MAX)]);
    for wrong in ["-1", "1.5", "true", "{}", "[[\"a\"]]", "[false]"] {
        let content = format!("{{\"image\": \"a\", \"captions\": {wrong}}}");
        expect(&bad(&content, INPUTS), &["line 1: column `captions`: expected a text, a row number"]);
    }
}

#[test]
fn every_row_must_have_a_value() {
    let content =
        "{\"image\": \"a\", \"captions\": \"x\", \"answer\": 1}\n{\"image\": \"b\", \"answer\": null}\n";
    expect(&bad(content, COLUMNS), &["line 2: column `answer`: no value"]);
    let content = "image,captions,answer\na,x,1\nb,y,\n";
    expect(&refused("rows.csv", content, COLUMNS), &["line 3: column `answer`: no value"]);
}

#[test]
fn a_column_can_be_both_input_and_value() {
    let columns = DatasetColumns { inputs: &["image"], values: &["image"], split: None };
    let data = read("rows.csv", "image\n3\nb\n", columns).unwrap();
    assert_eq!(data.column("image"), [vec![text("3")], vec![text("b")]]);
    assert_eq!(data.values("image"), [json!(3), json!("b")]);
}

#[test]
fn the_id_of_a_row_is_its_id_column_or_its_number() {
    let data = lines("\n{\"image\": \"a\"}\n\n{\"id\": 9, \"image\": \"b\", \"captions\": 1}\n", INPUTS);
    assert_eq!(data.ids, ["1", "9"]);
    let content = "{\"id\": \"x\", \"image\": \"a\", \"captions\": 1}\n";
    expect(&bad(&content.repeat(2), INPUTS), &["line 2: the id \"x\" is already used"]);
}

#[test]
fn every_row_or_no_row_must_name_its_split() {
    let row = |split: &str| format!("{{\"image\": \"a\", \"captions\": 1, \"split\": {split}}}\n");
    let named = ["\"train\"", "\"validation\"", "\"val\"", "\"valid\"", "\"dev\"", "\"test\""].map(row);
    let data = lines(&named.concat(), INPUTS);
    assert_eq!(data.rows_of(Split::Train), [0]);
    assert_eq!(data.rows_of(Split::Validation), [1, 2, 3, 4]);
    assert_eq!(data.rows_of(Split::Test), [5]);
    expect(&bad(&(row("\"train\"") + &row("null")), INPUTS), &["1 of 2 rows name their split", "`split`"]);
    expect(&bad(&row("\"fold 1\""), INPUTS), &["line 1: column `split`: expected \"train\"", "fold 1"]);
    expect(&bad(&row("0"), INPUTS), &["line 1: column `split`", "got 0"]);
}

#[test]
fn without_a_split_column_every_fifth_row_is_test() {
    let content = "{\"image\": \"a\", \"captions\": 1}\n".repeat(11);
    let data = lines(&content, INPUTS);
    assert_eq!(data.rows_of(Split::Test), [0, 5, 10]);
    assert!(data.rows_of(Split::Validation).is_empty());
}

#[test]
fn a_missing_split_column_is_refused_if_the_recipe_names_it() {
    let columns = DatasetColumns { split: Some("fold"), ..INPUTS };
    let rows = |extra: &str| format!("{{\"image\": \"a\", \"captions\": 1{extra}}}\n");
    expect(&bad(&rows(", \"folds\": \"train\""), columns), &["no column `fold`", "did you mean `folds`?"]);
    expect(&bad(&rows(", \"fold\": null"), columns), &["0 of 1 rows name their split", "`fold`"]);
    let csv = "image,captions,folds\na,1,train\nb,2,test\n";
    expect(&refused("rows.csv", csv, columns), &["no column `fold`", "did you mean `folds`?"]);
    let tsv = csv.replace(',', "\t");
    expect(&refused("rows.tsv", tsv, columns), &["no column `fold`", "did you mean `folds`?"]);
    assert_eq!(lines(&rows(", \"fold\": \"train\""), columns).splits, [Split::Train]);
    assert_eq!(lines(&rows(", \"fold\": \"dev\", \"split\": \"no\""), columns).splits, [Split::Validation]);
}

#[test]
fn the_first_five_invalid_lines_are_listed_and_the_others_counted() {
    let content = String::from("{\"image\": \"a\", \"captions\": 1}\n") + &"nonsense\n[1]\n".repeat(4);
    let message = bad(&content, INPUTS);
    expect(
        &message,
        &["line 2: not JSON", "line 3: expected one JSON object", "line 6: not JSON", "and 3 more"],
    );
    assert!(!message.contains("line 7"), "{message}");
}

#[test]
fn files_without_rows_are_refused() {
    for (name, content) in [("rows.jsonl", "\n"), ("rows.csv", ""), ("rows.csv", "image,captions\n")] {
        expect(&refused(name, content, INPUTS), &["has no rows"]);
    }
}

#[test]
fn rows_by_position_are_row_numbers() {
    let data = Dataset::by_position(6, &["a", "b"]);
    assert_eq!((data.len(), data.is_empty()), (6, false));
    assert_eq!(data.ids, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(data.column("b")[4], [ItemRef::Row(4)]);
    assert_eq!(data.rows_of(Split::Test), [0, 5]);
}
