//! Items as adapters take them.

use super::text;
use crate::{
    catalog::{
        dataset::{Cell, Items, items},
        raw::Raw,
    },
    recipe::encoders::ItemRule,
};
use chiasm_host::Takes;
use std::path::Path;

fn captions() -> [Vec<Cell>; 4] {
    [vec![text("x"), text("y")], vec![], vec![text("z")], vec![text("u"), text("v"), text("w")]]
}

#[test]
fn all_items_or_the_first_of_each_row() {
    let all = |which| items(&captions(), Takes::Text, which, Path::new("")).unwrap();
    let raw = |texts: &[&str]| texts.iter().map(|t| Raw::Text((*t).into())).collect::<Vec<_>>();
    let each = Items {
        raw: raw(&["x", "y", "z", "u", "v", "w"]),
        rows: vec![0, 0, 2, 3, 3, 3],
        position: vec![0, 1, 0, 0, 1, 2],
    };
    assert_eq!(all(ItemRule::Each), each);
    assert_eq!(all(ItemRule::Mean), each);
    let first = Items { raw: raw(&["x", "z", "u"]), rows: vec![0, 2, 3], position: vec![0, 0, 0] };
    assert_eq!(all(ItemRule::First), first);
}

#[test]
fn paths_start_at_the_folder_unless_absolute() {
    let column = [vec![text("a.png"), text("/b.png")]];
    let found = items(&column, Takes::Path, ItemRule::Each, Path::new("/data")).unwrap();
    assert_eq!(found.raw, [Raw::Path("/data/a.png".into()), Raw::Path("/b.png".into())]);
}

#[test]
fn row_numbers_are_integers_or_whole_numbers_written_as_texts() {
    let column = [vec![Cell::Row(3)], vec![text("4"), Cell::Row(5)]];
    let found = items(&column, Takes::Row, ItemRule::Each, Path::new("")).unwrap();
    assert_eq!(found.raw, [Raw::Row(3), Raw::Row(4), Raw::Row(5)]);
}

#[test]
fn rows_with_an_item_of_the_wrong_kind_are_told_once() {
    let column = [vec![text("a"), text("b")], vec![Cell::Row(1)], vec![text("-1")], vec![]];
    assert_eq!(items(&column, Takes::Row, ItemRule::Each, Path::new("")), Err(vec![0, 2]));
    assert_eq!(items(&column, Takes::Path, ItemRule::Each, Path::new("")), Err(vec![1]));
    let column = [vec![text("a"), Cell::Row(1)]];
    assert!(items(&column, Takes::Text, ItemRule::First, Path::new("")).is_ok());
}
