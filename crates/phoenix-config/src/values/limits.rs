//! Rate limits as they are configured: classes of requests, and which requests belong to them. Owns what the parts are;
//! how they are written is in `kinds/`, what they do is not decided here.

use std::time::Duration;

use ipnet::IpNet;

use super::Choices;

/// Requests that are limited together.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitClass {
    /// 1 to 32 characters of a-z, 0-9, `-` and `_`, the first a letter; not `none`.
    pub name: String,
    /// 1 to 4, all of which must have room.
    pub windows: Vec<LimitWindow>,
    /// How long a client is refused that asked for more than a window holds; `None`: until there is room.
    pub block: Option<Duration>,
    /// For whom requests are counted.
    pub key: LimitKey,
    /// Which requests are counted.
    pub count: LimitCount,
    /// Refuses nothing, only says what would have been refused.
    pub observe: bool,
    /// Networks whose requests the class does not count.
    pub exempt: Vec<IpNet>,
    /// Networks with other limits.
    pub networks: Vec<NetworkLimit>,
}

/// At most `limit` requests in any stretch of time as long as `span`. Written `100/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitWindow {
    /// Requests, 1 to 10,000.
    pub limit: u32,
    /// Time, more than zero, at most 31 days.
    pub span: Duration,
}

/// A network for which the limits of a class are multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkLimit {
    /// The network.
    pub network: IpNet,
    /// More than zero.
    pub multiplier: f64,
}

/// For whom requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// The client's address, IPv6 by its prefix.
    Address,
    /// The user when signed in, else the address.
    Principal,
    /// Both the user and the address.
    Both,
    /// The address, and the account that a login names.
    Account,
}

impl Choices for LimitKey {
    const ALL: &'static [(&'static str, Self)] = &[
        ("address", Self::Address),
        ("principal", Self::Principal),
        ("both", Self::Both),
        ("account", Self::Account),
    ];
}

/// Which requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitCount {
    /// Every one.
    All,
    /// Those that failed.
    Failures,
}

impl Choices for LimitCount {
    const ALL: &'static [(&'static str, Self)] = &[("all", Self::All), ("failures", Self::Failures)];
}

/// Requests and the class they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRoute {
    /// Methods; none is all.
    pub methods: Vec<HttpMethod>,
    /// Template of the path, not looked into.
    pub path: String,
    /// Name of a class, which need not exist; `None`: not limited.
    pub class: Option<String>,
    /// Whether it is there by default.
    pub built_in: bool,
}

/// A method of HTTP (RFC 9110, section 9; RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named after the methods")]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl HttpMethod {
    /// Its name in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

impl Choices for HttpMethod {
    const ALL: &'static [(&'static str, Self)] = &[
        (Self::Get.as_str(), Self::Get),
        (Self::Head.as_str(), Self::Head),
        (Self::Post.as_str(), Self::Post),
        (Self::Put.as_str(), Self::Put),
        (Self::Patch.as_str(), Self::Patch),
        (Self::Delete.as_str(), Self::Delete),
        (Self::Options.as_str(), Self::Options),
    ];
}
