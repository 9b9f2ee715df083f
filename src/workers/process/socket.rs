//! One end of the socket between the service and a process of its own: whole packets, with files.
//!
//! A packet is one message of a `SOCK_SEQPACKET` socket: a byte that says where the body is, and the
//! body, or the body's file. At most one more file travels with it. Everything has a bound before it
//! is read, and what does not fit it is an error: the other end may be in anybody's hands.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::memfile::{self, BadFile};

/// Bodies up to this length travel in the packet. Above, a memory file is cheaper.
const INLINE_BYTES: usize = 64 * 1024;
/// The body's file, and one beside it.
const MAX_FILES: usize = 2;

// Where a body is.
const INLINE: u8 = 0;
const IN_FILE: u8 = 1;

/// A pair of connected ends. Neither is inherited by processes that are started meanwhile.
pub(super) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let ends = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for end in [&ends.0, &ends.1] {
        // Room for the longest packet, and then some. Where less is allowed, it is the system's default.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, 4 * INLINE_BYTES);
    }
    Ok(ends)
}

/// Whether a descriptor is such an end, as far as the kernel tells.
pub(super) fn is_one(descriptor: impl AsFd) -> bool {
    let kind = rustix::net::sockopt::socket_type(&descriptor);
    let family = rustix::net::sockopt::socket_domain(&descriptor);
    kind == Ok(SocketType::SEQPACKET) && family == Ok(AddressFamily::UNIX)
}

/// A packet on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: u8,
    body: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl Outgoing {
    pub(super) fn new(body: Vec<u8>, file: Option<OwnedFd>) -> Result<Outgoing, Errno> {
        if body.len() <= INLINE_BYTES {
            return Ok(Outgoing { head: INLINE, body, files: file.into_iter().collect() });
        }
        let files = [memfile::holding(&body)?].into_iter().chain(file).collect();
        Ok(Outgoing { head: IN_FILE, body: Vec::new(), files })
    }

    /// Sends the packet, whole or not at all.
    pub(super) fn send(&self, socket: impl AsFd) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = self.files.iter().map(AsFd::as_fd).collect();
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(Errno::INVAL);
        }
        let parts = [IoSlice::new(std::slice::from_ref(&self.head)), IoSlice::new(&self.body)];
        loop {
            match sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A packet that came in.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) body: Vec<u8>,
    /// The file that came with it, if one did. Nothing of it has been checked.
    pub(super) file: Option<OwnedFd>,
}

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the other end is gone")]
    Closed,
    #[error("the body's {0}")]
    File(#[from] BadFile),
    #[error("the socket failed: {0}")]
    Io(#[from] Errno),
    #[error("a packet is longer than any may be")]
    TooLong,
    #[error("a packet is not of the form that it must have")]
    Malformed,
}

/// Reads packets; keeps the room for them.
pub(super) struct Receiver {
    buffer: Vec<u8>,
    most: u64,
}

impl Receiver {
    /// For packets whose bodies have at most `most` bytes.
    pub(super) fn new(most: u64) -> Receiver {
        Receiver { buffer: vec![0; 1 + INLINE_BYTES], most }
    }

    /// Reads one packet. Where the socket does not block and there is none, the error is
    /// [`Errno::AGAIN`].
    pub(super) fn receive(&mut self, socket: impl AsFd) -> Result<Incoming, Broken> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(Broken::Closed),
                received => break received?,
            }
        };
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                files.extend(rights);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(Broken::TooLong);
        }
        Incoming::unpack(&self.buffer[..received.bytes], files, self.most)
    }
}

impl Incoming {
    /// Takes a packet apart whose body may have `most` bytes.
    pub(super) fn unpack(packet: &[u8], files: Vec<OwnedFd>, most: u64) -> Result<Incoming, Broken> {
        // No packet of ours is empty.
        let Some((&head, body)) = packet.split_first() else { return Err(Broken::Closed) };
        let mut files = files.into_iter();
        let body = match head {
            INLINE if body.len() as u64 > most => return Err(Broken::TooLong),
            INLINE => body.to_vec(),
            IN_FILE if body.is_empty() => {
                let file = files.next().ok_or(Broken::Malformed)?;
                memfile::read(file, most)?
            }
            _ => return Err(Broken::Malformed),
        };
        let file = files.next();
        match files.next() {
            Some(_) => Err(Broken::Malformed),
            None => Ok(Incoming { body, file }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver() -> Receiver {
        Receiver::new(1_000_000)
    }

    fn send_raw(socket: &OwnedFd, bytes: &[u8], files: &[OwnedFd]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        if !files.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        }
        sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
    }

    #[test]
    fn bodies_of_any_length_arrive_with_their_file() {
        let (here, there) = pair().unwrap();
        for length in [0, 1, INLINE_BYTES, INLINE_BYTES + 1, 1_000_000] {
            for with_file in [false, true] {
                let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
                let file = with_file.then(|| memfile::holding(b"beside").unwrap());
                Outgoing::new(body.clone(), file).unwrap().send(&here).unwrap();
                let incoming = receiver().receive(&there).unwrap();
                assert!(incoming.body == body);
                let beside = incoming.file.map(|file| memfile::read(file, 10).unwrap());
                assert_eq!(beside, with_file.then(|| b"beside".to_vec()));
            }
        }
    }

    #[test]
    fn packets_keep_their_edges_and_their_order() {
        let (here, there) = pair().unwrap();
        for number in 0..10u8 {
            Outgoing::new(vec![number; 3], None).unwrap().send(&here).unwrap();
        }
        let mut receiver = receiver();
        for number in 0..10u8 {
            assert_eq!(receiver.receive(&there).unwrap().body, [number; 3]);
        }
        drop(here);
        assert_eq!(receiver.receive(&there).unwrap_err(), Broken::Closed);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        let file = || memfile::holding(b"x").unwrap();
        let long = vec![INLINE; INLINE_BYTES + 2];
        let cases: [(&[u8], Vec<OwnedFd>, Broken); 6] = [
            (&[2], vec![], Broken::Malformed),
            (&[IN_FILE], vec![], Broken::Malformed),
            (&[IN_FILE, 1], vec![file()], Broken::Malformed),
            (&[INLINE], vec![file(), file()], Broken::Malformed),
            (&long, vec![], Broken::TooLong),
            (&[IN_FILE], vec![tempfile::tempfile().unwrap().into()], Broken::File(BadFile::NotSealed)),
        ];
        for (bytes, files, broken) in cases {
            let (here, there) = pair().unwrap();
            send_raw(&here, bytes, &files);
            assert_eq!(receiver().receive(&there).unwrap_err(), broken, "{:?}", &bytes[..bytes.len().min(4)]);
        }
    }

    #[test]
    fn a_body_beyond_the_bound_is_refused_in_the_packet_and_in_a_file() {
        for length in [11, INLINE_BYTES + 1] {
            let (here, there) = pair().unwrap();
            Outgoing::new(vec![0; length], None).unwrap().send(&here).unwrap();
            let refused = Receiver::new(10).receive(&there).unwrap_err();
            assert!(matches!(refused, Broken::TooLong | Broken::File(BadFile::TooLong { .. })), "{refused}");
        }
    }
}
