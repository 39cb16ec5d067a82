//! Embedding many items gives the results of embedding them one by one, whatever the batches, threads and
//! timing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chiasm_graph::Tensor;
use chiasm_runtime::{
    BadItemPolicy, BatchLimits, BatchReceiver, Device, EmbedOptions, EmbedReport, EmbedRequest, Error,
    ItemInput, Session, SessionOptions, embed, embed_all,
};
use common::{engine, text_encoder, text_inputs, text_item};
use proptest::prelude::*;

fn session(replicas: usize) -> Session {
    engine()
        .session(
            &text_encoder(),
            &SessionOptions { device: Device::Cpu, threads: replicas, replicas, ..SessionOptions::default() },
        )
        .unwrap()
}

fn options(threads: usize, rows: usize, steps: usize) -> EmbedOptions {
    EmbedOptions { threads, limits: Some(BatchLimits { rows, steps, bytes: 1 << 20 }) }
}

/// A request for some items of the text encoder.
fn request<'a>(
    items: usize,
    inputs: &'a [ItemInput],
    outputs: &'a [&'a str],
    options: EmbedOptions,
) -> EmbedRequest<'a> {
    EmbedRequest { items, inputs, outputs, options }
}

fn good(item: usize) -> Result<Vec<Tensor>, String> {
    Ok(text_item(item))
}

fn pooled(session: &Session, items: usize, options: EmbedOptions) -> Vec<f32> {
    let inputs = text_inputs();
    let request = request(items, &inputs, &["pooled"], options);
    let (mut abort, mut go_on) = (|_: usize, _: &str| BadItemPolicy::Abort, |_: usize, _: usize| true);
    let all = embed_all(session, &request, good, &mut abort, &mut go_on).unwrap();
    assert_eq!(all.items, (0..items).collect::<Vec<_>>());
    assert_eq!(all.outputs[0].1.shape(), [items, 3]);
    assert_eq!((all.report.embedded, all.report.skipped.len()), (items, 0));
    all.outputs[0].1.clone().into_f32().unwrap()
}

/// Runs each item in a batch of one, without padding.
fn one_by_one(session: &Session, items: usize) -> Vec<f32> {
    (0..items)
        .flat_map(|i| {
            let item: Vec<Tensor> = text_item(i)
                .into_iter()
                .map(|t| {
                    let n = t.len();
                    t.reshaped(&[1, n]).unwrap()
                })
                .collect();
            let outputs = session.run_outputs(&[("ids", &item[0]), ("mask", &item[1])], &["pooled"]).unwrap();
            outputs[0].1.as_f32().unwrap().to_vec()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn embedding_equals_one_by_one(
        items in 0_usize..80, threads in 1_usize..5, replicas in 1_usize..4, rows in 1_usize..20,
        steps in 1_usize..60
    ) {
        let session = session(replicas);
        let got = pooled(&session, items, options(threads, rows, steps));
        let want = one_by_one(&session, items);
        for (g, w) in got.iter().zip(&want) {
            // Another batch may be summed in another order; the values are of order 1.
            prop_assert!((g - w).abs() <= 1e-5, "{g} {w}");
        }
    }
}

#[test]
fn the_same_items_give_the_same_batches_and_the_same_bytes() {
    /// Records every batch.
    #[derive(Default, PartialEq, Debug)]
    struct Log(Vec<(Vec<usize>, Vec<u32>)>);
    impl BatchReceiver for Log {
        fn batch(&mut self, rows: &[usize], outputs: Vec<(String, Tensor)>) -> Result<(), String> {
            let bits = outputs[0].1.as_f32().unwrap().iter().map(|v| v.to_bits()).collect();
            self.0.push((rows.to_vec(), bits));
            Ok(())
        }
    }
    // More than one shard of ragged items; some are slow to prepare, at random.
    let items = 9000;
    let run = |replicas: usize, threads: usize, jitter: usize| {
        let clock = AtomicUsize::new(jitter);
        let slow = |item: usize| {
            if clock.fetch_add(1, Ordering::Relaxed).wrapping_mul(2_654_435_761) % 97 < jitter {
                std::thread::sleep(Duration::from_micros(300));
            }
            good(item)
        };
        let mut log = Log::default();
        let inputs = text_inputs();
        let request = request(items, &inputs, &["pooled"], options(threads, 16, 100));
        let report = embed(&session(replicas), &request, slow, &mut log);
        assert_eq!(report.unwrap().embedded, items);
        log
    };
    let calm = run(1, 1, 0);
    assert!(calm.0.iter().all(|(rows, _)| rows.len() <= 16));
    for (replicas, threads, jitter) in [(1, 3, 11), (2, 2, 7), (3, 4, 23)] {
        assert!(run(replicas, threads, jitter) == calm, "{replicas} replicas, {threads} threads");
    }
}

#[test]
fn sorting_leaves_little_padding() {
    let mut all = TestReceiver::default();
    let inputs = text_inputs();
    let request = request(1000, &inputs, &["pooled"], options(2, 16, 208));
    let report = embed(&session(1), &request, good, &mut all).unwrap();
    // Lengths 1 to 13, equally frequent: unsorted batches of 16 would pad about 46 %.
    assert!(report.padding < 0.05, "{report:?}");
    assert!(report.session_share() > 0.0 && report.session_share() <= 1.0, "{report:?}");
}

/// Records the items it receives, and skips, fails or stops as set.
#[derive(Default)]
struct TestReceiver {
    skip: bool,
    stop_after: Option<usize>,
    refuse: bool,
    seen: Vec<usize>,
    bad: Vec<(usize, String)>,
}

impl BatchReceiver for TestReceiver {
    fn batch(&mut self, rows: &[usize], _: Vec<(String, Tensor)>) -> Result<(), String> {
        self.seen.extend(rows);
        if self.refuse { Err("disk full".into()) } else { Ok(()) }
    }

    fn bad_item(&mut self, item: usize, reason: &str) -> BadItemPolicy {
        self.bad.push((item, reason.to_owned()));
        if self.skip { BadItemPolicy::Skip } else { BadItemPolicy::Abort }
    }

    fn progress(&mut self, done: usize, total: usize) -> bool {
        assert!(done <= total);
        self.stop_after.is_none_or(|stop| done < stop)
    }
}

/// Items 5, 17 and 40 cannot be read; item 30 is of a wrong shape.
fn sometimes(item: usize) -> Result<Vec<Tensor>, String> {
    match item {
        5 | 17 | 40 => Err(format!("cannot decode picture-{item}.jpg")),
        30 => Ok(vec![Tensor::f32(&[1], vec![0.0]).unwrap()]),
        _ => good(item),
    }
}

fn run(receiver: &mut TestReceiver) -> Result<EmbedReport, Error> {
    let inputs = text_inputs();
    embed(&session(2), &request(50, &inputs, &["pooled"], options(3, 4, 40)), sometimes, receiver)
}

#[test]
fn bad_items_are_skipped_and_named() {
    let mut receiver = TestReceiver { skip: true, ..TestReceiver::default() };
    let report = run(&mut receiver).unwrap();
    assert_eq!(report.embedded, 46);
    assert_eq!(report.skipped.iter().map(|s| s.0).collect::<Vec<_>>(), [5, 17, 30, 40]);
    assert!(report.skipped[0].1.contains("picture-5.jpg"));
    assert!(report.skipped[2].1.contains("expected 2 prepared tensors, got 1"), "{:?}", report.skipped[2]);
    assert_eq!(receiver.bad, report.skipped);
    receiver.seen.sort_unstable();
    assert_eq!(receiver.seen, (0..50).filter(|i| ![5, 17, 30, 40].contains(i)).collect::<Vec<_>>());
}

#[test]
fn skipped_items_leave_no_gap_in_the_outputs() {
    let (mut skip, mut go_on) = (|_: usize, _: &str| BadItemPolicy::Skip, |_: usize, _: usize| true);
    let session = session(2);
    let inputs = text_inputs();
    let all = embed_all(
        &session,
        &request(50, &inputs, &["pooled"], options(2, 8, 60)),
        sometimes,
        &mut skip,
        &mut go_on,
    );
    let all = all.unwrap();
    assert_eq!(all.items.len(), 46);
    let want = one_by_one(&session, 50);
    let got = all.outputs[0].1.as_f32().unwrap();
    for (row, item) in all.items.iter().enumerate() {
        for d in 0..3 {
            assert!((got[row * 3 + d] - want[item * 3 + d]).abs() <= 1e-5, "item {item}");
        }
    }
}

#[test]
fn the_first_bad_item_ends_the_run_when_it_is_not_skipped() {
    for _ in 0..20 {
        let message = run(&mut TestReceiver::default()).unwrap_err().to_string();
        assert_eq!(message, "item 5 cannot be embedded: cannot decode picture-5.jpg");
    }
}

#[test]
fn a_receiver_that_fails_or_stops_ends_the_run() {
    let mut refuse = TestReceiver { skip: true, refuse: true, ..TestReceiver::default() };
    assert_eq!(run(&mut refuse).unwrap_err().to_string(), "the embeddings could not be stored: disk full");
    let mut stop = TestReceiver { skip: true, stop_after: Some(20), ..TestReceiver::default() };
    assert!(matches!(run(&mut stop).unwrap_err(), Error::Cancelled { done: 20.., total: 50 }));
}

#[test]
fn a_panic_in_prepare_reaches_the_caller_without_a_deadlock() {
    let panics = |item: usize| if item == 20 { panic!("item twenty") } else { good(item) };
    let caught = std::panic::catch_unwind(|| {
        let inputs = text_inputs();
        let request = request(50, &inputs, &["pooled"], options(3, 4, 40));
        embed(&session(2), &request, panics, &mut TestReceiver::default())
    });
    assert!(caught.is_err());
}

#[test]
fn embed_all_refuses_outputs_whose_length_varies() {
    let (mut abort, mut go_on) = (|_: usize, _: &str| BadItemPolicy::Abort, |_: usize, _: usize| true);
    let inputs = text_inputs();
    let all = embed_all(
        &session(1),
        &request(40, &inputs, &["tokens"], options(2, 4, 20)),
        good,
        &mut abort,
        &mut go_on,
    );
    let message = all.unwrap_err().to_string();
    assert!(message.contains("\"tokens\"") && message.contains("batch by batch"), "{message}");
}

#[test]
fn an_unknown_output_is_refused_before_any_item_is_prepared() {
    let never = |_: usize| -> Result<Vec<Tensor>, String> { panic!("prepared") };
    let inputs = text_inputs();
    let request = request(3, &inputs, &["poled"], options(1, 1, 1));
    let error = embed(&session(1), &request, never, &mut TestReceiver::default());
    assert!(error.unwrap_err().to_string().contains("has no output \"poled\""));
}
