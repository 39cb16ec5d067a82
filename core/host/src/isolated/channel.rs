//! A connection between the host and the process of a plugin. It carries one call at a time.
//!
//! A message is a header (the lengths of the two parts as little-endian u32), JSON, and the bytes of its
//! tensors. The bytes of larger tensors are in shared memory instead, which stays mapped on both sides.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chiasm_abi::stable::RStr;
use chiasm_abi::{DataType, NamedTensor, TensorLayout, TensorView};
use memmap2::Mmap;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::memory::{SharedInput, SharedOutput};

/// Tensors of at most this many bytes together are sent through the socket.
const MAX_INLINE: usize = 64 << 10;
/// The largest JSON part of a message, in bytes.
const MAX_JSON: usize = 256 << 20;
/// The alignment of tensors: that of a cache line.
const ALIGNMENT: usize = 64;
/// The time between two looks at the reason to stop waiting.
const WAIT: Duration = Duration::from_millis(100);

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
}

/// The JSON part of a message.
#[derive(Serialize, Deserialize)]
struct Envelope<H> {
    head: H,
    tensors: Vec<TensorPlace>,
    /// The end of the tensors in the shared memory; 0 if they are sent through the socket.
    shared: usize,
}

/// The description of a tensor and where its bytes are.
#[derive(Serialize, Deserialize)]
struct TensorPlace {
    name: String,
    /// Code, bits and lanes of the element type.
    dtype: (u8, u8, u16),
    shape: Vec<i64>,
    offset: usize,
    length: usize,
}

/// A message that was received.
pub(super) struct Received<H> {
    pub head: H,
    pub body: Body,
    /// A descriptor that came with the message and is not that of shared memory.
    pub descriptor: Option<OwnedFd>,
}

/// The tensors of a message.
pub(super) struct Body {
    tensors: Vec<TensorPlace>,
    bytes: TensorBytes,
}

/// The bytes of the tensors of a message.
enum TensorBytes {
    /// Words rather than bytes, so that every element type is aligned.
    Inline(Vec<u64>),
    Shared(Arc<Mmap>),
}

impl Channel {
    /// Returns the end of a connection. Sending fails with [`io::ErrorKind::TimedOut`] if the other side
    /// reads nothing for as long as `patience`.
    pub(super) fn new(socket: UnixStream, patience: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(WAIT))?;
        socket.set_write_timeout(Some(WAIT))?;
        Ok(Self { socket, patience, output: None, input: None })
    }

    /// Sends a message. Returns the end of its tensors in the shared memory, counted from `keep`: the bytes
    /// before `keep` belong to an earlier message that the other side still reads.
    pub(super) fn send<H: Serialize>(
        &mut self,
        head: &H,
        tensors: &[NamedTensor<'_>],
        keep: usize,
    ) -> io::Result<usize> {
        let dense: Vec<(&[u8], TensorLayout)> = tensors
            .iter()
            .map(|one| one.tensor.bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let padded: usize = dense.iter().map(|(bytes, _)| bytes.len().next_multiple_of(ALIGNMENT)).sum();
        let shared = padded > MAX_INLINE;
        let mut end = if shared { keep.next_multiple_of(ALIGNMENT) } else { 0 };
        let mut places = Vec::with_capacity(tensors.len());
        for (one, (bytes, layout)) in tensors.iter().zip(&dense) {
            let dtype = one.tensor.dtype();
            places.push(TensorPlace {
                name: one.name.to_string(),
                dtype: (dtype.code, dtype.bits, dtype.lanes),
                shape: layout
                    .shape()
                    .iter()
                    .map(|length| i64::try_from(*length).unwrap_or(i64::MAX))
                    .collect(),
                offset: end,
                length: bytes.len(),
            });
            end = (end + bytes.len()).next_multiple_of(ALIGNMENT);
        }
        if !shared {
            let mut inline = vec![0_u8; end];
            places.iter().zip(&dense).for_each(|(place, (bytes, _))| {
                inline[place.offset..place.offset + place.length].copy_from_slice(bytes);
            });
            self.write(&Envelope { head, tensors: places, shared: 0 }, &inline, None)?;
            return Ok(keep);
        }
        let new = self.output.is_none();
        let mut output = match self.output.take() {
            Some(output) => output,
            None => SharedOutput::new(end)?,
        };
        output.reserve(end)?;
        for (place, (bytes, _)) in places.iter().zip(&dense) {
            output.write(place.offset, bytes)?;
        }
        let envelope = Envelope { head, tensors: places, shared: end };
        let sent = self.write(&envelope, &[], new.then(|| output.descriptor()));
        self.output = Some(output);
        sent.map(|()| end)
    }

    /// Sends a message with a descriptor.
    pub(super) fn send_descriptor<H: Serialize>(
        &mut self,
        head: &H,
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<()> {
        self.write(&Envelope { head, tensors: Vec::new(), shared: 0 }, &[], Some(descriptor))
    }

    /// Waits for a message. While none comes, `waiting` is called about ten times a second; its error ends
    /// the wait.
    pub(super) fn receive<H: DeserializeOwned>(
        &mut self,
        mut waiting: impl FnMut() -> io::Result<()>,
    ) -> io::Result<Received<H>> {
        let mut header = [0; 8];
        let mut filled = 0;
        let mut descriptor = None;
        while filled < header.len() {
            match self.read_with_descriptor(&mut header[filled..], &mut descriptor) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
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
        let bytes = if envelope.shared == 0 {
            TensorBytes::Inline(words)
        } else {
            if let Some(descriptor) = descriptor.take() {
                self.input = Some(SharedInput::new(descriptor)?);
            }
            let input = self.input.as_mut().ok_or_else(|| io::Error::other("there is no shared memory"))?;
            TensorBytes::Shared(input.view(envelope.shared)?)
        };
        let body = Body { tensors: envelope.tensors, bytes };
        Ok(Received { head: envelope.head, body, descriptor })
    }

    fn write<H: Serialize>(
        &mut self,
        envelope: &Envelope<H>,
        inline: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
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
        if let Some(descriptor) = descriptor {
            let descriptors = [descriptor];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
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

    fn read_with_descriptor(
        &mut self,
        bytes: &mut [u8],
        descriptor: &mut Option<OwnedFd>,
    ) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(bytes)];
        let received =
            rustix::net::recvmsg(&self.socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                *descriptor = descriptors.next().or(descriptor.take());
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

impl Body {
    /// Returns views of the tensors. Their shapes are checked when they are read.
    ///
    /// # Errors
    /// If a tensor lies outside the message.
    pub(super) fn tensors(&self) -> io::Result<Vec<NamedTensor<'_>>> {
        let all: &[u8] = match &self.bytes {
            TensorBytes::Inline(words) => bytemuck::cast_slice(words),
            TensorBytes::Shared(map) => map,
        };
        let view = |place: &TensorPlace| {
            let end = place.offset.checked_add(place.length)?;
            all.get(place.offset..end)
        };
        self.tensors
            .iter()
            .map(|place| {
                let bytes = view(place).ok_or_else(|| {
                    io::Error::other(format!("the tensor `{}` lies outside its message", place.name))
                })?;
                let (code, bits, lanes) = place.dtype;
                let tensor = TensorView::of_bytes(bytes, DataType { code, bits, lanes }, &place.shape);
                Ok(NamedTensor { name: RStr::from_str(&place.name), tensor })
            })
            .collect()
    }
}
