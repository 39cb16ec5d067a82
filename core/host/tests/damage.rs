//! Damaged libraries are refused if the structure shows the damage, and never crash the host.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::process::Command;

use chiasm_host::PluginStatus;
use support::{host_of, library};

/// The environment variable that tells [`child`] where to start.
const CHILD: &str = "CHIASM_TEST_FLIPS_FROM";

/// Loads one damaged library after another. The test below runs it in a child process; otherwise it does
/// nothing.
#[test]
fn child() {
    let Ok(from) = std::env::var(CHILD) else { return };
    let whole = fs::read(library("fixture-plain")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for place in places(&whole).into_iter().skip(from.parse().unwrap()) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        let path = folder.path().join(format!("{place}.so"));
        fs::write(&path, bytes).unwrap();
        let loaded = host_of(std::slice::from_ref(&path)).adapter("rows").is_ok();
        fs::remove_file(path).unwrap();
        println!("\nflip {place} loaded {loaded}");
    }
    println!("\nall done");
}

/// Returns the offsets to damage: every third byte of the file header, the program headers and the dynamic
/// section.
fn places(whole: &[u8]) -> Vec<usize> {
    let number =
        |at: usize| usize::try_from(u64::from_le_bytes(whole[at..at + 8].try_into().unwrap())).unwrap();
    let segments = usize::from(u16::from_le_bytes([whole[56], whole[57]]));
    let dynamic = (0..segments).map(|i| 64 + i * 56).find(|at| whole[*at] == 2).unwrap();
    let (dynamic, length) = (number(dynamic + 8), number(dynamic + 32));
    (0..64 + segments * 56).chain(dynamic..dynamic + length).step_by(3).collect()
}

#[test]
fn a_truncated_library_is_refused_without_loading() {
    let whole = fs::read(library("fixture-plain")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.so");
    // The cuts lie in the header, in the tables, in code, and one byte before the end.
    let mut cuts: Vec<usize> = (0..64).map(|i| whole.len() * i / 64).collect();
    cuts.extend([1, 15, 63, 64, 100, 700, 4096, whole.len() - 1, whole.len() - 64]);
    for cut in cuts {
        fs::write(&path, &whole[..cut]).unwrap();
        let host = host_of(std::slice::from_ref(&path));
        let status = &host.plugins()[0].status;
        assert!(matches!(status, PluginStatus::Refused(_)), "cut at {cut} of {}: {status:?}", whole.len());
    }
}

#[test]
fn a_flipped_bit_in_the_structure_is_refused_or_harmless() {
    let places = places(&fs::read(library("fixture-plain")).unwrap());
    let (mut tried, mut loaded, mut lethal) = (0, 0, Vec::<usize>::new());
    while tried < places.len() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output =
            command.args(["--exact", "child", "--nocapture"]).env(CHILD, tried.to_string()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        tried += text.matches("\nflip ").count();
        loaded += text.matches("loaded true").count();
        if !text.contains("\nall done") {
            lethal.extend(places.get(tried));
            tried += 1;
        }
    }
    println!(
        "{tried} flips: {loaded} loaded, {} refused, {} crashed",
        tried - loaded - lethal.len(),
        lethal.len()
    );
    assert!(lethal.is_empty(), "the process crashed after flips at {lethal:?}");
}
