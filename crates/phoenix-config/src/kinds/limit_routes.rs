//! Which requests belong to which class: an array of tables, before the routes that Phoenix has by itself.

use serde_json::{Value as Json, json};

use super::{
    Choice, List, Text,
    limit_parts::NONE,
    tables::{Fields, entries, value_of},
};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::{HttpMethod, LimitRoute},
};

/// Most routes in a configuration.
const MAX_ROUTES: usize = 256;

const FIELDS: [&str; 3] = ["methods", "path", "class"];
const METHODS: List<Choice<HttpMethod>> = List { of: Choice::NEW, max: 7 };
const PATH: Text =
    Text { max_bytes: 256, what: "a path such as \"/api/reports/{id}\" or \"/api/files/{*rest}\"" };
const CLASS: Text = Text { max_bytes: 32, what: "the name of a class, or \"none\"" };

/// The routes: those of the configuration first, then those that Phoenix has by itself. Of the latter a route of the
/// configuration replaces those with the same path, for the methods that it names.
pub(crate) struct LimitRoutes {
    /// An array of routes, as TOML.
    pub(crate) built_in: &'static str,
}

impl Kind<Vec<LimitRoute>> for LimitRoutes {
    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<LimitRoute>, Refusal> {
        let read = |raw: &Raw<'_>, built_in: bool| {
            let value = value_of(raw, "an array of routes")?;
            entries(&value, MAX_ROUTES, |entry, path| route(entry, path, built_in))
        };
        let mut routes = read(raw, false)?;
        let built_in = read(&Raw::Text(self.built_in), true)?;
        let remaining: Vec<LimitRoute> =
            built_in.into_iter().filter_map(|built_in| remaining(built_in, &routes)).collect();
        routes.extend(remaining);
        Ok(routes)
    }

    fn show(&self, value: &Vec<LimitRoute>) -> Option<Literal> {
        if value.is_empty() {
            return Some(Literal::List(Vec::new()));
        }
        Some(Literal::Array(value.iter().map(shown).collect()))
    }

    fn describe(&self) -> String {
        format!(
            "at most {MAX_ROUTES} tables of path ({}), class ({}), and, where it is not for all, methods ({})",
            PATH.describe(),
            CLASS.describe(),
            METHODS.describe()
        )
    }

    fn schema(&self) -> Json {
        json!({"type": "array", "maxItems": MAX_ROUTES, "items": {
            "type": "object",
            "properties": {"methods": METHODS.schema(), "path": PATH.schema(), "class": CLASS.schema()},
            "required": ["path", "class"],
            "additionalProperties": false,
        }})
    }
}

fn route(value: &Literal, path: String, built_in: bool) -> Result<LimitRoute, Refusal> {
    let mut fields = Fields::of(value, path, &FIELDS)?;
    let methods = fields.read("methods", &METHODS).unwrap_or_default();
    let path = fields.read("path", &PATH);
    let class = fields.read("class", &CLASS);
    let path = fields.require("path", path, &format!("add path: {}", PATH.describe()));
    let class = fields.require("class", class, &format!("add class: {}", CLASS.describe()));
    let class = class.map(|class| Some(class).filter(|class| class != NONE));
    fields.finish(path.zip(class).map(|(path, class)| LimitRoute { methods, path, class, built_in }))
}

fn shown(route: &LimitRoute) -> Literal {
    let LimitRoute { methods, path, class, built_in: _ } = route;
    let methods = METHODS.show(methods).filter(|_| !methods.is_empty());
    let text = |text: &str| Some(Literal::Text(text.to_owned()));
    let fields =
        [("methods", methods), ("path", text(path)), ("class", text(class.as_deref().unwrap_or(NONE)))];
    let field = |(name, value): (&str, Option<Literal>)| value.map(|value| (name.to_owned(), value));
    Literal::Table(fields.into_iter().filter_map(field).collect())
}

/// What the routes of the configuration leave of a built-in one.
fn remaining(built_in: LimitRoute, routes: &[LimitRoute]) -> Option<LimitRoute> {
    let shape = shape(&built_in.path);
    let mut methods = built_in.methods.clone();
    for route in routes.iter().filter(|route| self::shape(&route.path) == shape) {
        match (route.methods.is_empty(), built_in.methods.is_empty()) {
            (true, _) => return None,
            // What lists methods comes before what is for all of them.
            (false, true) => {}
            (false, false) => methods.retain(|method| !route.methods.contains(method)),
        }
    }
    (built_in.methods.is_empty() || !methods.is_empty()).then_some(LimitRoute { methods, ..built_in })
}

/// What a template matches: its literals without case, its parameters without names.
fn shape(path: &str) -> Vec<String> {
    let segment = |segment: &str| match segment {
        rest if rest.starts_with("{*") => "{*}".to_owned(),
        parameter if parameter.starts_with('{') => "{}".to_owned(),
        literal => literal.to_ascii_lowercase(),
    };
    path.split('/').map(segment).collect()
}
