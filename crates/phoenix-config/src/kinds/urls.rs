//! URLs of servers and web origins.

use serde_json::{Value as Json, json};

use super::text;
use crate::{
    setting::{Kind, Literal, Raw, Refusal, Sensitivity},
    values::{DatabaseUrl, Origin, PageUrl, RedisUrl},
};

/// A web origin.
pub(crate) struct WebOrigin;

impl Kind<Origin> for WebOrigin {
    fn parse(&self, raw: &Raw<'_>) -> Result<Origin, Refusal> {
        let text = text(raw)?;
        Origin::parse(text).map_err(|reason| {
            let refusal = Refusal::because(reason);
            match Origin::parse(text.trim_end_matches('/')) {
                Ok(origin) => refusal.remedy(format!("write \"{origin}\"")),
                Err(_) => refusal,
            }
        })
    }

    fn show(&self, value: &Origin) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "an origin, such as \"https://example.com\" or \"http://localhost:3000\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\\\\]+$"})
    }

    fn example(&self) -> Literal {
        Literal::Text("https://example.com".to_owned())
    }
}

/// The address of a page.
pub(crate) struct Page;

impl Kind<PageUrl> for Page {
    fn parse(&self, raw: &Raw<'_>) -> Result<PageUrl, Refusal> {
        PageUrl::parse(text(raw)?).map_err(Refusal::because)
    }

    fn show(&self, value: &PageUrl) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "the address of a page, such as \"https://app.example.com/sign-in\"".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^#@\\\\]+$"})
    }

    fn example(&self) -> Literal {
        Literal::Text("https://app.example.com/sign-in".to_owned())
    }
}

/// The URL of a PostgreSQL database.
pub(crate) struct Database;

impl Kind<DatabaseUrl> for Database {
    fn parse(&self, raw: &Raw<'_>) -> Result<DatabaseUrl, Refusal> {
        DatabaseUrl::parse(text(raw)?)
            .map_err(|refusal| Refusal::because(refusal.reason).remedy(refusal.remedy))
    }

    fn show(&self, value: &DatabaseUrl) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "a postgres:// or postgresql:// URL".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^postgres(ql)?://"})
    }

    fn example(&self) -> Literal {
        Literal::Text("postgres://user:password@localhost:5432/phoenix".to_owned())
    }

    fn sensitivity(&self) -> Sensitivity {
        Sensitivity::HoldsPassword
    }
}

/// Where Redis is, in one of its three forms.
pub(crate) struct RedisServer;

impl Kind<RedisUrl> for RedisServer {
    fn parse(&self, raw: &Raw<'_>) -> Result<RedisUrl, Refusal> {
        RedisUrl::parse(text(raw)?).map_err(|refusal| Refusal::because(refusal.reason).remedy(refusal.remedy))
    }

    fn show(&self, value: &RedisUrl) -> Option<Literal> {
        Some(Literal::Text(value.to_string()))
    }

    fn describe(&self) -> String {
        "a redis://, redis-sentinel:// or redis-cluster:// URL".to_owned()
    }

    fn schema(&self) -> Json {
        json!({"type": "string", "pattern": "^rediss?(-sentinel|-cluster)?(\\+tls)?://"})
    }

    fn example(&self) -> Literal {
        Literal::Text("redis://localhost:6379/0".to_owned())
    }

    fn sensitivity(&self) -> Sensitivity {
        Sensitivity::HoldsPassword
    }
}
