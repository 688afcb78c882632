//! Networks of addresses (RFC 4632, RFC 4291): `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value as Json, json};

use super::text;
use crate::setting::{Kind, Literal, Raw, Refusal};

/// Bits before the IPv4 address in an IPv4-mapped IPv6 address.
const MAPPED_BITS: u8 = 96;

/// An address and a prefix length, or an address alone. IPv4-mapped IPv6 is taken as the IPv4 that it is.
pub(crate) struct Network;

impl Kind<IpNet> for Network {
    fn parse(&self, raw: &Raw<'_>) -> Result<IpNet, Refusal> {
        let text = text(raw)?;
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| {
                Refusal::because("it is neither an address nor an address, a \"/\" and a prefix length")
            })?,
        };
        let network = unmapped(network);
        if network.trunc() != network {
            return Err(Refusal::because("its address has bits beyond the prefix").remedy(format!(
                "write \"{}\", or \"{}\" for the one address",
                network.trunc(),
                network.addr()
            )));
        }
        Ok(network)
    }

    fn show(&self, value: &IpNet) -> Option<Literal> {
        // One address is shown as such.
        let whole = value.prefix_len() == value.max_prefix_len();
        Some(Literal::Text(if whole { value.addr().to_string() } else { value.to_string() }))
    }

    fn describe(&self) -> String {
        "a network or an address, such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$"})
    }
}

/// No client has an IPv4-mapped address, so a network of such would hold nobody.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped: Option<Ipv4Addr> = v6.addr().to_ipv4_mapped();
    let v4 = mapped.zip(v6.prefix_len().checked_sub(MAPPED_BITS));
    v4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

/// A network that is trusted. The whole of IPv4 or IPv6 is refused: it would mean everybody.
pub(crate) struct TrustedNetwork;

impl Kind<IpNet> for TrustedNetwork {
    fn parse(&self, raw: &Raw<'_>) -> Result<IpNet, Refusal> {
        let network = Network.parse(raw)?;
        if network.prefix_len() == 0 {
            return Err(Refusal::because("it is everybody").remedy("name the networks"));
        }
        Ok(network)
    }

    fn show(&self, value: &IpNet) -> Option<Literal> {
        Network.show(value)
    }

    fn describe(&self) -> String {
        Network.describe()
    }

    fn schema(&self) -> Json {
        Network.schema()
    }
}
