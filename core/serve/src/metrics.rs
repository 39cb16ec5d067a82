//! Counters and histograms in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The upper bounds of the latencies in seconds.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// The upper bounds of the numbers of items of a batch.
const ITEMS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What is counted.
#[derive(Default)]
pub struct Metrics(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    requests: BTreeMap<(String, u16), u64>,
    latencies: BTreeMap<String, Histogram>,
    batches: BTreeMap<String, Histogram>,
    loads: BTreeMap<(String, &'static str), u64>,
}

/// Counts of values up to each bound, and of larger ones.
struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Metrics {
    /// Counts a request that was answered.
    pub fn request(&self, route: &str, status: u16, time: Duration) {
        let mut counts = self.lock();
        *counts.requests.entry((route.to_owned(), status)).or_default() += 1;
        let latencies = counts.latencies.entry(route.to_owned());
        latencies.or_insert_with(|| Histogram::new(&SECONDS)).add(time.as_secs_f64());
    }

    /// Counts a batch of a model.
    pub fn batch(&self, model: &str, items: usize) {
        let mut counts = self.lock();
        let batches = counts.batches.entry(model.to_owned());
        batches.or_insert_with(|| Histogram::new(&ITEMS)).add(items as f64);
    }

    /// Counts that a run was loaded, or could not be.
    pub fn load(&self, model: &str, good: bool) {
        let result = if good { "loaded" } else { "failed" };
        *self.lock().loads.entry((model.to_owned(), result)).or_default() += 1;
    }

    /// Returns all of it as text. `waiting` holds the models and the numbers of items that wait.
    pub fn text(&self, waiting: &[(String, usize)]) -> String {
        let counts = self.lock();
        let mut text = String::new();
        header(&mut text, "chiasm_requests_total", "counter", "Requests that were answered.");
        for ((route, status), count) in &counts.requests {
            line(
                &mut text,
                "chiasm_requests_total",
                &[("route", route), ("status", &status.to_string())],
                count,
            );
        }
        header(&mut text, "chiasm_request_seconds", "histogram", "Time from a request to its answer.");
        for (route, latencies) in &counts.latencies {
            latencies.write(&mut text, "chiasm_request_seconds", ("route", route));
        }
        header(&mut text, "chiasm_batch_items", "histogram", "Items that were run together.");
        for (model, batches) in &counts.batches {
            batches.write(&mut text, "chiasm_batch_items", ("model", model));
        }
        header(&mut text, "chiasm_queue_items", "gauge", "Items that wait in the queue.");
        for (model, items) in waiting {
            line(&mut text, "chiasm_queue_items", &[("model", model)], items);
        }
        header(&mut text, "chiasm_loads_total", "counter", "Runs that were loaded, or could not be.");
        for ((model, result), count) in &counts.loads {
            line(&mut text, "chiasm_loads_total", &[("model", model), ("result", result)], count);
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
        self.sum += value;
    }

    fn write(&self, text: &mut String, name: &str, label: (&str, &str)) {
        let mut total = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            total += count;
            line(text, &format!("{name}_bucket"), &[label, ("le", &bound)], &total);
        }
        line(text, &format!("{name}_sum"), &[label], &self.sum);
        line(text, &format!("{name}_count"), &[label], &total);
    }
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: &dyn std::fmt::Display) {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
    let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_value_up_to_each_bound() {
        let metrics = Metrics::default();
        for items in [1, 1, 2, 3, 64, 1000] {
            metrics.batch("m", items);
        }
        metrics.request("/a\"b", 200, Duration::from_millis(2));
        let text = metrics.text(&[("m".to_owned(), 5)]);
        for line in [
            "chiasm_batch_items_bucket{model=\"m\",le=\"1\"} 2",
            "chiasm_batch_items_bucket{model=\"m\",le=\"2\"} 3",
            "chiasm_batch_items_bucket{model=\"m\",le=\"4\"} 4",
            "chiasm_batch_items_bucket{model=\"m\",le=\"64\"} 5",
            "chiasm_batch_items_bucket{model=\"m\",le=\"+Inf\"} 6",
            "chiasm_batch_items_sum{model=\"m\"} 1071",
            "chiasm_batch_items_count{model=\"m\"} 6",
            "chiasm_queue_items{model=\"m\"} 5",
            "chiasm_requests_total{route=\"/a\\\"b\",status=\"200\"} 1",
            "chiasm_request_seconds_bucket{route=\"/a\\\"b\",le=\"0.001\"} 0",
            "chiasm_request_seconds_bucket{route=\"/a\\\"b\",le=\"0.0025\"} 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in\n{text}");
        }
    }
}
