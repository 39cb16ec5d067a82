//! The raw items of a column.

use super::text;
use crate::{
    catalog::{
        dataset::{ItemRef, RawItems, raw_items},
        raw::RawItem,
    },
    recipe::encoders::ItemRule,
};
use chiasm_host::Takes;
use std::path::Path;

fn captions() -> [Vec<ItemRef>; 4] {
    [vec![text("x"), text("y")], vec![], vec![text("z")], vec![text("u"), text("v"), text("w")]]
}

#[test]
fn all_items_or_the_first_of_each_row() {
    let all = |which| raw_items(&captions(), Takes::Text, which, Path::new("")).unwrap();
    let raw = |texts: &[&str]| texts.iter().map(|t| RawItem::Text((*t).into())).collect::<Vec<_>>();
    let each = RawItems {
        raw: raw(&["x", "y", "z", "u", "v", "w"]),
        rows: vec![0, 0, 2, 3, 3, 3],
        position: vec![0, 1, 0, 0, 1, 2],
    };
    assert_eq!(all(ItemRule::Each), each);
    assert_eq!(all(ItemRule::Mean), each);
    let first = RawItems { raw: raw(&["x", "z", "u"]), rows: vec![0, 2, 3], position: vec![0, 0, 0] };
    assert_eq!(all(ItemRule::First), first);
}

#[test]
fn paths_start_at_the_folder_unless_absolute() {
    let column = [vec![text("a.png"), text("/b.png")]];
    let found = raw_items(&column, Takes::Path, ItemRule::Each, Path::new("/data")).unwrap();
    assert_eq!(found.raw, [RawItem::Path("/data/a.png".into()), RawItem::Path("/b.png".into())]);
}

#[test]
fn row_numbers_are_integers_or_texts_of_integers() {
    let column = [vec![ItemRef::Row(3)], vec![text("4"), ItemRef::Row(5)]];
    let found = raw_items(&column, Takes::Row, ItemRule::Each, Path::new("")).unwrap();
    assert_eq!(found.raw, [RawItem::Row(3), RawItem::Row(4), RawItem::Row(5)]);
}

#[test]
fn rows_with_an_item_of_the_wrong_kind_are_listed_once() {
    let column = [vec![text("a"), text("b")], vec![ItemRef::Row(1)], vec![text("-1")], vec![]];
    assert_eq!(raw_items(&column, Takes::Row, ItemRule::Each, Path::new("")), Err(vec![0, 2]));
    assert_eq!(raw_items(&column, Takes::Path, ItemRule::Each, Path::new("")), Err(vec![1]));
    let column = [vec![text("a"), ItemRef::Row(1)]];
    assert!(raw_items(&column, Takes::Text, ItemRule::First, Path::new("")).is_ok());
}
