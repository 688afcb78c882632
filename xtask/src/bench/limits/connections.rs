//! Part `connections`: a limit belongs to a client, not to a connection. A server of release build is asked over many
//! real connections, IPv4 and IPv6, that are all open at once.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use phoenix_testkit::port;
use phoenix_testkit::process::PhoenixProcess;

use super::{CLASSES, real};
use crate::bench::report::Bar;
use crate::bench::{build, load};

/// Connections that are open at once.
const CONNECTIONS: usize = 300;
/// Longest wait for one answer.
const BOUND: Duration = Duration::from_secs(10);
/// An IPv4 client of a listener for both, as it may name the server.
const MAPPED: IpAddr = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
const IPV4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const IPV6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// The two answers that count here.
#[derive(Clone, Copy, Default)]
struct Answers {
    /// Any but 429.
    admitted: u32,
    refused: u32,
}

pub(super) fn run(_quick: bool) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let limit = CLASSES[3].limit;
    let exactly = |name: &str, value: u32, expected: u32| {
        let off = f64::from(value.abs_diff(expected));
        [
            Bar::info(format!("{name}: admitted"), f64::from(value), ""),
            Bar::at_most(format!("{name}: admitted, difference to {expected}"), off, "", 0.0),
        ]
    };
    let server = Server::start(&program)?;
    let many = server.ask(IPV4, CONNECTIONS)?;
    let mut bars = vec![Bar::info("connections: open at once", real(CONNECTIONS as u64), "")];
    bars.extend(exactly("300 connections of one address", many.admitted, limit));
    let answered = f64::from(many.admitted + many.refused);
    bars.push(Bar::at_least(
        "300 connections of one address: answered",
        answered,
        "",
        real(CONNECTIONS as u64),
    ));
    // Another server, whose clients have not asked yet.
    let server = Server::start(&program)?;
    let half = limit / 2;
    let plain = server.ask(IPV4, half as usize)?.admitted;
    let mapped = server.ask(MAPPED, limit as usize)?.admitted;
    bars.extend(exactly("IPv4 and ::ffff: of one address", plain + mapped, limit));
    let other = server.ask(IPV6, 2 * limit as usize)?.admitted;
    bars.extend(exactly("another client, ::1", other, limit));
    Ok(bars)
}

/// A server that listens for IPv4 and IPv6.
struct Server {
    process: PhoenixProcess,
}

impl Server {
    fn start(program: &std::path::Path) -> Result<Self> {
        let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port::free()));
        let process = PhoenixProcess::builder(program)
            .env("PHOENIX_LISTEN", listen.to_string())
            .env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "10000")
            .start()?;
        Ok(Self { process })
    }

    /// One request on each of so many connections, all of which are open before the first is sent.
    fn ask(&self, server: IpAddr, connections: usize) -> Result<Answers> {
        let address = SocketAddr::new(server, self.process.address().port());
        let request = load::request("GET", "/api/search?q=x", &[("host", "localhost")], b"");
        let open = || -> Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, BOUND).context("connect")?;
            stream.set_read_timeout(Some(BOUND)).context("bound the wait for an answer")?;
            Ok(stream)
        };
        let mut streams: Vec<TcpStream> = (0..connections).map(|_| open()).collect::<Result<_>>()?;
        for stream in &mut streams {
            stream.write_all(&request).context("send a request")?;
        }
        let mut answers = Answers::default();
        for stream in &mut streams {
            match status(stream)? {
                429 => answers.refused += 1,
                _ => answers.admitted += 1,
            }
        }
        Ok(answers)
    }
}

/// The status of the answer.
fn status(stream: &mut TcpStream) -> Result<u16> {
    let mut line = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut line).context("read an answer")?;
    let text = std::str::from_utf8(&line).context("an answer that is no text")?;
    text.rsplit_once(' ').and_then(|(_, status)| status.parse().ok()).with_context(|| text.to_owned())
}
