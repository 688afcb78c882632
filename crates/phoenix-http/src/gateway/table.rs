//! The table of routes, and the one that is in force: which route a request belongs to.
//!
//! Immutable; to change routes, a new table is built (`build.rs`) and put in the place of the old. Does not own what a
//! route asks of a request.
//!
//! Routes with a host come first: those of the very host, then those of `*.example.com` from the longest, then those
//! without. Among the routes of one host the most specific path counts, from the left a literal before `{id}` and that
//! before `{*rest}`; where two have one path, the one that lists the method. `GET` is also `HEAD`. A route whose
//! methods do not fit is passed over, so a less specific one, in the end the fallback, takes the request.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use http::Method;

use super::host::{is_below, normal};
use super::route::{Access, ClassOf, CorsRule, HeaderChanges, Route, UpstreamId};
use crate::template::{Reader, Tree, each_reading};

/// The path of a request can be read in several ways that lead to different routes. 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ambiguous;

/// Whose a path is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Phoenix answers it, however it is read.
    Phoenix,
    /// The application's, however it is read.
    Application,
    /// Phoenix answers it in one reading and the application in another. 400.
    Unclear,
}

/// Which route a request belongs to.
#[derive(Debug)]
pub struct RouteTable {
    pub(super) entries: Vec<Entry>,
    pub(super) fallback: Arc<Route>,
    pub(super) hosts: Hosts,
    /// What Phoenix answers itself.
    pub(super) own: Tree<Own>,
}

/// When Phoenix answers a path itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Own {
    Always,
    /// Unless another proxy asks about it: the application may have the path, too.
    Probe,
}

/// A configured route.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) route: Arc<Route>,
    pub(super) allows_ambiguous: bool,
    pub(super) rank: Rank,
}

/// How early a route comes: the host first, then the path, then the method.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    /// 0 is a host, 1 those below one, 2 any.
    pub(super) of_host: u8,
    /// The longer a domain, the earlier.
    pub(super) shortness: Reverse<usize>,
    pub(super) host: String,
    /// From the left: 0 is a literal, 1 is `{id}`, 2 is `{*rest}`.
    pub(super) of_path: Vec<u8>,
    pub(super) path: String,
    pub(super) is_of_any_method: bool,
}

/// Positions of routes, by the hosts that they are for.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) exact: HashMap<String, Tree<usize>, RandomState>,
    /// From the longest domain to the shortest.
    pub(super) below: Vec<(String, Tree<usize>)>,
    pub(super) any: Tree<usize>,
}

impl RouteTable {
    /// The table without any configured route: everything goes to the first upstream, if there is one.
    #[must_use]
    pub fn bare(has_upstream: bool) -> Self {
        Self::of_fallback(Route {
            name: Arc::from("/{*rest}"),
            access: Access::Optional,
            class: ClassOf::ByPath,
            upstream: has_upstream.then_some(UpstreamId(0)),
            audience: Arc::from("app"),
            max_body: 100 * 1024 * 1024,
            deadline: Duration::from_mins(1),
            idle: Duration::from_mins(5),
            client_pause: None,
            same_origin: true,
            keep_credentials: false,
            keep_host: true,
            cors: CorsRule::Unstated,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        })
    }

    /// The route of a request. `host` is what the client asked for, in any case, with or without a port; `path` is in
    /// its normal form. No allocation for a path that can be read in one way only and a host in lower case.
    ///
    /// # Errors
    /// When readings of the path lead to different routes, unless the one that it leads to as it is written allows that.
    pub fn find(&self, host: Option<&str>, method: &Method, path: &str) -> Result<&Arc<Route>, Ambiguous> {
        if self.entries.is_empty() {
            return Ok(&self.fallback);
        }
        let host = host.filter(|_| self.hosts.are_named()).map(normal);
        let mut search = Search {
            scopes: self.hosts.of(host.as_deref()),
            method,
            is_first: true,
            written: None,
            is_unclear: false,
        };
        each_reading(path, &mut search);
        let Search { written, is_unclear, .. } = search;
        let entry = written.and_then(|at| self.entries.get(at));
        if is_unclear && !entry.is_some_and(|entry| entry.allows_ambiguous) {
            return Err(Ambiguous);
        }
        Ok(entry.map_or(&self.fallback, |entry| &entry.route))
    }

    /// Whether Phoenix answers a path itself: `/api/auth/login` does, `/API/auth/login` and `/api%2Fauth` do for some.
    #[must_use]
    pub fn owner(&self, path: &str) -> Owner {
        self.owner_if(path, |_| true)
    }

    /// The same of a request that another proxy asks about: `/healthz` and `/readyz` are the application's.
    #[must_use]
    pub fn owner_beside(&self, path: &str) -> Owner {
        self.owner_if(path, |own| own == Own::Always)
    }

    fn owner_if(&self, path: &str, counts: fn(Own) -> bool) -> Owner {
        let (mut ours, mut theirs) = (false, false);
        self.own.find(&Method::GET, path, |found| match found.filter(|own| counts(*own)) {
            Some(_) => ours = true,
            None => theirs = true,
        });
        match (ours, theirs) {
            (true, false) => Owner::Phoenix,
            (true, true) => Owner::Unclear,
            (false, _) => Owner::Application,
        }
    }
}

impl Hosts {
    /// Whether any route is for some hosts only.
    fn are_named(&self) -> bool {
        !self.exact.is_empty() || !self.below.is_empty()
    }

    /// The routes that a request to this host, in its normal form, may belong to.
    pub(super) fn of<'t>(&'t self, host: Option<&'t str>) -> Scopes<'t> {
        Scopes { hosts: self, exact: host.and_then(|host| self.exact.get(host)), host }
    }
}

/// The routes that a request to one host may belong to.
#[derive(Clone, Copy)]
pub(super) struct Scopes<'t> {
    hosts: &'t Hosts,
    exact: Option<&'t Tree<usize>>,
    host: Option<&'t str>,
}

impl Scopes<'_> {
    /// The route of one reading of a path.
    pub(super) fn lookup<'a>(
        self,
        segments: &(impl Iterator<Item = &'a [u8]> + Clone),
        method: &Method,
        ignore_case: bool,
    ) -> Option<usize> {
        let look = |tree: &Tree<usize>| tree.lookup(segments.clone(), method, ignore_case);
        let is_of_host = |domain: &str| self.host.is_some_and(|host| is_below(host, domain));
        let below = || {
            let mut trees = self.hosts.below.iter().filter(|(domain, _)| is_of_host(domain));
            trees.find_map(|(_, tree)| look(tree))
        };
        self.exact.and_then(look).or_else(below).or_else(|| look(&self.hosts.any))
    }
}

/// Looks for the route of every reading.
struct Search<'t> {
    scopes: Scopes<'t>,
    method: &'t Method,
    is_first: bool,
    /// Where the path leads as it is written.
    written: Option<usize>,
    /// Whether another reading leads elsewhere.
    is_unclear: bool,
}

impl Reader for Search<'_> {
    fn read<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]> + Clone, ignore_case: bool) {
        let found = self.scopes.lookup(&segments, self.method, ignore_case);
        if std::mem::take(&mut self.is_first) {
            self.written = found;
        }
        self.is_unclear |= self.written != found;
    }
}

/// The table in force. Replaced while requests read it.
#[derive(Debug)]
pub struct LiveRoutes(ArcSwap<RouteTable>);

impl LiveRoutes {
    /// In force from now on.
    #[must_use]
    pub fn new(table: RouteTable) -> Self {
        Self(ArcSwap::from_pointee(table))
    }

    /// For one request.
    pub fn load(&self) -> Guard<Arc<RouteTable>> {
        self.0.load()
    }

    /// Puts another in force.
    pub fn replace(&self, table: RouteTable) {
        self.0.store(Arc::new(table));
    }
}
