//! Why a request belongs to the route that it belongs to, for whoever asks (`phoenix routes`).
//!
//! Finds the same as `RouteTable::find`, which answers requests; does not own the words in which it is told.

use std::sync::Arc;

use http::Method;

use super::host::normal;
use super::route::Route;
use super::table::{Owner, RouteTable, Scopes};
use crate::template::{Reader, each_reading};

/// One way to read a path, and the position of the route that it leads to; `None` is the fallback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reading {
    /// Its parts, each after a slash; a slash within a part is `%2F`, and what is no text is replaced.
    pub path: String,
    /// Whether capitals are taken for small letters.
    pub ignores_case: bool,
    /// Position among the routes that the table was built from.
    pub route: Option<usize>,
}

/// What becomes of a path in normal form.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Whose it is. Of a table without any upstream: for other proxies, which then are who asks it.
    pub owner: Owner,
    /// Position of the route among those that the table was built from; `None` is the fallback. What the path leads to
    /// as it is written.
    pub position: Option<usize>,
    /// That route.
    pub route: Arc<Route>,
    /// Whether readings lead to different routes.
    pub is_ambiguous: bool,
    /// Whether the route takes such a path as it is written.
    pub allows_ambiguous: bool,
    /// Each way to read it that differs from those before; the first is as it is written.
    pub readings: Vec<Reading>,
}

impl RouteTable {
    /// Which route a request belongs to, and why.
    #[must_use]
    pub fn explain(&self, host: Option<&str>, method: &Method, path: &str) -> Explanation {
        let host = host.map(normal);
        let mut noted = Noted { scopes: self.hosts.of(host.as_deref()), method, readings: Vec::new() };
        each_reading(path, &mut noted);
        let readings = noted.readings;
        let position = readings.first().and_then(|reading| reading.route);
        let entry = position.and_then(|at| self.entries.get(at));
        Explanation {
            owner: if self.forwards() { self.owner(path) } else { self.owner_beside(path) },
            position,
            route: Arc::clone(entry.map_or(&self.fallback, |entry| &entry.route)),
            is_ambiguous: readings.iter().any(|reading| reading.route != position),
            allows_ambiguous: entry.is_some_and(|entry| entry.allows_ambiguous),
            readings,
        }
    }

    fn forwards(&self) -> bool {
        self.fallback.upstream.is_some() || self.routes().any(|route| route.upstream.is_some())
    }

    /// The configured routes, in the order in which they were given.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.entries.iter().map(|entry| &entry.route)
    }

    /// Positions of the configured routes, from those that are asked first to those that are asked last.
    #[must_use]
    pub fn in_order_of_precedence(&self) -> Vec<usize> {
        let mut order: Vec<(usize, _)> =
            self.entries.iter().enumerate().map(|(at, entry)| (at, &entry.rank)).collect();
        order.sort_by_key(|(_, rank)| *rank);
        order.into_iter().map(|(at, _)| at).collect()
    }

    /// The route of what belongs to none of them.
    #[must_use]
    pub const fn fallback(&self) -> &Arc<Route> {
        &self.fallback
    }
}

/// Writes readings down.
struct Noted<'t> {
    scopes: Scopes<'t>,
    method: &'t Method,
    readings: Vec<Reading>,
}

impl Reader for Noted<'_> {
    fn read<'a>(&mut self, segments: impl Iterator<Item = &'a [u8]> + Clone, ignores_case: bool) {
        let route = self.scopes.lookup(&segments, self.method, ignores_case);
        let part = |part: &[u8]| format!("/{}", String::from_utf8_lossy(part).replace('/', "%2F"));
        let path: String = segments.map(part).collect();
        let path = if path.is_empty() { "/".to_owned() } else { path };
        if !self.readings.iter().any(|known| known.path == path && known.route == route) {
            self.readings.push(Reading { path, ignores_case, route });
        }
    }
}
