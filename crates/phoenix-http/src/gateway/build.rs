//! From routes as they are configured to a table, with everything that is wrong with them.
//!
//! Does not own how a table is searched (`table.rs`), nor how routes are written down (`phoenix-config`).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::Method;

use super::host::HostPattern;
use super::route::Route;
use super::table::{Entry, Hosts, Own, Rank, RouteTable};
use crate::template::{self, Conflict, Segment, TemplateError, Tree};

/// Most routes.
pub(super) const MAX_ROUTES: usize = 256;

/// What Phoenix answers itself, whatever is configured.
const OWN: [&str; 7] = [
    "/api/auth/{*rest}",
    "/api/phoenix/{*rest}",
    "/phoenix/{*rest}",
    "/api/admin/users/{*rest}",
    "/api/admin/security-events/{*rest}",
    "/api/admin/blocks/{*rest}",
    "/.well-known/jwks.json",
];
/// What Phoenix answers whoever asks Phoenix. Many applications have these paths, too: where another proxy asks, they are
/// the application's.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// A route, and the requests that belong to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSpec {
    /// `app.example.com`, or `*.example.com` for all below it; `None` is any host.
    pub host: Option<String>,
    /// Methods; empty is all.
    pub methods: Vec<Method>,
    /// Template: `/tasks/{id}` for any one part, `/files/{*rest}` for that path and everything below it.
    pub path: String,
    /// Whether paths that can be read as leading elsewhere are taken as they are written.
    pub allows_ambiguous: bool,
    /// What holds for these requests. Its name is made here.
    pub route: Route,
}

/// Something in the routes that cannot work. `route` is a position, counted from 0.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RouteProblem {
    /// More than there may be.
    #[error("there are at most {MAX_ROUTES} routes")]
    TooMany {
        /// The first that is too many.
        route: usize,
    },
    /// Neither a host nor `*.` and a domain.
    #[error("it is not the name of a host")]
    Host {
        /// The route.
        route: usize,
    },
    /// A path that is no template.
    #[error("{problem}")]
    Template {
        /// The route.
        route: usize,
        /// What is wrong with it.
        problem: TemplateError,
    },
    /// Nothing of it would reach the route.
    #[error("Phoenix answers this path itself")]
    Own {
        /// The route.
        route: usize,
    },
    /// Two routes for the same requests.
    #[error("it matches the same requests as another route, \"{other_path}\"")]
    Overlap {
        /// The later route.
        route: usize,
        /// The earlier one.
        other: usize,
        /// Its path.
        other_path: String,
    },
    /// Two templates that differ in case only at one place.
    #[error("another route has \"{other}\" at the same place, which differs in case only")]
    Case {
        /// The later route.
        route: usize,
        /// What the earlier one has.
        other: String,
    },
}

impl RouteProblem {
    /// Position of the route that is at fault.
    #[must_use]
    pub const fn route(&self) -> usize {
        match self {
            Self::TooMany { route }
            | Self::Host { route }
            | Self::Template { route, .. }
            | Self::Own { route }
            | Self::Overlap { route, .. }
            | Self::Case { route, .. } => *route,
        }
    }
}

/// Everything in the routes that cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the routes of the gateway cannot be used, for {} reasons", problems.len())]
pub struct RouteErrors {
    /// At least one.
    pub problems: Vec<RouteProblem>,
}

impl RouteTable {
    /// Validates routes. What belongs to none of them belongs to `fallback`.
    ///
    /// # Errors
    /// Everything that cannot work, not only the first.
    pub fn build(routes: Vec<RouteSpec>, fallback: Route) -> Result<Self, RouteErrors> {
        let mut table = Self::of_fallback(fallback);
        let mut problems = Vec::new();
        for (at, spec) in routes.iter().enumerate() {
            if at == MAX_ROUTES {
                problems.push(RouteProblem::TooMany { route: at });
                break;
            }
            if let Err(problem) = table.add(at, spec, &routes) {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            return Err(RouteErrors { problems });
        }
        table.hosts.below.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then(one.cmp(other)));
        table.entries = routes.into_iter().map(entry).collect();
        Ok(table)
    }

    /// Without configured routes.
    pub(super) fn of_fallback(fallback: Route) -> Self {
        let hosts = Hosts {
            exact: HashMap::with_hasher(RandomState::default()),
            below: Vec::new(),
            any: Tree::new(),
        };
        Self { entries: Vec::new(), fallback: Arc::new(fallback), hosts, own: own() }
    }

    fn add(&mut self, at: usize, spec: &RouteSpec, all: &[RouteSpec]) -> Result<(), RouteProblem> {
        let segments =
            template::parse(&spec.path).map_err(|problem| RouteProblem::Template { route: at, problem })?;
        match own_of(&self.own, &segments) {
            Some(Own::Always) => return Err(RouteProblem::Own { route: at }),
            // Where Phoenix forwards requests, none of them would reach the route. Else only other proxies ask about it.
            Some(Own::Probe) if spec.route.upstream.is_some() => return Err(RouteProblem::Own { route: at }),
            Some(Own::Probe) | None => {}
        }
        let tree = self.hosts.tree_for(spec.host.as_deref()).ok_or(RouteProblem::Host { route: at })?;
        // Two routes are never the same, so that it is never left open which of them counts.
        tree.add(&segments, &spec.methods, at, |one, other| one == other).map_err(|conflict| match conflict {
            Conflict::Overlap(other) => {
                let other_path = all.get(other).map(|other| other.path.clone()).unwrap_or_default();
                RouteProblem::Overlap { route: at, other, other_path }
            }
            Conflict::Case(other) => RouteProblem::Case { route: at, other },
        })
    }
}

impl Hosts {
    /// The routes for a host as it is configured; `None` when it is none.
    fn tree_for(&mut self, host: Option<&str>) -> Option<&mut Tree<usize>> {
        let Some(host) = host else { return Some(&mut self.any) };
        match HostPattern::parse(host)? {
            HostPattern::Exact(host) => Some(self.exact.entry(host).or_insert_with(Tree::new)),
            HostPattern::Below(domain) => {
                let known = self.below.iter().position(|(known, _)| *known == domain);
                let at = known.unwrap_or_else(|| {
                    self.below.push((domain, Tree::new()));
                    self.below.len() - 1
                });
                self.below.get_mut(at).map(|(_, tree)| tree)
            }
        }
    }
}

fn entry(spec: RouteSpec) -> Entry {
    let rank = rank(&spec);
    let RouteSpec { host, methods: _, path, allows_ambiguous, route } = spec;
    let name = format!("{}{path}", host.unwrap_or_default().to_ascii_lowercase());
    Entry { route: Arc::new(Route { name: Arc::from(name), ..route }), allows_ambiguous, rank }
}

fn rank(spec: &RouteSpec) -> Rank {
    let (of_host, host) = match spec.host.as_deref().and_then(HostPattern::parse) {
        Some(HostPattern::Exact(host)) => (0, host),
        Some(HostPattern::Below(domain)) => (1, domain),
        None => (2, String::new()),
    };
    let of_segment = |segment: &Segment| match segment {
        Segment::Literal(_) => 0,
        Segment::Param => 1,
        Segment::Rest => 2,
    };
    Rank {
        of_host,
        shortness: Reverse(if of_host == 1 { host.len() } else { 0 }),
        host,
        of_path: template::parse(&spec.path).unwrap_or_default().iter().map(of_segment).collect(),
        path: spec.path.clone(),
        is_of_any_method: spec.methods.is_empty(),
    }
}

fn own() -> Tree<Own> {
    let mut tree = Tree::new();
    let always = OWN.iter().map(|path| (path, Own::Always));
    for (path, own) in always.chain(PROBES.iter().map(|path| (path, Own::Probe))) {
        // Valid and free of conflicts, as a test asserts.
        if let Ok(segments) = template::parse(path) {
            let _ = tree.add(&segments, &[], own, |one, other| one == other);
        }
    }
    tree
}

/// Whether Phoenix answers everything that a template matches.
fn own_of(own: &Tree<Own>, segments: &[Segment]) -> Option<Own> {
    // No part of a path of ours is written so.
    const ANYTHING: &[u8] = b"{}";
    let segments = segments.iter().map(|segment| match segment {
        Segment::Literal(text) => text.as_bytes(),
        Segment::Param | Segment::Rest => ANYTHING,
    });
    own.lookup(segments, &Method::GET, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_of_our_own_is_in_the_tree() {
        let own = own();
        for (paths, expected) in [(&OWN[..], Own::Always), (&PROBES, Own::Probe)] {
            for path in paths {
                assert_eq!(own_of(&own, &template::parse(path).unwrap()), Some(expected), "{path}");
            }
        }
        for path in
            ["/", "/{*rest}", "/api/{*rest}", "/api/{a}/login", "/{a}", "/api/admin/{*rest}", "/healthz/x"]
        {
            assert_eq!(own_of(&own, &template::parse(path).unwrap()), None, "{path}");
        }
    }
}
