//! Settings whose value is one word of a closed list, and that list.

/// An enum that is written as one of a few words.
pub(crate) trait Choices: Copy + PartialEq + Sync + 'static {
    /// Every value with the word that stands for it.
    const ALL: &'static [(&'static str, Self)];
}

/// What the server is used for. Decides what is refused as unsafe, never how a request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Real users.
    Production,
    /// An engineer's machine.
    Development,
    /// An automated test.
    Test,
}

impl Choices for Environment {
    const ALL: &'static [(&'static str, Self)] =
        &[("production", Self::Production), ("development", Self::Development), ("test", Self::Test)];
}

/// The header in which trusted proxies name their clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl Choices for ForwardedHeader {
    const ALL: &'static [(&'static str, Self)] =
        &[("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded)];
}

/// Whether trusted proxies speak the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// Nobody may.
    Off,
    /// They must, and nobody else may.
    On,
}

impl Choices for ProxyProtocol {
    const ALL: &'static [(&'static str, Self)] = &[("off", Self::Off), ("on", Self::On)];
}

/// A version of TLS. Older ones are never spoken (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl Choices for TlsVersion {
    const ALL: &'static [(&'static str, Self)] = &[("1.2", Self::V1_2), ("1.3", Self::V1_3)];
}

/// Who may make an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registration {
    /// Anyone who can reach the server.
    Open,
    /// Only an administrator, for others.
    Closed,
}

impl Choices for Registration {
    const ALL: &'static [(&'static str, Self)] = &[("open", Self::Open), ("closed", Self::Closed)];
}

/// What happens when a user who has as many sessions as allowed signs in once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionCapPolicy {
    /// The session that was opened first ends.
    EvictOldest,
    /// The new session is refused.
    Refuse,
}

impl Choices for SessionCapPolicy {
    const ALL: &'static [(&'static str, Self)] =
        &[("evict_oldest", Self::EvictOldest), ("refuse", Self::Refuse)];
}

/// What is done when a session is used in a way that may mean that its token was stolen. Every case is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reaction {
    /// It is recorded, and nothing else.
    Observe,
    /// The request is refused: the user signs in again there. The session goes on elsewhere.
    Reauthenticate,
    /// The session ends.
    Revoke,
}

impl Choices for Reaction {
    const ALL: &'static [(&'static str, Self)] =
        &[("observe", Self::Observe), ("reauthenticate", Self::Reauthenticate), ("revoke", Self::Revoke)];
}

/// Whether other proxies may ask about requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardAuthMode {
    /// Where Phoenix forwards no requests itself.
    Auto,
    /// They may.
    On,
    /// They may not.
    Off,
}

impl Choices for ForwardAuthMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("on", Self::On), ("off", Self::Off)];
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// Coloured lines for a person.
    Human,
    /// One JSON object a line.
    Json,
}

impl Choices for LogFormat {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("human", Self::Human), ("json", Self::Json)];
}
