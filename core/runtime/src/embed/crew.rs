//! The workers of [`super::embed`] and the board they share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chiasm_graph::Tensor;

use super::sink::{OnBad, Report, Sink};
use crate::batch::{Size, measure, plan, stack};
use crate::{Error, ItemInput, Limits, Result, Session};

/// Ragged items that are sorted together: enough that neighbours are equally long. On the CPU nothing idles
/// meanwhile, since those who would run the model prepare.
const SHARD_ITEMS: usize = 8192;
/// A shard ends early when its items hold this much.
const SHARD_BYTES: usize = 64 << 20;
/// Prepared items may wait in at most this many bytes, or shards.
const WAITING_BYTES: usize = 192 << 20;
const WAITING_SHARDS: usize = 2;

type Prepare<'a> = dyn Fn(usize) -> Result<Vec<Tensor>, String> + Sync + 'a;
type Item = Result<(Vec<Tensor>, Size), String>;
type Outputs = Vec<(String, Tensor)>;

pub(super) struct Crew<'a> {
    session: &'a Session,
    items: usize,
    inputs: &'a [ItemInput],
    outputs: &'a [&'a str],
    limits: Limits,
    ragged: bool,
    prepare: &'a Prepare<'a>,
    board: Mutex<Board<'a>>,
    changed: Condvar,
}

/// What is known and what is left to do.
struct Board<'a> {
    /// The next item to prepare.
    next: usize,
    /// The first item that is in no shard yet; `prepared[0]` is this item.
    front: usize,
    prepared: VecDeque<Option<Item>>,
    /// Bytes of items that wait, in `prepared` and in `ready`.
    waiting_bytes: usize,
    ready: VecDeque<Job>,
    /// Deliveries planned so far.
    planned: usize,
    free_lanes: Vec<usize>,
    /// What can be delivered, by its number in the plan.
    finished: BTreeMap<usize, Delivery>,
    delivered: usize,
    /// The sink, unless a worker is delivering.
    sink: Option<&'a mut dyn Sink>,
    failed: Option<Error>,
    /// A worker panicked: everyone stops, and the panic goes on in the caller.
    panicked: bool,
    done: usize,
    steps: usize,
    useful_steps: usize,
    report: Report,
}

/// A batch: the items by number, and their tensors.
struct Job {
    number: usize,
    rows: Vec<usize>,
    items: Vec<Vec<Tensor>>,
    bytes: usize,
}

/// What the sink is told, in the order of the plan: of a shard first its bad items, then its batches.
enum Delivery {
    Bad(usize, String),
    Batch(Vec<usize>, Outputs),
}

/// What a worker does next.
enum Task {
    Deliver,
    Run(Job, usize),
    Prepare(usize),
    Wait,
    Stop,
}

impl<'a> Crew<'a> {
    pub fn new(
        session: &'a Session,
        items: usize,
        inputs: &'a [ItemInput],
        outputs: &'a [&'a str],
        limits: Limits,
        prepare: &'a Prepare<'a>,
        sink: &'a mut dyn Sink,
    ) -> Self {
        let limits = Limits { rows: limits.rows.max(1), ..limits };
        let ragged = inputs.iter().any(|input| input.dims.contains(&None));
        let board = Board {
            next: 0,
            front: 0,
            prepared: VecDeque::new(),
            waiting_bytes: 0,
            ready: VecDeque::new(),
            planned: 0,
            free_lanes: (0..session.lanes()).rev().collect(),
            finished: BTreeMap::new(),
            delivered: 0,
            sink: Some(sink),
            failed: None,
            panicked: false,
            done: 0,
            steps: 0,
            useful_steps: 0,
            report: Report::default(),
        };
        let (board, changed) = (Mutex::new(board), Condvar::new());
        Self { session, items, inputs, outputs, limits, ragged, prepare, board, changed }
    }

    /// Works with `threads` workers, the caller among them, until all is delivered.
    pub fn work(self, threads: usize) -> Result<Report> {
        std::thread::scope(|scope| {
            let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.worker())).collect();
            self.worker();
            for helper in helpers {
                if let Err(panic) = helper.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        let board = self.board.into_inner().unwrap_or_else(PoisonError::into_inner);
        match board.failed {
            Some(error) => Err(error),
            None => {
                let padding = 1.0 - board.useful_steps as f64 / board.steps.max(1) as f64;
                Ok(Report { padding: if board.steps == 0 { 0.0 } else { padding }, ..board.report })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board<'a>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) {
        let _alarm = Alarm(self);
        let mut board = self.lock();
        loop {
            match self.choose(&mut board) {
                Task::Stop => break,
                Task::Wait => {
                    board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                }
                Task::Deliver => board = self.deliver(board),
                Task::Run(job, lane) => {
                    drop(board);
                    let (outputs, spent) = self.run(&job, lane);
                    board = self.lock();
                    board.take_result(job, lane, outputs, spent);
                    self.changed.notify_all();
                }
                Task::Prepare(item) => {
                    drop(board);
                    let made = (self.prepare)(item)
                        .and_then(|tensors| measure(&tensors, self.inputs).map(|size| (tensors, size)));
                    board = self.lock();
                    self.take_item(&mut board, item, made);
                }
            }
        }
        drop(board);
        self.changed.notify_all();
    }

    fn choose(&self, board: &mut Board<'a>) -> Task {
        if board.failed.is_some() || board.panicked {
            return Task::Stop;
        }
        if board.sink.is_some() && board.finished.contains_key(&board.delivered) {
            return Task::Deliver;
        }
        if board.front == self.items && board.delivered == board.planned {
            return Task::Stop;
        }
        if !board.ready.is_empty()
            && let Some(lane) = board.free_lanes.pop()
            && let Some(job) = board.ready.pop_front()
        {
            return Task::Run(job, lane);
        }
        let ahead = board.next - board.front + board.ready.iter().map(|job| job.rows.len()).sum::<usize>();
        // With batches of a few large items, enough of them are prepared ahead that no lane runs dry.
        let window = WAITING_SHARDS * self.shard_items(board).max(4 * self.session.lanes());
        let room = board.waiting_bytes < WAITING_BYTES && ahead < window;
        if board.next < self.items && room {
            board.next += 1;
            board.prepared.push_back(None);
            return Task::Prepare(board.next - 1);
        }
        Task::Wait
    }

    /// Records a prepared item, and cuts a shard when one is complete.
    fn take_item(&self, board: &mut Board<'a>, item: usize, made: Item) {
        if let Ok((_, size)) = &made {
            board.waiting_bytes += size.bytes;
        }
        let at = item - board.front;
        board.prepared[at] = Some(made);
        let planned = board.planned;
        while let Some(count) = self.shard(board) {
            self.cut(board, count);
        }
        if board.planned > planned {
            self.changed.notify_all();
        }
    }

    /// Items per shard. Without ragged axes there is nothing to sort: a shard is a batch, and the first
    /// begins at once.
    fn shard_items(&self, board: &Board<'a>) -> usize {
        match board.prepared.front() {
            _ if self.ragged => SHARD_ITEMS,
            Some(Some(Ok((_, size)))) => (self.limits.bytes / size.bytes.max(1)).clamp(1, self.limits.rows),
            _ => self.limits.rows,
        }
    }

    /// How many items the next shard takes, when all of them are prepared.
    fn shard(&self, board: &Board<'a>) -> Option<usize> {
        let (most, mut bytes) = (self.shard_items(board), 0);
        for (before, item) in board.prepared.iter().enumerate() {
            bytes += item.as_ref()?.as_ref().map_or(0, |(_, size)| size.bytes);
            let count = before + 1;
            if bytes >= SHARD_BYTES || count == most || board.front + count == self.items {
                return Some(count);
            }
        }
        None
    }

    fn cut(&self, board: &mut Board<'a>, count: usize) {
        let first = board.front;
        board.front += count;
        let shard: Vec<Item> = board.prepared.drain(..count).flatten().collect();
        let (mut rows, mut items, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (offset, item) in shard.into_iter().enumerate() {
            match item {
                Ok((tensors, size)) => {
                    rows.push(first + offset);
                    items.push(Some(tensors));
                    sizes.push(size);
                }
                Err(reason) => {
                    board.finished.insert(board.planned, Delivery::Bad(first + offset, reason));
                    board.planned += 1;
                }
            }
        }
        for batch in plan(&sizes, &self.limits) {
            let longest = batch.iter().map(|&i| sizes[i].steps).max().unwrap_or(0);
            board.steps += longest * batch.len();
            board.useful_steps += batch.iter().map(|&i| sizes[i].steps).sum::<usize>();
            board.ready.push_back(Job {
                number: board.planned,
                rows: batch.iter().map(|&i| rows[i]).collect(),
                bytes: batch.iter().map(|&i| sizes[i].bytes).sum(),
                items: batch.iter().filter_map(|&i| items[i].take()).collect(),
            });
            board.planned += 1;
        }
    }

    fn run(&self, job: &Job, lane: usize) -> (Result<Outputs>, Duration) {
        let mut stacked = Vec::with_capacity(self.inputs.len());
        for (position, input) in self.inputs.iter().enumerate() {
            let column: Vec<&Tensor> = job.items.iter().map(|item| &item[position]).collect();
            match stack(&column, input.pad) {
                Ok(tensor) => stacked.push(tensor),
                Err(error) => return (Err(error.into()), Duration::ZERO),
            }
        }
        let named: Vec<(&str, &Tensor)> =
            self.inputs.iter().map(|input| input.name.as_str()).zip(&stacked).collect();
        let start = Instant::now();
        let outputs = self.session.run_on(lane, &named, self.outputs);
        let spent = start.elapsed();
        (outputs.and_then(|outputs| one_row_each(outputs, job.rows.len(), self.session)), spent)
    }

    /// Hands what is next in order to the sink, outside the lock.
    fn deliver<'b>(&'b self, mut board: MutexGuard<'b, Board<'a>>) -> MutexGuard<'b, Board<'a>> {
        let Some(sink) = board.sink.take() else { return board };
        while board.failed.is_none() {
            let number = board.delivered;
            let Some(delivery) = board.finished.remove(&number) else { break };
            let before = board.done;
            drop(board);
            let (items, told) = self.tell(sink, delivery, before);
            board = self.lock();
            board.delivered += 1;
            board.done += items;
            match told {
                Ok(Told::Stored) => {
                    board.report.embedded += items;
                    board.report.batches += 1;
                }
                Ok(Told::Skipped(item, reason)) => board.report.skipped.push((item, reason)),
                Err(error) => board.fail(error),
            }
        }
        board.sink = Some(sink);
        self.changed.notify_all();
        board
    }

    /// Tells the sink one thing; returns how many items it was about.
    fn tell(&self, sink: &mut dyn Sink, delivery: Delivery, before: usize) -> (usize, Result<Told>) {
        let (items, told) = match delivery {
            Delivery::Bad(index, reason) => match sink.bad_item(index, &reason) {
                OnBad::Skip => (1, Ok(Told::Skipped(index, reason))),
                OnBad::Abort => (1, Err(Error::Item { index, reason })),
            },
            Delivery::Batch(rows, outputs) => {
                (rows.len(), sink.batch(&rows, outputs).map(|()| Told::Stored).map_err(Error::Sink))
            }
        };
        let done = before + items;
        if told.is_ok() && !sink.progress(done, self.items) {
            return (items, Err(Error::Cancelled { done, total: self.items }));
        }
        (items, told)
    }
}

/// What became of a delivery.
enum Told {
    Stored,
    Skipped(usize, String),
}

/// Sets the others free when a worker panics, so that the panic reaches the caller instead of a standstill.
struct Alarm<'c, 'a>(&'c Crew<'a>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().panicked = true;
            self.0.changed.notify_all();
        }
    }
}

/// Refuses outputs that do not have one row per item.
fn one_row_each(outputs: Outputs, rows: usize, session: &Session) -> Result<Outputs> {
    match outputs.iter().find(|(_, tensor)| tensor.shape().first() != Some(&rows)) {
        None => Ok(outputs),
        Some((name, tensor)) => Err(Error::Run {
            model: session.name().to_owned(),
            reason: format!(
                "output \"{name}\": expected one row for each of {rows} items, got shape {:?}",
                tensor.shape()
            ),
        }),
    }
}

impl Board<'_> {
    fn take_result(&mut self, job: Job, lane: usize, outputs: Result<Outputs>, spent: Duration) {
        self.free_lanes.push(lane);
        self.waiting_bytes -= job.bytes;
        self.report.in_session += spent;
        match outputs {
            Ok(outputs) => {
                self.finished.insert(job.number, Delivery::Batch(job.rows, outputs));
            }
            Err(error) => self.fail(error),
        }
    }

    /// The first failure is the one that is told.
    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
    }
}
