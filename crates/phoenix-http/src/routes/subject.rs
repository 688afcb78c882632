//! How a request names the client whose limits it is about: by address or by user.

use std::net::IpAddr;

use phoenix_auth::model::UserId;
use phoenix_auth::{Auth, AuthError};

use crate::limit_admin::LimitSubject;
use crate::problem::Problem;

/// The client that is named, if one is: an address or a user who exists, not both.
pub(crate) async fn subject(
    auth: &Auth,
    address: Option<&str>,
    user_id: Option<&str>,
) -> Result<Option<LimitSubject>, Problem> {
    match (address, user_id) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Problem::field("userId", "Give an address or a userId, not both.")),
        (Some(text), None) => {
            let address = parse_address(text).ok_or_else(|| {
                Problem::field("address", "Must be an IPv4 or IPv6 address such as 203.0.113.7.")
            })?;
            Ok(Some(LimitSubject::Address(address)))
        }
        (None, Some(text)) => {
            let unknown = || Problem::field("userId", "There is no user of this id.");
            let id: UserId = text.parse().map_err(|_| unknown())?;
            match auth.user(id).await {
                Ok(_) => Ok(Some(LimitSubject::User(id))),
                Err(AuthError::NotFound) => Err(unknown()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// An address that a client can have; an IPv4 address is the same in both its forms.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok()?.to_canonical();
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_that_a_client_can_have() {
        let parsed = |text| parse_address(text).map(|address| address.to_string());
        assert_eq!(parsed("203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(parsed("::ffff:203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(parsed("2001:DB8:0::1").as_deref(), Some("2001:db8::1"));
        for text in [
            "",
            " ",
            "203.0.113.7 ",
            "203.0.113",
            "203.0.113.7/32",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "fe80::1%eth0",
            "host",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
