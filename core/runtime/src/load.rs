//! Whether other programs need the processor cores.
//!
//! The engine's threads wait for work in a busy loop, which is fastest while every thread has a core of its
//! own. When another program runs, the scheduler takes a core from a thread that computes and leaves it to
//! one that waits: a training step on two cores with three compilers beside it took 138 ms instead of 94. A
//! session that starts while the cores are shared therefore lets its threads sleep. Its results are the same.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// How often the runnable threads are counted, since a single count may see a short-lived process.
const SAMPLES: usize = 3;
const BETWEEN: Duration = Duration::from_millis(1);

/// Above this load of a core during the last minute others must have run: this program alone loads a core by
/// one.
const SHARED_LOAD: f64 = 1.25;

/// Whether other programs and this many threads need more cores than there are, now or on average over the
/// last minute. False where the system does not say, that is, without `/proc`.
pub(crate) fn is_shared(threads: usize) -> bool {
    let cores = crate::threads(0);
    let Some(load) = Load::now() else { return false };
    let busy = |sample: usize| {
        if sample > 0 {
            sleep(BETWEEN);
        }
        others_running().is_some_and(|others| others > 0 && others + threads > cores)
    };
    load.last_minute > SHARED_LOAD * cores as f64
        || (0..SAMPLES).filter(|sample| busy(*sample)).count() > SAMPLES / 2
}

/// The number of threads of other programs that run or wait for a core.
fn others_running() -> Option<usize> {
    let all = Load::now()?.runnable;
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let own = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let own = own.filter(|stat| is_running(stat)).count();
    Some(all.saturating_sub(own))
}

/// The load of the system.
#[derive(Debug, PartialEq)]
struct Load {
    /// Mean number of threads that ran or waited for a core, over about a minute.
    last_minute: f64,
    /// Threads that run or wait for a core.
    runnable: usize,
}

impl Load {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/loadavg").ok()?)
    }

    /// Reads a line of `/proc/loadavg`: three averages, then the runnable threads and all threads.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (runnable, _) = words.get(3)?.split_once('/')?;
        Some(Self { last_minute: words[0].parse().ok()?, runnable: runnable.parse().ok()? })
    }
}

/// Whether a thread runs, by its `stat`: the state follows the name, which may hold spaces and parentheses.
fn is_running(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('R'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as in proc(5).
    #[test]
    fn runnable_threads_are_read() {
        let load = Load { last_minute: 6.03, runnable: 4 };
        assert_eq!(Load::parse("6.03 6.11 4.59 4/114 24961\n"), Some(load));
        assert_eq!(Load::parse(""), None);
        assert!(is_running("17 (a (b) c) R 1 17"));
        assert!(!is_running("17 (R) S 1 17"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_own_threads_are_not_others() {
        assert!(Load::now().unwrap().runnable > 0, "this thread runs");
        assert!(others_running().is_some());
    }
}
