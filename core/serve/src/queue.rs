//! The bounded queue of a run, from which its workers take batches, and the sessions that are free.

use crate::job::{Job, Work};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Why jobs were not accepted.
pub enum Refused {
    /// The queue is full: the number of items that wait.
    Full(usize),
    /// The run was replaced by a newer one; the jobs are returned.
    Closed(Vec<Job>),
}

/// So many items may always be run together.
pub const FEW: usize = 64;

/// So many requests must have come one after the other before the next is run without a worker. When requests
/// come side by side, it is faster to run them together.
const LONE: usize = 16;

/// A bounded queue of jobs, and the sessions `S` on which no job runs. Who runs jobs takes sessions with
/// them, and puts these back.
pub struct JobQueue<S> {
    state: Mutex<QueueState<S>>,
    changed: Condvar,
    /// The most items.
    limit: usize,
    /// The number of all sessions.
    sessions: usize,
}

struct QueueState<S> {
    jobs: VecDeque<Job>,
    items: usize,
    /// The items that workers have taken, and not yet run.
    taken: usize,
    closed: bool,
    /// The sessions used last are taken first: they are in the caches of the processor.
    free: Vec<S>,
    /// The workers that wait for their batch to fill.
    filling: usize,
    /// The requests before this one that came, one after the other, when nothing waited or ran.
    lone: usize,
}

impl<S> JobQueue<S> {
    /// Returns a queue for this many items.
    pub fn new(limit: usize, free: Vec<S>) -> Self {
        let sessions = free.len();
        let jobs = VecDeque::new();
        let state = QueueState { jobs, items: 0, taken: 0, closed: false, free, filling: 0, lone: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new(), limit, sessions }
    }

    /// Adds the jobs of one request, all or none. If it is one job, nothing else waits or runs, this was so
    /// for the last requests too, and `at_once` holds for the sessions used last, both are returned
    /// instead: the caller runs the job, without waking a worker.
    pub fn push(
        &self,
        mut jobs: Vec<Job>,
        at_once: impl Fn(&S, &Work) -> bool,
    ) -> Result<Option<(Job, S)>, Refused> {
        let mut state = self.lock();
        let items: usize = jobs.iter().map(|job| job.work.items()).sum();
        if state.closed {
            return Err(Refused::Closed(jobs));
        }
        if state.items + items > self.limit {
            return Err(Refused::Full(state.items));
        }
        let alone = jobs.len() == 1 && state.jobs.is_empty() && state.free.len() == self.sessions;
        state.lone = if alone { state.lone + 1 } else { 0 };
        if state.lone > LONE
            && state.free.last().is_some_and(|free| at_once(free, &jobs[0].work))
            && let Some(sessions) = state.free.pop()
        {
            return Ok(jobs.pop().map(|job| (job, sessions)));
        }
        state.items += items;
        state.jobs.extend(jobs);
        self.wake(&state);
        Ok(None)
    }

    /// Makes the sessions of another thread free again, and wakes a worker if jobs wait for them.
    pub fn put(&self, sessions: S) {
        let mut state = self.lock();
        state.free.push(sessions);
        self.wake(&state);
    }

    /// Makes the sessions of a worker free again, which has run this many items and then takes what waits.
    pub fn put_back(&self, sessions: S, items: usize) {
        let mut state = self.lock();
        state.free.push(sessions);
        state.taken -= items;
    }

    /// Wakes the workers that have something to do. A worker that fills its batch must see every job; of
    /// those that wait for a first job, one is enough for each job.
    fn wake(&self, state: &QueueState<S>) {
        match (state.jobs.len(), state.free.len()) {
            _ if state.closed || state.filling > 0 => self.changed.notify_all(),
            (0, _) | (_, 0) => {}
            (1, _) | (_, 1) => self.changed.notify_one(),
            _ => self.changed.notify_all(),
        }
    }

    /// Returns jobs that can be run together, or `None` when the queue is closed and empty.
    ///
    /// They have no more items than `most` gives for the sessions and the first job, unless that one alone
    /// has more. If they have more than [`FEW`], they are also no more than one session's equal share of all
    /// that waits and runs, so that all sessions are used. The call waits for the first job and for free
    /// sessions, and then until the batch is full or the first job has waited for `delay`; work that nothing
    /// can be run with is returned at once.
    pub fn take(&self, most: impl Fn(&S, &Work) -> usize, delay: Duration) -> Option<(Vec<Job>, S)> {
        let mut state = self.lock();
        let (first, sessions) = loop {
            if let Some(sessions) = state.free.pop() {
                match state.next() {
                    Some(job) => break (job, sessions),
                    None => state.free.push(sessions),
                }
            }
            if state.closed && state.jobs.is_empty() {
                self.wake(&state);
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let (mut items, until) = (first.work.items(), first.queued + delay);
        let alone = !first.work.joins(&first.work);
        let most = most(&sessions, &first.work);
        let mut batch = vec![first];
        loop {
            let share = (items + state.items + state.taken).div_ceil(self.sessions).max(FEW);
            let most = most.min(share);
            state.join(&mut batch, &mut items, most);
            let left = until.saturating_duration_since(Instant::now());
            if alone || items >= most || left.is_zero() || state.closed {
                state.taken += items;
                return Some((batch, sessions));
            }
            state.filling += 1;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.filling -= 1;
        }
    }

    /// Accepts no more jobs. Those that wait are still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns the number of items that wait.
    pub fn waiting(&self) -> usize {
        self.lock().items
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> QueueState<S> {
    /// Takes the first job whose client is still there.
    fn next(&mut self) -> Option<Job> {
        loop {
            let job = self.jobs.pop_front()?;
            self.items -= job.work.items();
            if !job.reply.is_closed() {
                return Some(job);
            }
        }
    }

    /// Moves the jobs that can be run with the first of a batch, in order, as long as they fit.
    fn join(&mut self, batch: &mut Vec<Job>, items: &mut usize, most: usize) {
        let mut at = 0;
        while at < self.jobs.len() && *items < most {
            let job = &self.jobs[at];
            let fits = *items + job.work.items() <= most;
            if !(fits && batch[0].work.joins(&job.work)) {
                at += 1;
                continue;
            }
            if let Some(job) = self.jobs.remove(at) {
                self.items -= job.work.items();
                if !job.reply.is_closed() {
                    *items += job.work.items();
                    batch.push(job);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api_error::ApiError, job::Outputs};
    use chiasm_pipeline::RawItem;
    use tokio::sync::oneshot;

    type Reply = oneshot::Receiver<Result<Outputs, ApiError>>;

    fn job(modality: &str, items: usize) -> (Job, Reply) {
        let (reply, receiver) = oneshot::channel();
        let columns = vec![vec![RawItem::Row(0); items]];
        let work = Work::Items { modalities: vec![modality.to_owned()], columns, files: Vec::new() };
        (Job { work, reply, queued: Instant::now() }, receiver)
    }

    fn sizes(batch: &[Job]) -> Vec<usize> {
        batch.iter().map(|job| job.work.items()).collect()
    }

    fn never(_: &char, _: &Work) -> bool {
        false
    }

    /// Takes a batch, and puts the sessions back at once.
    fn take(queue: &JobQueue<char>, most: usize, delay: Duration) -> Option<Vec<Job>> {
        let (batch, sessions) = queue.take(|_, _| most, delay)?;
        queue.put_back(sessions, sizes(&batch).iter().sum());
        Some(batch)
    }

    #[test]
    fn a_batch_has_jobs_of_one_kind_in_order_and_within_its_size() {
        let queue = JobQueue::new(100, vec!['s']);
        let (jobs, _replies): (Vec<Job>, Vec<Reply>) =
            [("a", 3), ("b", 5), ("a", 4), ("a", 9), ("a", 1)].map(|(m, n)| job(m, n)).into_iter().unzip();
        assert!(queue.push(jobs, never).is_ok());
        assert_eq!(queue.waiting(), 22);
        let next = || sizes(&take(&queue, 8, Duration::ZERO).unwrap());
        assert_eq!([next(), next(), next()], [vec![3, 4, 1], vec![5], vec![9]]);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_full_queue_refuses_a_request_as_a_whole() {
        let queue = JobQueue::new(10, vec!['s']);
        let (first, _first) = job("a", 8);
        assert!(queue.push(vec![first], never).is_ok());
        let ((small, _small), (large, _large)) = (job("a", 1), job("a", 2));
        assert!(matches!(queue.push(vec![small, large], never), Err(Refused::Full(8))));
        assert_eq!(queue.waiting(), 8);
    }

    #[test]
    fn jobs_of_clients_that_have_gone_are_left_out() {
        let queue = JobQueue::new(10, vec!['s']);
        let ((gone, reply), (here, _reply), (gone_too, reply_too)) = (job("a", 1), job("a", 2), job("a", 3));
        assert!(queue.push(vec![gone, here, gone_too], never).is_ok());
        drop((reply, reply_too));
        assert_eq!(sizes(&take(&queue, 8, Duration::ZERO).unwrap()), [2]);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_returns_new_jobs() {
        let queue = JobQueue::new(10, vec!['s']);
        let ((one, _one), (two, _two)) = (job("a", 1), job("a", 2));
        assert!(queue.push(vec![one], never).is_ok());
        queue.close();
        assert!(matches!(queue.push(vec![two], never), Err(Refused::Closed(jobs)) if jobs.len() == 1));
        assert_eq!(sizes(&take(&queue, 8, Duration::from_secs(60)).unwrap()), [1]);
        assert!(take(&queue, 8, Duration::ZERO).is_none());
    }

    #[test]
    fn a_worker_waits_for_a_batch_to_fill_but_not_longer_than_the_delay() {
        let queue = JobQueue::new(10, vec!['s']);
        let ((one, _one), (two, _two)) = (job("a", 1), job("a", 2));
        assert!(queue.push(vec![one], never).is_ok());
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| take(&queue, 3, Duration::from_secs(60)));
            assert!(queue.push(vec![two], never).is_ok());
            assert_eq!(sizes(&taken.join().unwrap().unwrap()), [1, 2]);
        });
        let (reply, _tensors) = oneshot::channel();
        let work = Work::Tensors { inputs: Vec::new(), outputs: Vec::new() };
        assert!(queue.push(vec![Job { work, reply, queued: Instant::now() }], never).is_ok());
        let started = Instant::now();
        assert_eq!(take(&queue, 8, Duration::from_secs(60)).unwrap().len(), 1);
        assert!(started.elapsed() < Duration::from_secs(20), "nothing can be run with tensors");
        let (three, _three) = job("a", 3);
        assert!(queue.push(vec![three], never).is_ok());
        let delay = Duration::from_millis(30);
        let started = Instant::now();
        assert_eq!(sizes(&take(&queue, 8, delay).unwrap()), [3]);
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_waits_is_shared_among_the_sessions() {
        let queue = JobQueue::new(2000, vec!['s', 't']);
        let push = |count: usize| {
            let (jobs, replies): (Vec<Job>, Vec<Reply>) = (0..count).map(|_| job("a", FEW)).unzip();
            assert!(queue.push(jobs, never).is_ok());
            replies
        };
        let _replies = push(1);
        let next = || {
            let (batch, sessions) = queue.take(|_, _| 1000, Duration::ZERO).unwrap();
            (batch.len() * FEW, sessions)
        };
        let (few, first) = next();
        assert_eq!(few, FEW, "nothing else waits");
        let _more = push(7);
        let (half, second) = next();
        assert_eq!(half, 4 * FEW, "half of the eight in all, one of which runs");
        queue.put_back(first, few);
        let (rest, _) = next();
        assert_eq!(rest, 3 * FEW);
        queue.put_back(second, half);
        let _more = push(8);
        let (most, _) = queue.take(|_, _| 100, Duration::ZERO).unwrap();
        assert_eq!(sizes(&most), [FEW], "two would be more than the sessions may run");
    }

    /// Pushes one item. Returns the sessions to run it on, if any, and drops the job.
    fn push_one(queue: &JobQueue<char>) -> Option<char> {
        let (one, _reply) = job("a", 1);
        let pushed = queue.push(vec![one], |_, work| work.items() == 1);
        pushed.ok().flatten().map(|(_, sessions)| sessions)
    }

    #[test]
    fn a_request_after_many_lone_ones_is_run_by_its_caller() {
        let queue = JobQueue::new(10, vec!['s', 't']);
        let lone = |count: usize| {
            for _ in 0..count {
                assert_eq!(push_one(&queue), None, "too few so far");
                assert!(queue.lock().next().is_none(), "its client has gone");
            }
        };
        lone(LONE);
        assert_eq!(push_one(&queue), Some('t'), "the sessions used last");
        // One comes while it runs: the next ones wait for workers again.
        assert_eq!(push_one(&queue), None);
        queue.put('t');
        let (two, _two) = job("a", 2);
        assert!(matches!(queue.push(vec![two], |_, _| true), Ok(None)));
        assert_eq!(sizes(&take(&queue, 8, Duration::ZERO).unwrap()), [2]);
        lone(LONE);
        let (two, _two) = job("a", 2);
        assert!(matches!(queue.push(vec![two], |_, work| work.items() == 1), Ok(None)), "not one item");
    }

    #[test]
    fn a_worker_waits_for_sessions_that_another_thread_uses() {
        let queue = JobQueue::new(10, vec!['s']);
        let ((one, _one), (two, _two)) = (job("a", 1), job("a", 2));
        assert!(queue.push(vec![one], never).is_ok());
        let (_, used) = queue.take(|_, _| 8, Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.take(|_, _| 8, Duration::ZERO));
            assert!(queue.push(vec![two], never).is_ok());
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(queue.waiting(), 2, "a job was taken without sessions");
            queue.put(used);
            assert_eq!(sizes(&taken.join().unwrap().unwrap().0), [2]);
        });
    }
}
