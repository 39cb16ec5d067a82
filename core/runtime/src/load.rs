//! Whether other programs need the processor cores.
//!
//! The engine's threads wait for work in a busy loop, which is fastest while every thread has a core of its
//! own. When another program runs, the scheduler takes a core from a thread that computes and leaves it to
//! one that waits: a fit on two cores with three compilers beside it took 76 s instead of 3. A session that
//! starts while the cores are shared therefore lets its threads sleep. Its results are the same.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// How often the runnable threads are counted, since a single count may see a short-lived process.
const SAMPLES: usize = 3;
const BETWEEN: Duration = Duration::from_millis(1);

/// Whether other programs and this many threads need more cores than there are. False where the system does
/// not say, that is, without `/proc`.
pub(crate) fn is_shared(threads: usize) -> bool {
    let cores = crate::threads(0);
    let busy = |sample: usize| {
        if sample > 0 {
            sleep(BETWEEN);
        }
        others_running().is_some_and(|others| others > 0 && others + threads > cores)
    };
    (0..SAMPLES).filter(|sample| busy(*sample)).count() > SAMPLES / 2
}

/// The number of threads of other programs that run or wait for a core.
fn others_running() -> Option<usize> {
    let all = runnable(&fs::read_to_string("/proc/loadavg").ok()?)?;
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let own = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let own = own.filter(|stat| is_running(stat)).count();
    Some(all.saturating_sub(own))
}

/// The runnable threads of the system: the number before the slash of `/proc/loadavg`.
fn runnable(loadavg: &str) -> Option<usize> {
    let (running, _) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    running.parse().ok()
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
        assert_eq!(runnable("6.03 6.11 4.59 4/114 24961\n"), Some(4));
        assert_eq!(runnable(""), None);
        assert!(is_running("17 (a (b) c) R 1 17"));
        assert!(!is_running("17 (R) S 1 17"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_own_threads_are_not_others() {
        let all = runnable(&fs::read_to_string("/proc/loadavg").unwrap()).unwrap();
        assert!(all > 0, "this thread runs");
        assert!(others_running().is_some());
    }
}
