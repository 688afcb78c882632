//! The protocol between two processes: lines of text over a Unix stream socket, and with one of them file descriptors
//! (`SCM_RIGHTS`, unix(7)). Says what is said, not when.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::Named;

/// First words of both sides. The number changes with the protocol.
pub(super) const GREETING: &str = "phoenix-handover 1";
/// The successor serves.
pub(super) const READY: &str = "ready";
/// The predecessor has heard it, and accepts no more.
pub(super) const YOURS: &str = "yours";
/// The predecessor hands over to nobody now.
pub(super) const BUSY: &str = "busy: another process is being started";

/// Most sockets that are passed.
pub(super) const MAX_SOCKETS: usize = 16;
/// Longest message in bytes.
const MAX_MESSAGE: usize = 4096;
/// Time for one message of a peer that has nothing else to do.
pub(super) const TALK_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends lines, which end with an empty one, and the sockets that they name.
pub(super) async fn send(stream: &UnixStream, lines: &[&str], sockets: &[Named]) -> anyhow::Result<()> {
    ensure!(sockets.len() <= MAX_SOCKETS, "more than {MAX_SOCKETS} sockets");
    let mut text = String::new();
    for line in lines {
        text += &format!("{line}\n");
    }
    for Named { role, address, .. } in sockets {
        text += &format!("{role} {address}\n");
    }
    text.push('\n');
    ensure!(text.len() <= MAX_MESSAGE, "a message of more than {MAX_MESSAGE} bytes");
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|named| named.socket.as_fd()).collect();
    let sending = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
        }
        Ok(sendmsg(stream, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?)
    });
    let sent =
        tokio::time::timeout(TALK_TIMEOUT, sending).await.context("the other side does not read")??;
    // Far below what a socket's buffer holds, so it is all or nothing.
    ensure!(sent == text.len(), "only a part of a message was sent");
    Ok(())
}

/// Reads lines up to an empty one, and the descriptors that come with them, at most `bound` in all.
pub(super) async fn receive(
    stream: &UnixStream,
    bound: Duration,
) -> anyhow::Result<(Vec<String>, Vec<OwnedFd>)> {
    tokio::time::timeout(bound, read(stream)).await.context("the other side does not answer")?
}

async fn read(stream: &UnixStream) -> anyhow::Result<(Vec<String>, Vec<OwnedFd>)> {
    let (mut text, mut descriptors) = (Vec::new(), Vec::new());
    while !text.ends_with(b"\n\n") {
        let (chunk, more) = stream.async_io(Interest::READABLE, || read_once(stream)).await?;
        if chunk.is_empty() {
            bail!("the other side has closed the connection");
        }
        text.extend(chunk);
        descriptors.extend(more);
        ensure!(
            text.len() <= MAX_MESSAGE && descriptors.len() <= MAX_SOCKETS,
            "the other side says too much"
        );
    }
    let text = String::from_utf8(text).context("the other side does not send text")?;
    Ok((text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(), descriptors))
}

fn read_once(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = [0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok((bytes.get(..got.bytes).unwrap_or_default().to_vec(), descriptors))
}

/// The sockets that lines of the predecessor name, in the order of the descriptors.
pub(super) fn sockets(lines: &[String], descriptors: Vec<OwnedFd>) -> anyhow::Result<Vec<Named>> {
    ensure!(
        lines.len() == descriptors.len(),
        "{} sockets are named and {} came",
        lines.len(),
        descriptors.len()
    );
    let both = lines.iter().zip(descriptors);
    both.map(|(line, descriptor)| {
        let named = line
            .split_once(' ')
            .and_then(|(role, address)| Some((role.to_owned(), address.parse::<SocketAddr>().ok()?)));
        let (role, address) = named.with_context(|| format!("{line:?} names no socket"))?;
        let socket = TcpListener::from(descriptor);
        socket.local_addr().with_context(|| format!("{line:?} is no socket of the Internet"))?;
        Ok(Named { role, address, socket, is_systemds: false })
    })
    .collect()
}

/// Refuses a peer that runs as another user.
pub(super) fn check_user(stream: &UnixStream) -> anyhow::Result<()> {
    let peer = stream.peer_cred().context("the user of the other side is unknown")?.uid();
    let own = rustix::process::geteuid().as_raw();
    ensure!(peer == own, "the other side runs as user {peer} and this process as user {own}");
    Ok(())
}
