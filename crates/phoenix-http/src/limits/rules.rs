//! All rules together, validated: what class a request belongs to, and which rule an address has in it.
//!
//! Immutable; to change rules, new ones are built and put in the place of the old. Nothing is counted here.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use http::Method;
use ipnet::IpNet;

use super::class::{AUTH, CREDENTIALS, Class, ClassSpec, KeyBy, REGISTER};
use crate::template::{self, Conflict, TemplateError, Tree};

/// Most classes.
pub(super) const MAX_CLASSES: usize = 64;
/// Most routes.
pub(super) const MAX_ROUTES: usize = 512;
/// Answered without any limit, whatever the routes say: who watches the server asks them often.
const NEVER_LIMITED: [&str; 2] = ["/healthz", "/readyz"];

/// Requests and the class they belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSpec {
    /// Methods; empty is all. `GET` is also `HEAD`, unless another route of the same path lists that.
    pub methods: Vec<Method>,
    /// Template: `/api/reports/{id}` for any one segment, `/api/ai/{*rest}` for that path and everything below it.
    pub path: String,
    /// Name of a class; `None`: not limited.
    pub class: Option<String>,
}

/// What holds for all classes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleOptions {
    /// False: nothing is limited.
    pub enabled: bool,
    /// Bits of an IPv6 address that name a client, 32 to 128.
    pub ipv6_prefix: u8,
    /// Whether answers carry `X-RateLimit-*`, too.
    pub legacy_headers: bool,
}

/// Where a problem is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The class with this name.
    Class(String),
    /// The route at this position, counted from 0.
    Route(usize),
}

/// Something in the rules that cannot work.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RuleProblem {
    /// Two classes with one name.
    #[error("there are two classes with this name")]
    DuplicateClass {
        /// The name.
        class: String,
    },
    /// More than there may be.
    #[error("there are at most {MAX_CLASSES} classes and {MAX_ROUTES} routes")]
    TooMany {
        /// The first that is too many.
        place: Place,
    },
    /// Windows or a block that cannot be.
    #[error("{problem}")]
    Rule {
        /// The class.
        class: String,
        /// What is wrong.
        problem: phoenix_limit::RuleError,
    },
    /// A key that says nothing about the requests of a class.
    #[error(
        "requests of this class come from callers who are not signed in, so they cannot be counted by user"
    )]
    NoPrincipal {
        /// The class.
        class: String,
    },
    /// An account where none is named.
    #[error("only the class \"{AUTH}\" knows which account a request is about")]
    NoAccount {
        /// The class.
        class: String,
    },
    /// A factor that is no positive number.
    #[error("the multiplier of {network} is {factor}; it must be a number above 0")]
    Factor {
        /// The class.
        class: String,
        /// The network.
        network: IpNet,
        /// The factor.
        factor: f64,
    },
    /// A path that is no template.
    #[error("{problem}")]
    Template {
        /// The route.
        route: usize,
        /// What is wrong with it.
        problem: TemplateError,
    },
    /// A class that does not exist.
    #[error("there is no class \"{class}\"")]
    UnknownClass {
        /// The route.
        route: usize,
        /// The name that it gives.
        class: String,
    },
    /// Two routes for the same requests with different classes.
    #[error("it matches the same requests as \"{other_path}\", which has another class")]
    Overlap {
        /// The later route.
        route: usize,
        /// The earlier one.
        other: usize,
        /// Its path.
        other_path: String,
    },
    /// Two templates that differ in case only at one place.
    #[error("another path has \"{other}\" at the same place, which differs in case only")]
    Case {
        /// The later route.
        route: usize,
        /// What the earlier one has.
        other: String,
    },
    /// A class for a path that is never limited.
    #[error("this path is never limited, so that the server can be watched")]
    NeverLimited {
        /// The route.
        route: usize,
    },
}

impl RuleProblem {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::DuplicateClass { class }
            | Self::Rule { class, .. }
            | Self::NoPrincipal { class }
            | Self::NoAccount { class }
            | Self::Factor { class, .. } => Place::Class(class.clone()),
            Self::TooMany { place } => place.clone(),
            Self::Template { route, .. }
            | Self::UnknownClass { route, .. }
            | Self::Overlap { route, .. }
            | Self::Case { route, .. }
            | Self::NeverLimited { route } => Place::Route(*route),
        }
    }
}

/// Everything in the rules that cannot work.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("the rate limits cannot be used, for {} reasons", problems.len())]
pub struct RulesError {
    /// At least one.
    pub problems: Vec<RuleProblem>,
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Target {
    /// Position among the routes.
    route: usize,
    /// Position among the classes; `None`: not limited.
    class: Option<usize>,
}

/// Validated rules.
#[derive(Debug)]
pub struct LimitRules {
    classes: Vec<Class>,
    tree: Tree<Target>,
    options: RuleOptions,
}

impl LimitRules {
    /// Validates rules. `exempt` are networks that no class counts.
    ///
    /// # Errors
    /// Everything that cannot work, not only the first.
    pub fn build(
        classes: Vec<ClassSpec>,
        routes: &[RouteSpec],
        exempt: &[IpNet],
        options: RuleOptions,
    ) -> Result<Self, RulesError> {
        let mut problems = Vec::new();
        for (index, class) in classes.iter().enumerate() {
            check_class(class, &classes[..index], &mut problems);
        }
        let tree = tree_of(routes, &classes, &mut problems);
        if !problems.is_empty() {
            return Err(RulesError { problems });
        }
        let classes = classes.into_iter().map(|spec| Class::new(spec, exempt)).collect();
        Ok(Self { classes, tree, options })
    }

    /// What holds for all classes.
    #[must_use]
    pub const fn options(&self) -> &RuleOptions {
        &self.options
    }

    /// The class of a request; `None`: it is not limited. A path that can be read in several ways has the strictest
    /// class of all of them.
    pub(crate) fn class_of(&self, method: &Method, path: &str) -> Option<&Class> {
        if !self.options.enabled || NEVER_LIMITED.contains(&path) {
            return None;
        }
        let mut strictest: Option<&Class> = None;
        self.tree.find(method, path, |target| {
            let class = target.and_then(|target| target.class).and_then(|index| self.classes.get(index));
            if let Some(class) = class
                && strictest.is_none_or(|known| is_stricter(class, known))
            {
                strictest = Some(class);
            }
        });
        strictest
    }

    /// The name of the class of a request, for whoever asks.
    #[must_use]
    pub fn name_of_class(&self, method: &Method, path: &str) -> Option<&str> {
        self.class_of(method, path).map(Class::name)
    }

    /// The class with this name, for what is not found by its path; `None` also when nothing is limited.
    pub(crate) fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.name() == name).filter(|_| self.options.enabled)
    }

    /// All classes, in the order in which they were given, whether or not anything is limited.
    pub(crate) fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The rule for an address in a class of these rules; `None` when it is exempt.
    #[expect(clippy::unused_self, reason = "says that the class must be one of these rules")]
    pub(crate) fn rule_for<'a>(&'a self, class: &'a Class, ip: IpAddr) -> Option<&'a phoenix_limit::Rule> {
        class.rule_for(ip)
    }
}

fn is_stricter(class: &Class, known: &Class) -> bool {
    let (one, other) = (class.looseness(), known.looseness());
    one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)).is_lt()
}

fn check_class(class: &ClassSpec, earlier: &[ClassSpec], problems: &mut Vec<RuleProblem>) {
    let name = || class.name.clone();
    if earlier.len() == MAX_CLASSES {
        problems.push(RuleProblem::TooMany { place: Place::Class(name()) });
    }
    if earlier.iter().any(|other| other.name == class.name) {
        problems.push(RuleProblem::DuplicateClass { class: name() });
    }
    let is_before_sign_in = [AUTH, REGISTER, CREDENTIALS].contains(&class.name.as_str());
    match class.key {
        KeyBy::Principal | KeyBy::Both if is_before_sign_in => {
            problems.push(RuleProblem::NoPrincipal { class: name() });
        }
        KeyBy::Account if class.name != AUTH => problems.push(RuleProblem::NoAccount { class: name() }),
        KeyBy::Address | KeyBy::Principal | KeyBy::Both | KeyBy::Account => {}
    }
    for (network, factor) in &class.networks {
        if !(factor.is_finite() && *factor > 0.0) {
            problems.push(RuleProblem::Factor { class: name(), network: *network, factor: *factor });
        }
    }
}

fn tree_of(routes: &[RouteSpec], classes: &[ClassSpec], problems: &mut Vec<RuleProblem>) -> Tree<Target> {
    let mut tree = Tree::new();
    for (route, spec) in routes.iter().enumerate() {
        if route == MAX_ROUTES {
            problems.push(RuleProblem::TooMany { place: Place::Route(route) });
            break;
        }
        let class = spec.class.as_ref().and_then(|name| {
            let known = classes.iter().position(|class| class.name == *name);
            if known.is_none() {
                problems.push(RuleProblem::UnknownClass { route, class: name.clone() });
            }
            known
        });
        if class.is_some() && NEVER_LIMITED.contains(&spec.path.as_str()) {
            problems.push(RuleProblem::NeverLimited { route });
        }
        let segments = match template::parse(&spec.path) {
            Ok(segments) => segments,
            Err(problem) => {
                problems.push(RuleProblem::Template { route, problem });
                continue;
            }
        };
        let is_same = |one: Target, other: Target| one.class == other.class;
        match tree.add(&segments, &spec.methods, Target { route, class }, is_same) {
            Ok(()) => {}
            Err(Conflict::Overlap(Target { route: other, .. })) => {
                let other_path = routes.get(other).map(|other| other.path.clone()).unwrap_or_default();
                problems.push(RuleProblem::Overlap { route, other, other_path });
            }
            Err(Conflict::Case(other)) => problems.push(RuleProblem::Case { route, other }),
        }
    }
    tree
}

/// The rules in force. Readers never wait, and see either the old rules or the new ones.
#[derive(Debug)]
pub struct LiveRules(ArcSwap<LimitRules>);

impl LiveRules {
    /// With these rules.
    #[must_use]
    pub fn new(rules: LimitRules) -> Self {
        Self(ArcSwap::from_pointee(rules))
    }

    /// The rules of this moment. To be dropped soon: who needs them for longer takes [`LiveRules::load_full`].
    pub fn load(&self) -> Guard<Arc<LimitRules>> {
        self.0.load()
    }

    /// The rules of this moment, for as long as they are needed.
    #[must_use]
    pub fn load_full(&self) -> Arc<LimitRules> {
        self.0.load_full()
    }

    /// Puts others in force, for every look-up that begins after. Counters of classes that are in both go on.
    pub fn replace(&self, mut rules: LimitRules) {
        let old = self.0.load();
        for class in &mut rules.classes {
            if let Some(same) = old.classes.iter().find(|other| other.name() == class.name()) {
                class.go_on_from(same);
            }
        }
        self.0.store(Arc::new(rules));
    }
}
