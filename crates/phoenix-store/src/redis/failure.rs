//! Which failures are outages and which are answers.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a command has no value.
pub(super) enum Failure {
    /// No answer in time.
    Silent,
    /// No connection, a broken one, or to a server that cannot serve now.
    Broken(RedisError),
    /// A refusal of this command by a server that works.
    Refused(RedisError),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if is_outage(&error) { Self::Broken(error) } else { Self::Refused(error) }
    }
}

/// Whether the server cannot be reached or cannot serve now. What a server in order replies to a command it does not
/// like is none of this.
pub(super) fn is_outage(error: &RedisError) -> bool {
    if let Some(replies) = error.clone().into_server_errors() {
        return replies.iter().any(|(_, reply)| match reply.kind() {
            Some(kind) => cannot_serve(kind),
            None => reply.code() == "NOAUTH",
        });
    }
    match error.kind() {
        ErrorKind::Server(kind) => cannot_serve(kind),
        kind => !matches!(kind, ErrorKind::UnexpectedReturnType | ErrorKind::Client),
    }
}

/// READONLY comes from a master that became a replica: its clients must look for the new one.
fn cannot_serve(kind: ServerErrorKind) -> bool {
    matches!(
        kind,
        ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{ErrorKind, RedisError, ServerErrorKind, make_extension_error};

    use super::is_outage;

    #[test]
    fn a_server_that_cannot_serve_is_an_outage_and_a_refusal_is_not() {
        let server = |kind| RedisError::from((ErrorKind::Server(kind), "a reply"));
        for (error, outage) in [
            (server(ServerErrorKind::ReadOnly), true),
            (server(ServerErrorKind::BusyLoading), true),
            (server(ServerErrorKind::MasterDown), true),
            (server(ServerErrorKind::ClusterDown), true),
            (make_extension_error("NOAUTH".to_owned(), None), true),
            (RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset)), true),
            (RedisError::from((ErrorKind::AuthenticationFailed, "WRONGPASS")), true),
            (RedisError::from((ErrorKind::Parse, "garbage")), true),
            (RedisError::from((ErrorKind::ClusterConnectionNotFound, "no node")), true),
            (server(ServerErrorKind::ResponseError), false),
            (server(ServerErrorKind::NoPerm), false),
            (server(ServerErrorKind::CrossSlot), false),
            (make_extension_error("OOM".to_owned(), None), false),
            (make_extension_error("WRONGTYPE".to_owned(), None), false),
            (RedisError::from((ErrorKind::UnexpectedReturnType, "no string")), false),
        ] {
            assert_eq!(is_outage(&error), outage, "{error}");
        }
    }
}
