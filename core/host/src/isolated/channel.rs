//! A connection between the host and the process of a plugin. It carries one call at a time.
//!
//! A message is a header (the lengths of the two parts as little-endian u32), JSON, and the bytes of its
//! tensors. The bytes of larger tensors are in shared memory instead, which stays mapped on both sides. A
//! tensor whose memory has a file of its own is not copied: its descriptor comes with the message. The other
//! side keeps the files of the last such message mapped, since the first use of a mapped page is slow.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memmap2::Mmap;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::memory::{SharedInput, SharedOutput, shared_file};
use super::tensors::{Body, MAX_FILES, MAX_INLINE, Placed, TensorBytes, TensorPlace, Tensors, find};

/// The largest JSON part of a message, in bytes.
const MAX_JSON: usize = 256 << 20;
/// The time between two looks at the reason to stop waiting.
const WAIT: Duration = Duration::from_millis(100);

/// How long a message is looked for before the thread sleeps: waking it on another core takes longer than a
/// small call. Other threads may have the core meanwhile.
const LOOK: Duration = Duration::from_micros(60);

/// The time that was spent waiting. A program that is suspended does not wait: the time between two looks
/// counts at most twice [`WAIT`].
pub(super) struct WaitClock {
    waited: Duration,
    last: Instant,
}

impl WaitClock {
    pub(super) fn start() -> Self {
        Self { waited: Duration::ZERO, last: Instant::now() }
    }

    /// Returns the time waited until now.
    pub(super) fn waited(&mut self) -> Duration {
        let now = Instant::now();
        self.waited += (now - self.last).min(2 * WAIT);
        self.last = now;
        self.waited
    }
}

/// One end of a connection.
pub(super) struct Channel {
    socket: UnixStream,
    /// How long the other side may take to read a message.
    patience: Duration,
    output: Option<SharedOutput>,
    input: Option<SharedInput>,
    /// The numbers of the files that the other side keeps.
    sent_files: Vec<u64>,
    received_files: Vec<(u64, Arc<Mmap>)>,
}

/// The JSON part of a message.
#[derive(Serialize, Deserialize)]
struct Envelope<H> {
    head: H,
    tensors: Vec<TensorPlace>,
    /// The end of the tensors in the shared memory; 0 if they are sent through the socket.
    shared: usize,
    /// The files of its tensors; those before and not among them are no longer kept.
    files: Vec<SentFile>,
}

/// A file of a message.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct SentFile {
    id: u64,
    /// Whether its descriptor comes with the message. These descriptors are the first, in the order of files.
    new: bool,
}

/// A message that was received.
pub(super) struct Received<H> {
    pub head: H,
    pub body: Body,
    /// The descriptor that came with a message of [`Channel::send_descriptor`].
    pub descriptor: Option<OwnedFd>,
}

impl Channel {
    /// Returns the end of a connection. Sending fails with [`io::ErrorKind::TimedOut`] if the other side
    /// reads nothing for as long as `patience`.
    pub(super) fn new(socket: UnixStream, patience: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(WAIT))?;
        socket.set_write_timeout(Some(WAIT))?;
        Ok(Self {
            socket,
            patience,
            output: None,
            input: None,
            sent_files: Vec::new(),
            received_files: Vec::new(),
        })
    }

    /// Sends a message. Returns the end of its tensors in the shared memory, counted from `keep`: the bytes
    /// before `keep` belong to an earlier message that the other side still reads.
    pub(super) fn send<'t, H: Serialize>(
        &mut self,
        head: &H,
        tensors: impl Into<Tensors<'t>>,
        keep: usize,
    ) -> io::Result<usize> {
        let Placed { places, copied, files, end, inline } = Placed::new(tensors.into(), keep)?;
        let known = |id: u64| self.sent_files.contains(&id);
        let sent = files.iter().map(|file| SentFile { id: file.id, new: !known(file.id) }).collect();
        let mut descriptors: Vec<BorrowedFd<'_>> =
            files.iter().filter(|file| !known(file.id)).map(|file| file.descriptor).collect();
        if !files.is_empty() {
            self.sent_files = files.iter().map(|file| file.id).collect();
        }
        let mut envelope = Envelope { head, tensors: places, shared: 0, files: sent };
        if inline {
            let mut bytes = vec![0_u8; end];
            copied.iter().for_each(|(at, from)| bytes[*at..*at + from.len()].copy_from_slice(from));
            self.write(&envelope, &bytes, &descriptors)?;
            return Ok(keep);
        }
        let new = self.output.is_none();
        let mut output = match self.output.take() {
            Some(output) => output,
            None => SharedOutput::new(end)?,
        };
        output.reserve(end)?;
        for (at, bytes) in copied {
            output.write(at, bytes)?;
        }
        envelope.shared = end;
        descriptors.extend(new.then(|| output.descriptor()));
        let sent = self.write(&envelope, &[], &descriptors);
        self.output = Some(output);
        sent.map(|()| end)
    }

    /// Sends a message with a descriptor.
    pub(super) fn send_descriptor<H: Serialize>(
        &mut self,
        head: &H,
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<()> {
        self.write(&Envelope { head, tensors: Vec::new(), shared: 0, files: Vec::new() }, &[], &[descriptor])
    }

    /// Waits for a message. While none comes, `waiting` is called about ten times a second; its error ends
    /// the wait.
    pub(super) fn receive<H: DeserializeOwned>(
        &mut self,
        mut waiting: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Received<H>> {
        let mut header = [0; 8];
        let mut filled = 0;
        let mut descriptors = Vec::new();
        let started = Instant::now();
        while filled < header.len() {
            let look = filled == 0 && started.elapsed() < LOOK;
            match self.read_with_descriptor(&mut header[filled..], &mut descriptors, look) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(e) if is_wait(&e) && look => std::thread::yield_now(),
                Err(e) if is_wait(&e) => waiting()?,
                Err(e) => return Err(e),
            }
        }
        let length = |at: usize| {
            header[at..at + 4].iter().rev().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte))
        };
        let (json, inline) = (length(0), length(4));
        if json > MAX_JSON || inline > 2 * MAX_INLINE {
            return Err(io::Error::other(format!("a message of {json} and {inline} bytes is too large")));
        }
        let mut text = vec![0; json];
        self.read_exact(&mut text, &mut waiting)?;
        let mut words = vec![0_u64; inline.div_ceil(8)];
        self.read_exact(&mut bytemuck::cast_slice_mut(&mut words)[..inline], &mut waiting)?;
        let envelope: Envelope<H> = serde_json::from_slice(&text)?;
        let mut descriptors = descriptors.into_iter();
        let files = self.files(&envelope.files, &mut descriptors)?;
        let mut descriptor = descriptors.next();
        let bytes = if envelope.shared == 0 {
            TensorBytes::Inline(words)
        } else {
            if let Some(descriptor) = descriptor.take() {
                self.input = Some(SharedInput::new(descriptor)?);
            }
            let input = self.input.as_mut().ok_or_else(|| io::Error::other("there is no shared memory"))?;
            TensorBytes::Shared(input.view(envelope.shared)?)
        };
        let body = Body { tensors: envelope.tensors, bytes, files };
        Ok(Received { head: envelope.head, body, descriptor })
    }

    /// Maps the new files of a message, and finds the others among those that were kept.
    fn files(
        &mut self,
        files: &[SentFile],
        descriptors: &mut impl Iterator<Item = OwnedFd>,
    ) -> io::Result<Vec<(u64, Arc<Mmap>)>> {
        let map = |&SentFile { id, new }: &SentFile| {
            let map = match new {
                true => descriptors.next().map(shared_file).transpose()?,
                false => find(&self.received_files, id).cloned(),
            };
            let map =
                map.ok_or_else(|| io::Error::other(format!("the file {id} of a message is missing")))?;
            Ok((id, map))
        };
        let maps: Vec<(u64, Arc<Mmap>)> = files.iter().map(map).collect::<io::Result<_>>()?;
        if !maps.is_empty() {
            self.received_files.clone_from(&maps);
        }
        Ok(maps)
    }

    fn write<H: Serialize>(
        &mut self,
        envelope: &Envelope<H>,
        inline: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let json = serde_json::to_vec(envelope)?;
        let length = |bytes: &[u8]| {
            u32::try_from(bytes.len())
                .map(u32::to_le_bytes)
                .map_err(|_| io::Error::other("a message is too large"))
        };
        let mut message = Vec::with_capacity(8 + json.len() + inline.len());
        message.extend(length(&json)?);
        message.extend(length(inline)?);
        message.extend(json);
        message.extend(inline);
        let mut sent = 0;
        if !descriptors.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES + 1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            let message = [IoSlice::new(&message)];
            sent = self.patient(|socket| {
                rustix::net::sendmsg(socket, &message, &mut ancillary, SendFlags::NOSIGNAL)
            })?;
        }
        while sent < message.len() {
            sent +=
                self.patient(|socket| rustix::net::send(socket, &message[sent..], SendFlags::NOSIGNAL))?;
        }
        Ok(())
    }

    /// Repeats a send until the other side has read enough, or for as long as its patience.
    fn patient(&self, mut send: impl FnMut(&UnixStream) -> rustix::io::Result<usize>) -> io::Result<usize> {
        let mut clock = WaitClock::start();
        loop {
            match retry_on_intr(|| send(&self.socket)).map_err(io::Error::from) {
                Err(e) if is_wait(&e) => {
                    if clock.waited() >= self.patience {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                other => return other,
            }
        }
    }

    /// Reads bytes and descriptors. With `look`, it fails at once if there are none.
    fn read_with_descriptor(
        &mut self,
        bytes: &mut [u8],
        descriptors: &mut Vec<OwnedFd>,
        look: bool,
    ) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES + 1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(bytes)];
        let wait = if look { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        let flags = RecvFlags::CMSG_CLOEXEC | wait;
        let received = rustix::net::recvmsg(&self.socket, &mut parts, &mut ancillary, flags)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        Ok(received.bytes)
    }

    fn read_exact(
        &mut self,
        mut bytes: &mut [u8],
        waiting: &mut impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.socket).read(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes = &mut bytes[count..],
                Err(e) if is_wait(&e) => waiting()?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn is_wait(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
