//! Which failures are outages and which are answers.

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use super::nodes::Place;

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

/// What an error in place of one command's value means to a sender that looks for the right server itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The key is served elsewhere. `None` when the server does not know where.
    Moved(Option<Place>),
    /// The key is being moved, and already there.
    Ask(Option<Place>),
    /// This server is not, or not yet, the one that may be used.
    WrongServer,
    /// It cannot serve this now.
    NotNow,
    /// It does not like the command.
    Refused,
}

impl Reply {
    /// `asked` is the host that replied; an address without a host means the same one.
    pub(super) fn of(error: &ServerError, asked: &str) -> Self {
        let detail = error.details().unwrap_or_default();
        match error.kind() {
            Some(ServerErrorKind::Moved) => Self::Moved(redirection(detail, asked)),
            Some(ServerErrorKind::Ask) => Self::Ask(redirection(detail, asked)),
            Some(ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => {
                Self::WrongServer
            }
            Some(ServerErrorKind::ClusterDown | ServerErrorKind::TryAgain) => Self::NotNow,
            // What Redis 6 says when a script wants to write to a replica.
            Some(ServerErrorKind::ResponseError) if detail.contains("-READONLY ") => Self::WrongServer,
            None if error.code() == "NOAUTH" => Self::WrongServer,
            // A script of somebody runs for seconds.
            None if error.code() == "BUSY" => Self::NotNow,
            _ => Self::Refused,
        }
    }
}

/// `3999 127.0.0.1:6381`, or `3999 :6381`: the slot and where it is.
fn redirection(detail: &str, asked: &str) -> Option<Place> {
    let (host, port) = detail.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
    let host = if host.is_empty() { asked } else { host };
    (host != "?").then_some((host.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io;

    use redis::{ErrorKind, RedisError, ServerErrorKind, Value, make_extension_error, parse_redis_value};

    use super::{Reply, is_outage};

    fn reply(error: &str) -> Reply {
        let Ok(Value::ServerError(error)) = parse_redis_value(format!("-{error}\r\n").as_bytes()) else {
            panic!("no error: {error}")
        };
        Reply::of(&error, "asked")
    }

    #[test]
    fn redirections_name_a_place() {
        let place = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(reply("MOVED 3999 10.0.0.1:6381"), Reply::Moved(place("10.0.0.1", 6381)));
        assert_eq!(reply("MOVED 3999 :6381"), Reply::Moved(place("asked", 6381)));
        assert_eq!(reply("ASK 3999 fe80::1:6381"), Reply::Ask(place("fe80::1", 6381)));
        for garbage in ["", " 3999", " 3999 ?:6381", " 3999 a:", " 3999 a:70000", " 3999 a", " :"] {
            assert_eq!(reply(&format!("MOVED{garbage}")), Reply::Moved(None), "{garbage}");
        }
    }

    #[test]
    fn errors_of_a_server_that_cannot_serve_are_no_refusals() {
        for (error, meaning) in [
            ("READONLY You can't write against a read only replica.", Reply::WrongServer),
            ("ERR Error running script: @user_script: 1: -READONLY You can't write", Reply::WrongServer),
            ("LOADING Redis is loading the dataset in memory", Reply::WrongServer),
            ("MASTERDOWN Link with MASTER is down", Reply::WrongServer),
            ("NOAUTH Authentication required.", Reply::WrongServer),
            ("CLUSTERDOWN The cluster is down", Reply::NotNow),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Reply::NotNow),
            ("BUSY Redis is busy running a script", Reply::NotNow),
            ("NOSCRIPT No matching script", Reply::Refused),
            ("WRONGTYPE Operation against a key", Reply::Refused),
            ("NOPERM this user has no permissions", Reply::Refused),
            ("OOM command not allowed", Reply::Refused),
            ("ERR syntax error", Reply::Refused),
        ] {
            assert_eq!(reply(error), meaning, "{error}");
        }
    }

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
