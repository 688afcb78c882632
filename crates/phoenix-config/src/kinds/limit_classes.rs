//! Classes of requests that are limited together: a table of tables, laid over the classes that Phoenix has by itself.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::{
    Boolean, Choice, List, Network,
    limit_parts::{Block, Multiplier, NONE, Window},
    tables::{Fields, entries, value_of},
};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::{LimitClass, LimitCount, LimitKey, LimitWindow, NetworkLimit},
};

/// Most classes.
const MAX_CLASSES: usize = 64;
/// Most networks of each kind for one class.
const MAX_NETWORKS: usize = 64;
/// Longest name of a class, in bytes.
const MAX_NAME_BYTES: usize = 32;

const FIELDS: [&str; 7] = ["windows", "block", "key", "count", "observe", "exempt", "networks"];
const WINDOWS: List<Window> = List { of: Window, max: 4 };
const KEY: Choice<LimitKey> = Choice::NEW;
const COUNT: Choice<LimitCount> = Choice::NEW;
const EXEMPT: List<Network> = List { of: Network, max: MAX_NETWORKS };
const NETWORKS: Networks = Networks;

/// The classes. What is written of one that `built_in` has changes only that; another one needs windows.
pub(crate) struct LimitClasses {
    /// A table of classes, as TOML.
    pub(crate) built_in: &'static str,
}

impl LimitClasses {
    fn built_in(&self) -> Result<Vec<LimitClass>, Refusal> {
        laid_over(Vec::new(), &value_of(&Raw::Text(self.built_in), "a table")?)
    }
}

impl Kind<Vec<LimitClass>> for LimitClasses {
    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<LimitClass>, Refusal> {
        laid_over(self.built_in()?, &value_of(raw, "a table of classes")?)
    }

    fn show(&self, value: &Vec<LimitClass>) -> Option<Literal> {
        Some(Literal::Table(value.iter().map(|class| (class.name.clone(), shown(class))).collect()))
    }

    fn describe(&self) -> String {
        format!(
            "at most {MAX_CLASSES} classes by name, each a table of: windows ({}), block ({}), key ({}), count ({}), \
             observe ({}), exempt ({}), networks ({})",
            WINDOWS.describe(),
            Block.describe(),
            KEY.describe(),
            COUNT.describe(),
            Boolean.describe(),
            EXEMPT.describe(),
            NETWORKS.describe(),
        )
    }

    fn schema(&self) -> Json {
        let fields: [Json; FIELDS.len()] = [
            WINDOWS.schema(),
            Block.schema(),
            KEY.schema(),
            COUNT.schema(),
            Boolean.schema(),
            EXEMPT.schema(),
            NETWORKS.schema(),
        ];
        let properties: Map<String, Json> = FIELDS.map(str::to_owned).into_iter().zip(fields).collect();
        json!({
            "type": "object",
            "maxProperties": MAX_CLASSES,
            "propertyNames": {"pattern": format!("^[a-z][a-z0-9_-]{{0,{}}}$", MAX_NAME_BYTES - 1)},
            "additionalProperties":
                {"type": "object", "properties": properties, "additionalProperties": false},
        })
    }
}

fn laid_over(mut classes: Vec<LimitClass>, value: &Literal) -> Result<Vec<LimitClass>, Refusal> {
    let Literal::Table(tables) = value else {
        return Err(Refusal::wrong_type(&Raw::Toml(value), "a table of classes"));
    };
    let mut refusals = Vec::new();
    for (name, table) in tables {
        let known = classes.iter().position(|class| class.name == *name);
        match class(name, known.and_then(|index| classes.get(index)), table) {
            Ok(class) => match known.and_then(|index| classes.get_mut(index)) {
                Some(known) => *known = class,
                None => classes.push(class),
            },
            Err(refusal) => refusals.push(refusal),
        }
    }
    if classes.len() > MAX_CLASSES {
        let reason = format!("there are {} classes; the most allowed is {MAX_CLASSES}", classes.len());
        refusals.push(Refusal::because(reason).remedy("give several routes one class"));
    }
    Refusal::all(refusals).map_or(Ok(classes), Err)
}

fn class(name: &str, known: Option<&LimitClass>, table: &Literal) -> Result<LimitClass, Refusal> {
    if !is_name(name) {
        return Err(Refusal::because("it is not a name for a class")
            .remedy(format!(
                "use 1 to {MAX_NAME_BYTES} characters of a-z, 0-9, - and _ that begin with a letter, and not \"{NONE}\""
            ))
            .of_part(name, None));
    }
    let mut fields = Fields::of(table, name.to_owned(), &FIELDS)?;
    let windows = fields.read("windows", &WINDOWS);
    let windows = match known {
        Some(known) => windows.or_else(|| Some(known.windows.clone())),
        None => fields.require(
            "windows",
            windows,
            "there is no built-in class of this name to take them from: add them, such as windows = [\"100/1m\"]",
        ),
    };
    if let Some(Err(refusal)) = windows.as_deref().map(windows_of_use) {
        fields.refuse(
            refusal.of_part(&fields.path_of("windows"), fields.get("windows").map(Literal::to_string)),
        );
    }
    let block = fields.read("block", &Block);
    let key = fields.read("key", &KEY);
    let count = fields.read("count", &COUNT);
    let observe = fields.read("observe", &Boolean);
    let exempt = fields.read("exempt", &EXEMPT);
    let networks = match fields.get("networks") {
        None => None,
        Some(value) => match networks_of(value, &fields.path_of("networks")) {
            Ok(networks) => Some(networks),
            Err(refusal) => {
                fields.refuse(refusal.of_part(&fields.path_of("networks"), Some(value.to_string())));
                None
            }
        },
    };
    let class = windows.map(|windows| LimitClass {
        name: name.to_owned(),
        windows,
        block: block.unwrap_or_else(|| known.and_then(|known| known.block)),
        key: key.unwrap_or_else(|| known.map_or(LimitKey::Principal, |known| known.key)),
        count: count.unwrap_or_else(|| known.map_or(LimitCount::All, |known| known.count)),
        observe: observe.unwrap_or_else(|| known.is_some_and(|known| known.observe)),
        exempt: exempt.or_else(|| known.map(|known| known.exempt.clone())).unwrap_or_default(),
        networks: networks.or_else(|| known.map(|known| known.networks.clone())).unwrap_or_default(),
    });
    fields.finish(class)
}

fn shown(class: &LimitClass) -> Literal {
    let LimitClass { name: _, windows, block, key, count, observe, exempt, networks } = class;
    let mut fields = vec![
        ("windows", WINDOWS.show(windows)),
        ("block", Block.show(block)),
        ("key", KEY.show(key)),
        ("count", COUNT.show(count)),
    ];
    if *observe {
        fields.push(("observe", Boolean.show(observe)));
    }
    if !exempt.is_empty() {
        fields.push(("exempt", EXEMPT.show(exempt)));
    }
    if !networks.is_empty() {
        fields.push(("networks", Some(NETWORKS.show(networks))));
    }
    let field = |(name, value): (&str, Option<Literal>)| value.map(|value| (name.to_owned(), value));
    Literal::Table(fields.into_iter().filter_map(field).collect())
}

/// How many requests a window admits at most in a time that is as long or longer.
fn most_admitted(window: LimitWindow, time: Duration) -> u128 {
    u128::from(window.limit) * time.as_nanos().div_ceil(window.span.as_nanos().max(1))
}

/// Every window must be able to refuse what the others admit.
fn windows_of_use(windows: &[LimitWindow]) -> Result<(), Refusal> {
    if windows.is_empty() {
        return Err(Refusal::because("it is empty").remedy("write at least one window, such as \"100/1m\""));
    }
    let mut windows: Vec<&LimitWindow> = windows.iter().collect();
    windows.sort_by_key(|window| window.span);
    let text =
        |window: &LimitWindow| Window.show(window).map(|literal| literal.to_string()).unwrap_or_default();
    for (index, long) in windows.iter().enumerate() {
        for short in &windows[..index] {
            let (useless, beside) = match () {
                () if short.span == long.span || short.limit >= long.limit => (short, long),
                () if u128::from(long.limit) >= most_admitted(**short, long.span) => (long, short),
                () => continue,
            };
            let reason = format!("{} has no effect beside {}", text(useless), text(beside));
            return Err(Refusal::because(reason).remedy(
                "keep one of them: of two windows the longer one must allow more requests, but fewer for its time",
            ));
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text != NONE
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

/// Networks with their multipliers.
struct Networks;

impl Networks {
    #[expect(clippy::unused_self, reason = "called like the same of other kinds")]
    fn describe(&self) -> String {
        format!(
            "at most {MAX_NETWORKS} tables of cidr ({}) and multiplier ({})",
            Network.describe(),
            Multiplier.describe()
        )
    }

    #[expect(clippy::unused_self, reason = "called like the same of other kinds")]
    fn schema(&self) -> Json {
        json!({"type": "array", "maxItems": MAX_NETWORKS, "items": {
            "type": "object",
            "properties": {"cidr": Network.schema(), "multiplier": Multiplier.schema()},
            "required": ["cidr", "multiplier"],
            "additionalProperties": false,
        }})
    }

    #[expect(clippy::unused_self, reason = "called like the same of other kinds")]
    fn show(&self, networks: &[NetworkLimit]) -> Literal {
        let table = |network: &NetworkLimit| {
            let cidr = Network.show(&network.network).map(|value| ("cidr".to_owned(), value));
            let by = Multiplier.show(&network.multiplier).map(|value| ("multiplier".to_owned(), value));
            Literal::Table(cidr.into_iter().chain(by).collect())
        };
        Literal::Array(networks.iter().map(table).collect())
    }
}

fn networks_of(value: &Literal, path: &str) -> Result<Vec<NetworkLimit>, Refusal> {
    entries(value, MAX_NETWORKS, |item, entry| {
        let mut fields = Fields::of(item, format!("{path}{entry}"), &["cidr", "multiplier"])?;
        let network = fields.read("cidr", &Network);
        let multiplier = fields.read("multiplier", &Multiplier);
        let network = fields.require("cidr", network, &format!("add cidr: {}", Network.describe()));
        let multiplier =
            fields.require("multiplier", multiplier, &format!("add multiplier: {}", Multiplier.describe()));
        fields
            .finish(network.zip(multiplier).map(|(network, multiplier)| NetworkLimit { network, multiplier }))
    })
}
