//! Two sides in one process: what is passed, what is refused, and that a trial that fails changes nothing.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use phoenix_testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::task::TaskTracker;

use super::*;

const SOON: Duration = Duration::from_secs(20);

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("handover.sock")
    }

    /// Where the socket of a process is that is being started.
    fn unfinished(&self) -> PathBuf {
        self.folder.path().join("handover.sock.new")
    }

    async fn gather(&self) -> anyhow::Result<Sockets> {
        Sockets::gather(Some(&self.path()), Activation::default()).await
    }

    /// A process that serves: its own end, its succession, and its address.
    async fn serving(&self, configured: &str) -> (Succession, tokio::net::TcpListener) {
        let mut sockets = self.gather().await.expect("nobody is there");
        let socket = sockets.listen(Role::Http, configured.parse().expect("an address")).expect("bound");
        let (predecessor, held) = sockets.settle();
        assert!(predecessor.is_none());
        (self.succession(held), socket)
    }

    fn succession(&self, held: Held) -> Succession {
        let mut succession = Succession::prepare(Some(&self.path()), held).expect("a handover socket");
        succession.take_place();
        succession
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.expect("somebody is there")
    }
}

#[tokio::test]
async fn the_same_socket_goes_to_the_next_process_and_the_next() {
    let place = Place::new();
    let (mut first, socket) = place.serving("127.0.0.1:0").await;
    let address = socket.local_addr().expect("an address");
    for _ in 0..3 {
        let waits = TaskTracker::new().spawn(async move {
            first.next().await;
            drop(first);
        });
        let mut sockets = place.gather().await.expect("handed over");
        let mine = sockets.listen(Role::Http, "127.0.0.1:0".parse().expect("an address")).expect("given");
        assert_eq!(mine.local_addr().expect("an address"), address, "the same, not another free port");
        let (predecessor, held) = sockets.settle();
        assert!(!waits.is_finished());
        predecessor.expect("it was handed over").take_over().await.expect("it hears it");
        tokio::time::timeout(SOON, waits).await.expect("in time").expect("no panic");
        first = place.succession(held);
        let mut client = std::net::TcpStream::connect(address).expect("connected");
        client.write_all(b"x").expect("written");
        let (accepted, _) = mine.accept().await.expect("accepted");
        let mut accepted = accepted.into_std().expect("a socket");
        accepted.set_nonblocking(false).expect("blocking");
        accepted.read_exact(&mut [0]).expect("read");
    }
}

#[tokio::test]
async fn a_candidate_that_ends_before_it_is_ready_changes_nothing_and_the_next_may_try() {
    let place = Place::new();
    let (mut serving, _socket) = place.serving("127.0.0.1:0").await;
    let waits = TaskTracker::new().spawn(async move { serving.next().await });
    for _ in 0..3 {
        drop(place.gather().await.expect("handed over"));
    }
    // One that says what is not in the protocol, and one that says nothing.
    place.raw().await.write_all(b"GET / HTTP/1.1\r\n\r\n\n\n").await.expect("written");
    let mut other_version = place.raw().await;
    other_version.write_all(b"phoenix-handover 2\n\n").await.expect("written");
    let mut answer = String::new();
    other_version.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!(answer, "phoenix-handover 1\n\n", "it hears what would do, and no socket comes");
    let mut endless = place.raw().await;
    let _ = endless.write_all(&[b'x'; 10_000]).await;
    assert!(!waits.is_finished());
    let (predecessor, _) = place.gather().await.expect("handed over").settle();
    predecessor.expect("there is one").take_over().await.expect("it hears it");
    tokio::time::timeout(SOON, waits).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn only_one_candidate_at_a_time() {
    let place = Place::new();
    let (mut serving, _socket) = place.serving("127.0.0.1:0").await;
    let _waits = TaskTracker::new().spawn(async move { serving.next().await });
    let first = place.gather().await.expect("handed over");
    let refused = format!("{:#}", place.gather().await.expect_err("there is one"));
    assert!(refused.contains("busy") && refused.contains("PHOENIX_HANDOVER_SOCKET"), "{refused}");
    drop(first);
    // Its end is heard of in a moment.
    wait::until(SOON, "the next candidate to be let in", async || place.gather().await.is_ok()).await;
}

#[tokio::test]
async fn another_address_is_bound_anew() {
    let place = Place::new();
    let (mut serving, socket) = place.serving("127.0.0.1:0").await;
    let _waits = TaskTracker::new().spawn(async move { serving.next().await });
    let mut sockets = place.gather().await.expect("handed over");
    let other = sockets.listen(Role::Http, "[::1]:0".parse().expect("an address")).expect("bound");
    assert_ne!(other.local_addr().expect("an address"), socket.local_addr().expect("an address"));
}

#[tokio::test]
async fn the_socket_is_its_users_only_and_leaves_with_its_process() {
    let place = Place::new();
    let (serving, _socket) = place.serving("127.0.0.1:0").await;
    let mode = std::fs::metadata(place.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(serving);
    assert!(!place.path().exists());
}

#[tokio::test]
async fn what_a_killed_process_left_is_replaced_and_a_file_is_not() {
    let place = Place::new();
    // Closed without being removed.
    drop(std::os::unix::net::UnixListener::bind(place.path()).expect("bound"));
    let (serving, _socket) = place.serving("127.0.0.1:0").await;
    drop(serving);

    std::fs::write(place.path(), "precious").expect("written");
    let refused =
        place.gather().await.map(|sockets| Succession::prepare(Some(&place.path()), sockets.settle().1));
    let refused = match refused {
        Ok(Err(error)) | Err(error) => format!("{error:#}"),
        Ok(Ok(_)) => panic!("a file is no socket"),
    };
    assert!(refused.contains("PHOENIX_HANDOVER_SOCKET"), "{refused}");
    assert_eq!(std::fs::read_to_string(place.path()).expect("it is there"), "precious");
}

#[tokio::test]
async fn a_process_that_is_prepared_leaves_the_path_to_the_one_that_serves() {
    let place = Place::new();
    let (mut serving, _socket) = place.serving("127.0.0.1:0").await;
    let _waits = TaskTracker::new().spawn(async move { serving.next().await });
    let prepared = || Succession::prepare(Some(&place.path()), Held(Vec::new())).expect("prepared");
    let first = prepared();
    assert!(place.unfinished().exists());
    drop(first);
    assert!(!place.unfinished().exists(), "it is gone with its process");
    place.gather().await.expect("the one that serves is still found");
    // Somebody else puts a socket there meanwhile: it is not taken for ours, nor removed.
    let mut second = prepared();
    std::fs::remove_file(place.unfinished()).expect("removed");
    let _other = std::os::unix::net::UnixListener::bind(place.unfinished()).expect("bound");
    second.take_place();
    drop(second);
    assert!(place.unfinished().exists() && place.path().exists());
}

#[tokio::test]
async fn a_process_that_was_given_up_on_ends_where_another_serves_and_serves_where_nobody_does() {
    let place = Place::new();
    // Hands over, and what it does then is up to the caller.
    let serving = tokio::net::UnixListener::bind(place.path()).expect("bound");
    let hands_over = async || {
        let (stream, _) = serving.accept().await.expect("accepted");
        wire::receive(&stream, SOON).await.expect("a greeting");
        wire::send(&stream, &[wire::GREETING], &[]).await.expect("sent");
        stream
    };
    let (sockets, stream) = tokio::join!(place.gather(), hands_over());
    let predecessor = sockets.expect("handed over").settle().0.expect("there is one");
    // It gives up, as after a start that lasts too long.
    drop(stream);
    let refused = format!("{:#}", predecessor.take_over().await.expect_err("it serves"));
    assert!(refused.contains("no longer waits") && refused.contains("handover.sock"), "{refused}");

    // The connection that looked whether somebody is there.
    drop(serving.accept().await.expect("accepted"));
    let (sockets, stream) = tokio::join!(place.gather(), hands_over());
    let predecessor = sockets.expect("handed over").settle().0.expect("there is one");
    drop((stream, serving));
    predecessor.take_over().await.expect("nobody else serves");
}

#[test]
fn sockets_of_systemd_are_found_by_name_or_address_and_those_of_a_predecessor_by_both() {
    let named = |role: &str, address: &str, is_systemds| Named {
        role: role.to_owned(),
        address: address.parse().expect("an address"),
        socket: TcpListener::bind("127.0.0.1:0").expect("bound"),
        is_systemds,
    };
    let wanted = "0.0.0.0:8080".parse().expect("an address");
    for (role, address, of_systemd, of_predecessor) in [
        ("http", "0.0.0.0:8080", true, true),
        ("phoenix.socket", "0.0.0.0:8080", true, false),
        ("http", "[::]:8080", true, false),
        ("http", "0.0.0.0:8081", false, false),
        ("other", "[::]:8080", false, false),
    ] {
        assert_eq!(named(role, address, true).is(Role::Http, wanted), of_systemd, "{role} {address}");
        assert_eq!(named(role, address, false).is(Role::Http, wanted), of_predecessor, "{role} {address}");
    }
}
