//! Plugins in processes of their own: the same results as in this process, and faults that would end this
//! process are errors.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use chiasm_host::{
    AlignModality, AlignSpec, BorrowedArray, Code, CrashRecords, EncoderSpec, Host, HostError, HostOptions,
    Isolation, IsolationLimits, Item, Learned, LockedPlugin, Phase, PluginLock, QUARANTINE_AFTER,
    SharedValues,
};
use chiasm_plugin::{Json, json};
use support::{RecordingServices, host_of, host_with, isolated_options, library};

#[test]
fn worker() {
    support::serve_if_worker();
}

const ROWS: [f32; 12] = [1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12.];

fn fit(host: &Host, id: &str, parameters: &Json, services: &RecordingServices) -> Result<Learned, HostError> {
    fit_rows(host, id, parameters, services, &ROWS)
}

fn fit_rows(
    host: &Host,
    id: &str,
    parameters: &Json,
    services: &RecordingServices,
    rows: &[f32],
) -> Result<Learned, HostError> {
    let pooled = || BorrowedArray::f32(&[rows.len() / 3, 3], rows);
    fit_pair(host, id, parameters, services, [pooled(), pooled()], rows.len() / 3)
}

fn fit_pair(
    host: &Host,
    id: &str,
    parameters: &Json,
    services: &RecordingServices,
    [a, b]: [BorrowedArray<'_>; 2],
    count: usize,
) -> Result<Learned, HostError> {
    let numbers: Vec<i64> = (0..).take(count).collect();
    let row = || BorrowedArray::i64(&[count], &numbers);
    let modality = |name: &str| AlignModality { name: name.into(), dim: 3, blocks: vec![3] };
    let spec = AlignSpec { modalities: vec![modality("a"), modality("b")], anchor: Some("b".into()) };
    let data = [("a.pooled", a), ("a.row", row()), ("b.pooled", b), ("b.row", row())];
    host.aligner(id)?.fit(&spec, &data, parameters, services)
}

fn isolated(name: &str) -> Host {
    host_with(&[library(name)], isolated_options())
}

fn limited(limits: IsolationLimits) -> Host {
    host_with(&[library("fixture-hostile")], HostOptions { limits, ..isolated_options() })
}

/// Returns what a fit returns, as text; the addresses of its data are those of the process.
fn described(learned: &Learned) -> String {
    let mut notes = learned.notes.clone();
    if let Some(notes) = notes.as_object_mut() {
        notes.remove("addresses");
    }
    let graphs = learned.maps.iter().chain(learned.inverses.iter().flatten().map(|inverse| &inverse.graph));
    let bytes: Vec<Vec<u8>> = graphs.map(|graph| graph.to_bytes().unwrap()).collect();
    format!("{notes} {} {bytes:?}", learned.parameters)
}

#[test]
fn a_fit_has_the_same_result_as_in_this_process() {
    // 300 KB of data are passed in shared memory, twelve numbers through the socket.
    let many: Vec<f32> = (0..75_000).map(|i| (i % 977) as f32).collect();
    for rows in [&ROWS[..], &many] {
        for parameters in [json!({ "k": 3 }), json!({ "run": true }), json!({ "train": 2 })] {
            let (here, there) = (RecordingServices::default(), RecordingServices::default());
            let expected =
                fit_rows(&host_of(&[library("fixture-plain")]), "first-columns", &parameters, &here, rows);
            let got = fit_rows(&isolated("fixture-plain"), "first-columns", &parameters, &there, rows);
            assert_eq!(described(&expected.unwrap()), described(&got.unwrap()));
            assert_eq!(there.log.lock().unwrap()[0], "fixture-plain Warning: fitting");
        }
    }
}

/// Values in memory that can be shared are not copied, and a later fit on other values does not see the old
/// ones.
#[test]
fn shared_values_are_read_in_place() {
    let count = 200_000;
    let values = |step: usize| {
        SharedValues::filled(3 * count, |all| {
            all.iter_mut().enumerate().for_each(|(at, to)| *to = (at * step % 1009) as f32)
        })
    };
    let (first, second) = (values(1), values(7));
    let plain = second.as_slice().to_vec();
    let shape = [count, 3];
    let shared = |values| BorrowedArray::shared(&shape, values);
    let (here, there) = (host_of(&[library("fixture-plain")]), isolated("fixture-plain"));
    let fit = |host: &Host, pair| {
        fit_pair(host, "first-columns", &json!({ "k": 2 }), &RecordingServices::default(), pair, count)
            .unwrap()
    };
    let address = |learned: &Learned, at: usize| learned.notes["addresses"][at].as_u64().unwrap();
    let once = fit(&there, [shared(&first), shared(&first)]);
    assert_eq!(address(&once, 0), address(&once, 1), "one array was mapped twice");
    let again = fit(&there, [shared(&first), shared(&second)]);
    assert_eq!(address(&once, 0), address(&again, 0), "the array was mapped again");
    let mixed = fit(&there, [shared(&second), BorrowedArray::f32(&shape, &plain)]);
    for (got, pair) in [
        (&once, [shared(&first), shared(&first)]),
        (&again, [shared(&first), shared(&second)]),
        (&mixed, [shared(&second), shared(&second)]),
    ] {
        assert_eq!(described(got), described(&fit(&here, pair)));
    }
    let in_place = fit(&here, [shared(&first), shared(&second)]);
    assert_eq!(address(&in_place, 0), first.as_slice().as_ptr().addr() as u64);
    assert_ne!(once.notes["sum"], mixed.notes["sum"]);
}

#[test]
fn errors_and_invalid_results_are_the_same_as_in_this_process() {
    let (here, there) = (host_of(&[library("fixture-hostile")]), isolated("fixture-hostile"));
    for does in [
        "panic",
        "panic-rayon",
        "panic-payload",
        "error",
        "nan-weights",
        "wrong-port",
        "missing-map",
        "run-garbage",
        "parameters-no-object",
    ] {
        let parameters = json!({ "does": does });
        let expected = fit(&here, "hostile", &parameters, &RecordingServices::default()).unwrap_err();
        let got = fit(&there, "hostile", &parameters, &RecordingServices::default()).unwrap_err();
        assert_eq!(expected, got, "{does}");
    }
    let services = || RecordingServices { stop_at: Some(100), ..RecordingServices::default() };
    let stopped = fit(&there, "hostile", &json!({ "does": "forever" }), &services()).unwrap_err();
    assert_eq!(stopped.code, Code::CANCELLED);
}

#[test]
fn a_fault_that_ends_the_process_is_one_error_and_the_next_fit_works() {
    let limits = IsolationLimits { memory: Some(1 << 30), ..IsolationLimits::default() };
    let host = limited(limits);
    for (does, words) in [
        ("segfault", "signal 11 (segmentation fault)"),
        ("write-beyond", "signal 11"),
        ("stack-overflow", "overflow"),
        ("exit", "ended with exit code 0"),
        ("abort", "signal 6 (abort)"),
        ("allocate", "memory allocation of"),
    ] {
        let error =
            fit(&host, "hostile", &json!({ "does": does }), &RecordingServices::default()).unwrap_err();
        assert_eq!((error.code, error.phase), (Code::CRASHED, Phase::Fit), "{does}: {error}");
        let text = error.to_string();
        for part in
            ["fixture-hostile", env!("CARGO_PKG_VERSION"), "fitting", words, "report it to its author"]
        {
            assert!(text.contains(part), "{does}: `{part}` is missing: {text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
        fit(&host, "hostile", &json!({}), &RecordingServices::default()).unwrap();
    }
}

#[test]
fn a_program_that_the_plugin_started_does_not_hold_up_the_host() {
    let started = Instant::now();
    let set = json!({ "does": "leave-child" });
    let error =
        fit(&isolated("fixture-hostile"), "hostile", &set, &RecordingServices::default()).unwrap_err();
    assert!(error.message.contains("signal 11"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_plugin_cannot_change_the_data_of_the_host() {
    let rows = vec![2.0; 300_000];
    let host = isolated("fixture-hostile");
    let set = json!({ "does": "write-input" });
    let error = fit_rows(&host, "hostile", &set, &RecordingServices::default(), &rows).unwrap_err();
    assert!(error.message.contains("signal 11"), "{error}");
    assert!(rows.iter().all(|value| *value == 2.0));
}

#[test]
fn a_call_without_a_sign_of_life_is_stopped() {
    let host = limited(IsolationLimits { silence: Duration::from_millis(300), ..IsolationLimits::default() });
    let started = Instant::now();
    let error = fit(&host, "hostile", &json!({ "does": "hang" }), &RecordingServices::default()).unwrap_err();
    assert!(
        error.message.contains("no sign of life") && error.message.contains("--plugin-timeout"),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_process_that_reads_nothing_is_stopped() {
    let host = limited(IsolationLimits { silence: Duration::from_secs(1), ..IsolationLimits::default() });
    let services = RecordingServices::default();
    fit(&host, "hostile", &json!({}), &services).unwrap();
    // The process was started by this thread. It is suspended, and the parameters do not fit in the socket.
    let children = fs::read_to_string("/proc/thread-self/children").unwrap();
    let child = children.split_whitespace().next().unwrap().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::STOP).unwrap();
    let started = Instant::now();
    let long = "x".repeat(4 << 20);
    let error = fit(&host, "hostile", &json!({ "does": long }), &services).unwrap_err();
    assert_eq!(error.code, Code::CRASHED, "{error}");
    assert!(error.to_string().contains("no sign of life"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    // The next call starts another process.
    fit(&host, "hostile", &json!({}), &services).unwrap();
}

#[test]
fn a_plugin_that_ignores_the_user_is_stopped() {
    let host = limited(IsolationLimits { stop: Duration::from_millis(300), ..IsolationLimits::default() });
    let services = RecordingServices { stopped: true, ..RecordingServices::default() };
    let error = fit(&host, "hostile", &json!({ "does": "hang" }), &services).unwrap_err();
    assert_eq!(error.code, Code::CANCELLED, "{error}");
}

#[test]
fn what_a_plugin_prints_neither_reaches_the_terminal_nor_fills_the_memory() {
    let host = isolated("fixture-hostile");
    fit(&host, "hostile", &json!({ "does": "print" }), &RecordingServices::default()).unwrap();
}

#[test]
fn a_pointer_kept_from_an_earlier_call_does_no_harm_here() {
    let host = isolated("fixture-hostile");
    fit(&host, "hostile", &json!({ "does": "keep" }), &RecordingServices::default()).unwrap();
    // Whether the plugin's process survives depends on its allocator.
    let _ = fit(&host, "hostile", &json!({ "does": "read-kept" }), &RecordingServices::default());
    fit(&host, "hostile", &json!({}), &RecordingServices::default()).unwrap();
}

#[test]
fn a_crash_while_the_library_is_loaded_is_an_error() {
    for (does, words) in [
        ("segfault", "signal 11"),
        ("exit", "exit code 3"),
        ("hang", "no sign of life"),
        ("panic", "signal 6"),
    ] {
        let mut options = isolated_options();
        options.worker.as_mut().unwrap().variables.push(("CHIASM_FIXTURE_AT_LOAD".into(), does.into()));
        options.limits.silence = Duration::from_millis(500);
        let host = host_with(&[library("fixture-hostile")], options);
        let error = host.aligner("hostile").err().unwrap();
        assert_eq!((error.code, error.phase), (Code::CRASHED, Phase::Load));
        assert!(error.message.contains(words), "{does}: {error}");
    }
}

fn open(host: &Host, does: &str) -> chiasm_host::AdapterInstance {
    let port = serde_json::from_value(json!({ "name": "x", "dtype": "f32", "dims": ["n", null] })).unwrap();
    let spec =
        EncoderSpec { preprocessing: json!({ "does": does }), inputs: vec![port], ..Default::default() };
    host.adapter("hostile").unwrap().open(&spec, &RecordingServices::default()).unwrap()
}

#[test]
fn only_the_item_that_crashes_an_adapter_fails() {
    let adapter = open(&isolated("fixture-hostile"), "segfault-once");
    let outcomes: Vec<Result<(), HostError>> = std::thread::scope(|scope| {
        let item = |i: usize| {
            let adapter = &adapter;
            scope
                .spawn(move || adapter.prepare(Item::Text(if i % 8 == 3 { "bad" } else { "good" })).map(drop))
        };
        let threads: Vec<_> = (0..32).map(item).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (i, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(i % 8, 3),
            Err(error) => {
                assert_eq!((i % 8, error.code, error.phase), (3, Code::CRASHED, Phase::Prepare), "{error}");
            }
        }
    }
}

#[test]
fn large_items_of_several_threads_arrive_whole() {
    let adapter = open(&isolated("fixture-hostile"), "large");
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let adapter = &adapter;
            scope.spawn(move || {
                for round in 0..20 {
                    let length = [10, 20_000, 300_000][(thread + round) % 3] + thread;
                    let tensor = adapter.prepare(Item::Text(&length.to_string())).unwrap().remove(0);
                    let values = tensor.as_f32().unwrap();
                    assert_eq!(values.len(), length);
                    assert!(values.iter().enumerate().all(|(i, value)| *value == i as f32));
                }
            });
        }
    });
}

#[test]
fn a_reload_serves_new_handles_and_leaves_old_ones_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("libplain.so");
    fs::copy(library("fixture-plain"), &path).unwrap();
    for options in [HostOptions::default(), isolated_options()] {
        let host = host_with(std::slice::from_ref(&path), options);
        let old = host.adapter("rows").unwrap();
        host.reload("fixture-plain").unwrap();
        let spec = EncoderSpec { preprocessing: json!({ "dim": 4 }), ..EncoderSpec::default() };
        for factory in [old, host.adapter("rows").unwrap()] {
            let adapter = factory.open(&spec, &RecordingServices::default()).unwrap();
            assert_eq!(adapter.prepare(Item::Row(7)).unwrap()[0].as_f32().unwrap(), [7.0; 4]);
        }
        // A file that cannot be used leaves the old library in place.
        let other = folder.path().join("other.so");
        fs::copy(library("fixture-hostile"), &other).unwrap();
        fs::rename(&other, &path).unwrap();
        let refused = host.reload("fixture-plain").unwrap_err();
        assert!(refused.message.contains("holds the plugin fixture-hostile"), "{refused}");
        host.adapter("rows").unwrap().open(&spec, &RecordingServices::default()).unwrap();
        fs::copy(library("fixture-plain"), &other).unwrap();
        fs::rename(&other, &path).unwrap();
    }
}

#[test]
fn a_plugin_that_crashed_in_three_commands_is_refused_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let records = CrashRecords::new(folder.path().join("crashes"));
    let options = || HostOptions { crashes: Some(records.clone()), ..isolated_options() };
    let host = || host_with(&[library("fixture-hostile")], options());
    let services = RecordingServices::default();
    let crash = |host: &Host| fit(host, "hostile", &json!({ "does": "segfault" }), &services).unwrap_err();

    // Two crashes in one command count once.
    let first = host();
    assert_eq!([crash(&first).code, crash(&first).code], [Code::CRASHED; 2]);
    let mut record = records.all().pop().unwrap();
    assert_eq!((record.id.as_str(), record.commands), ("fixture-hostile", 1));
    assert!(record.last.contains("segmentation fault"), "{}", record.last);
    // It runs again, in a process of its own even if it is locked.
    let mut lock = PluginLock::empty(folder.path().join("chiasm.lock"));
    lock.insert(LockedPlugin {
        id: record.id.clone(),
        target: chiasm_host::target(),
        version: record.version.clone(),
        sha256: record.sha256.clone(),
    });
    let locked = |options| HostOptions { lock: Some(lock.clone()), isolation: Isolation::Auto, ..options };
    let here = host_with(&[library("fixture-hostile")], HostOptions { crashes: None, ..locked(options()) });
    assert!(!here.load("fixture-hostile").unwrap().0);
    let there = host_with(&[library("fixture-hostile")], locked(options()));
    assert!(there.load("fixture-hostile").unwrap().0);

    // A process that another program ends is no crash of its plugin. It was started by this thread.
    fit(&there, "hostile", &json!({}), &services).unwrap();
    let children = fs::read_to_string("/proc/thread-self/children").unwrap();
    for child in children.split_whitespace() {
        let child = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    }
    let ended = fit(&there, "hostile", &json!({}), &services).unwrap_err();
    assert!(ended.message.contains("signal 9") && ended.message.contains("another program"), "{ended}");
    assert!(records.all()[0].last.contains("segmentation fault"), "{:?}", records.all());

    // Two more commands, as other processes write them.
    record.commands = QUARANTINE_AFTER;
    let path = folder.path().join("crashes").join(format!("{}.json", record.sha256));
    fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
    let refused = host().load("fixture-hostile").unwrap_err().to_string();
    for part in ["quarantine", "3 commands", "segmentation fault", "chiasm plugin retry fixture-hostile"] {
        assert!(refused.contains(part), "{refused}");
    }
    // Another plugin is not affected, and a released one runs again.
    assert!(host_with(&[library("fixture-plain")], options()).load("fixture-plain").is_ok());
    assert_eq!(records.release("fixture-hostile").unwrap(), [record]);
    assert!(host().load("fixture-hostile").is_ok());
    // A damaged record is none.
    fs::write(&path, "{").unwrap();
    assert!(host().load("fixture-hostile").is_ok());
}
