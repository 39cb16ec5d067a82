//! Damaged libraries are refused, or fail in their own process. They never crash the host.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::time::Duration;

use chiasm_host::{EncoderSpec, HostOptions, IsolationLimits, Item, PluginStatus};
use chiasm_plugin::json;
use support::{RecordingServices, host_of, host_with, isolated_options, library};

/// The environment variable with the number of damaged libraries to try.
const FLIPS: &str = "CHIASM_FLIPS";

#[test]
fn worker() {
    support::serve_if_worker();
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

/// Flips single bits, spread evenly over the sections and within them, and uses each damaged plugin. This
/// test program is the host: it would end with a crash. `CHIASM_FLIPS=10000` tries more of them.
#[test]
fn a_flipped_bit_never_crashes_the_host() {
    let flips = std::env::var(FLIPS).map_or(200, |text| text.parse().unwrap());
    let whole = fs::read(library("fixture-plain")).unwrap();
    let sections = sections(&whole);
    let folder = tempfile::tempdir().unwrap();
    let limits = IsolationLimits {
        silence: Duration::from_secs(2),
        memory: Some(2 << 30),
        ..IsolationLimits::default()
    };
    let (mut refused, mut crashed, mut worked, mut other) = (0, 0, 0, 0);
    let mut random = 1_u64;
    for flip in 0..flips {
        let (offset, size) = sections[flip % sections.len()];
        // Knuth's multiplicative generator; the upper bits are random enough for places.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = offset + usize::try_from(random >> 33).unwrap() % size;
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (random >> 20 & 7);
        let path = folder.path().join("flipped.so");
        fs::write(&path, bytes).unwrap();
        let host = host_with(std::slice::from_ref(&path), HostOptions { limits, ..isolated_options() });
        if !matches!(host.plugins().first().map(|plugin| &plugin.status), Some(PluginStatus::Ready)) {
            refused += 1;
            continue;
        }
        let used = host.adapter("rows").and_then(|factory| {
            let spec = EncoderSpec { preprocessing: json!({ "dim": 4 }), ..EncoderSpec::default() };
            factory.open(&spec, &RecordingServices::default())?.prepare(Item::Row(7))
        });
        match used {
            Ok(_) => worked += 1,
            Err(error) if error.code == chiasm_host::Code::CRASHED => crashed += 1,
            Err(_) => other += 1,
        }
    }
    println!(
        "{flips} flips: {refused} refused, {crashed} crashed in their own process, {other} other errors, \
         {worked} worked"
    );
    assert_eq!(refused + crashed + worked + other, flips);
    assert!(crashed > 0, "no flip had an effect: the test proves nothing");
}

/// Returns the offset and size of every section with bytes in the file.
fn sections(whole: &[u8]) -> Vec<(usize, usize)> {
    let number =
        |at: usize| usize::try_from(u64::from_le_bytes(whole[at..at + 8].try_into().unwrap())).unwrap();
    let (table, count) = (number(40), usize::from(u16::from_le_bytes([whole[60], whole[61]])));
    let header = |i: usize| table + 64 * i;
    let kind = |i: usize| u32::from_le_bytes(whole[header(i) + 4..header(i) + 8].try_into().unwrap());
    (1..count)
        .filter(|i| kind(*i) != 8)
        .map(|i| (number(header(i) + 24), number(header(i) + 32)))
        .filter(|s| s.1 > 0)
        .collect()
}
