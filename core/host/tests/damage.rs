//! Damaged libraries: refused with a reason where the structure shows it, and never a crash of the host.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use chiasm_host::Status;
use support::{host_of, library};

/// Names the file that the child below is to load.
const CHILD: &str = "CHIASM_TEST_LOADS";

/// Loads a file in a process of its own; run by the tests below, and nothing by itself.
#[test]
fn child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let loaded = host_of(&[path.into()]).adapter("rows").is_ok();
    println!("survived, loaded: {loaded}");
}

/// Whether a process that loads the file lives on.
fn survives(path: &Path) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "child", "--nocapture"]).env(CHILD, path).output().unwrap();
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("survived")
}

#[test]
fn every_truncation_is_refused_without_loading() {
    let whole = fs::read(library("fixture-plain")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.so");
    // Cuts everywhere: in the header, in the tables, in code, one byte before the end.
    let mut cuts: Vec<usize> = (0..64).map(|i| whole.len() * i / 64).collect();
    cuts.extend([1, 15, 63, 64, 100, 700, 4096, whole.len() - 1, whole.len() - 64]);
    for cut in cuts {
        fs::write(&path, &whole[..cut]).unwrap();
        let host = host_of(std::slice::from_ref(&path));
        let status = &host.plugins()[0].status;
        assert!(matches!(status, Status::Refused(_)), "cut at {cut} of {}: {status:?}", whole.len());
    }
}

#[test]
fn flipped_bits_in_what_the_loader_follows_are_refused_or_harmless() {
    let whole = fs::read(library("fixture-plain")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.so");
    let number =
        |at: usize| usize::try_from(u64::from_le_bytes(whole[at..at + 8].try_into().unwrap())).unwrap();
    let segments = usize::from(u16::from_le_bytes([whole[56], whole[57]]));
    let dynamic =
        (0..segments).map(|i| 64 + i * 56).find(|at| whole[*at] == 2).map(|at| number(at + 8)).unwrap();
    // The file header, the program headers, the dynamic section: one flip per byte, each bit in turn.
    let regions = [0..64, 64..64 + segments * 56, dynamic..dynamic + 28 * 16];
    let mut survived = 0;
    let mut lethal = Vec::new();
    for place in regions.into_iter().flatten() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(&path, bytes).unwrap();
        if survives(&path) { survived += 1 } else { lethal.push(place) }
    }
    println!("{survived} flips survived, {} did not: {lethal:?}", lethal.len());
    assert!(lethal.is_empty(), "the host died of flips at {lethal:?}");
}
