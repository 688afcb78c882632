//! The address of a listening socket.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::text;
use crate::setting::{Kind, Literal, Raw, Refusal};

/// An IP address and a port. Names are refused: what they resolve to may change between two starts.
pub(crate) struct SocketAddress;

impl Kind<SocketAddr> for SocketAddress {
    fn parse(&self, raw: &Raw<'_>) -> Result<SocketAddr, Refusal> {
        let text = text(raw)?;
        text.parse().map_err(|_| refuse(text))
    }

    fn show(&self, value: &SocketAddr) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "an IP address and a port, such as \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::]:8080\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$"})
    }
}

fn refuse(text: &str) -> Refusal {
    let refusal = Refusal::because("it is not an IP address and a port");
    let port = |digits: &str| digits.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        Some(("localhost", digits)) if port(digits) => {
            Refusal::because("a host name is not an address; it may stand for several")
                .remedy(format!("write \"127.0.0.1:{digits}\", or \"[::1]:{digits}\" for IPv6"))
        }
        Some(("" | "*", digits)) if port(digits) => {
            refusal.remedy(format!("write \"0.0.0.0:{digits}\" for every address of the machine"))
        }
        None if port(text) => refusal.remedy(format!("write \"127.0.0.1:{text}\" or \"0.0.0.0:{text}\"")),
        None if text.parse::<std::net::IpAddr>().is_ok() => refusal.remedy("add a port, such as \":8080\""),
        Some(_) | None => refusal,
    }
}
