//! Upstreams by name: a table of tables.

use serde_json::{Map, Value as Json, json};

use super::{
    gateway_parts::{
        AUDIENCE, CA_FILE, CONNECT, DEADLINE, DEFAULT, HEALTH_INTERVAL, HealthPath, IDLE, MAX_BODY,
        MAX_CONNECTIONS, MAX_NAME_BYTES, PROTOCOL, SERVERS, Shown, is_name, table,
    },
    tables::{Fields, value_of},
};
use crate::{
    setting::{Kind, Literal, Raw, Refusal},
    values::GatewayUpstream,
};

/// Most upstreams, besides the default one.
const MAX_UPSTREAMS: usize = 32;

const FIELDS: [&str; 11] = [
    "servers",
    "audience",
    "max_body",
    "deadline",
    "idle_timeout",
    "connect_timeout",
    "protocol",
    "max_connections",
    "health_path",
    "health_interval",
    "ca_file",
];

/// The upstreams that have a name of their own.
pub(crate) struct GatewayUpstreams;

impl Kind<Vec<GatewayUpstream>> for GatewayUpstreams {
    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<GatewayUpstream>, Refusal> {
        let value = value_of(raw, "a table of upstreams")?;
        let Literal::Table(tables) = &value else {
            return Err(Refusal::wrong_type(&Raw::Toml(&value), "a table of upstreams"));
        };
        if tables.len() > MAX_UPSTREAMS {
            let reason = format!("there are {} upstreams; the most allowed is {MAX_UPSTREAMS}", tables.len());
            return Err(Refusal::because(reason).remedy(format!("keep at most {MAX_UPSTREAMS}")));
        }
        let mut upstreams = Vec::with_capacity(tables.len());
        let mut refusals = Vec::new();
        for (name, table) in tables {
            match upstream(name, table) {
                Ok(upstream) => upstreams.push(upstream),
                Err(refusal) => refusals.push(refusal),
            }
        }
        Refusal::all(refusals).map_or(Ok(upstreams), Err)
    }

    fn show(&self, value: &Vec<GatewayUpstream>) -> Option<Literal> {
        Some(Literal::Table(value.iter().map(|upstream| (upstream.name.clone(), shown(upstream))).collect()))
    }

    fn describe(&self) -> String {
        format!(
            "at most {MAX_UPSTREAMS} upstreams by name, each a table of servers ({}), and of those settings of the \
             gateway that are other for it: {}",
            SERVERS.describe(),
            FIELDS.get(1..).unwrap_or_default().join(", ")
        )
    }

    fn schema(&self) -> Json {
        let fields: [Json; FIELDS.len()] = [
            SERVERS.schema(),
            AUDIENCE.schema(),
            MAX_BODY.schema(),
            DEADLINE.schema(),
            IDLE.schema(),
            CONNECT.schema(),
            PROTOCOL.schema(),
            MAX_CONNECTIONS.schema(),
            HealthPath.schema(),
            HEALTH_INTERVAL.schema(),
            CA_FILE.schema(),
        ];
        let properties: Map<String, Json> = FIELDS.map(str::to_owned).into_iter().zip(fields).collect();
        json!({
            "type": "object",
            "maxProperties": MAX_UPSTREAMS,
            "propertyNames": {"pattern": format!("^[a-z][a-z0-9_-]{{0,{}}}$", MAX_NAME_BYTES - 1)},
            "additionalProperties": {
                "type": "object", "properties": properties, "required": ["servers"], "additionalProperties": false,
            },
        })
    }
}

fn upstream(name: &str, table: &Literal) -> Result<GatewayUpstream, Refusal> {
    if name == DEFAULT {
        return Err(Refusal::because("the upstream of this name is gateway.upstream")
            .remedy("set gateway.upstream (PHOENIX_UPSTREAM), or use another name")
            .of_part(name, None));
    }
    if !is_name(name) {
        return Err(Refusal::because("it is not a name for an upstream")
            .remedy(format!(
                "use 1 to {MAX_NAME_BYTES} characters of a-z, 0-9, - and _ that begin with a letter"
            ))
            .of_part(name, None));
    }
    let mut fields = Fields::of(table, name.to_owned(), &FIELDS)?;
    let servers = fields.read("servers", &SERVERS);
    let servers = fields.require("servers", servers, "add servers, such as [\"http://127.0.0.1:3000\"]");
    if servers.as_ref().is_some_and(Vec::is_empty) {
        let refusal =
            Refusal::because("it is empty").remedy("write at least one, such as [\"http://127.0.0.1:3000\"]");
        fields.refuse(refusal.of_part(&fields.path_of("servers"), Some("[]".to_owned())));
    }
    let upstream = GatewayUpstream {
        name: name.to_owned(),
        servers: servers.unwrap_or_default(),
        audience: fields.read("audience", &AUDIENCE),
        max_body: fields.read("max_body", &MAX_BODY),
        deadline: fields.read("deadline", &DEADLINE),
        idle_timeout: fields.read("idle_timeout", &IDLE),
        connect_timeout: fields.read("connect_timeout", &CONNECT),
        protocol: fields.read("protocol", &PROTOCOL),
        max_connections: fields.read("max_connections", &MAX_CONNECTIONS),
        health_path: fields.read("health_path", &HealthPath),
        health_interval: fields.read("health_interval", &HEALTH_INTERVAL),
        ca_file: fields.read("ca_file", &CA_FILE),
    };
    fields.finish(Some(upstream))
}

fn shown(upstream: &GatewayUpstream) -> Literal {
    let GatewayUpstream {
        name: _,
        servers,
        audience,
        max_body,
        deadline,
        idle_timeout,
        connect_timeout,
        protocol,
        max_connections,
        health_path,
        health_interval,
        ca_file,
    } = upstream;
    let values: [Option<Literal>; FIELDS.len()] = [
        SERVERS.show(servers),
        audience.as_ref().and_then(|value| AUDIENCE.show(value)),
        max_body.as_ref().and_then(|value| MAX_BODY.show(value)),
        deadline.as_ref().and_then(|value| DEADLINE.show(value)),
        idle_timeout.as_ref().and_then(|value| IDLE.show(value)),
        connect_timeout.as_ref().and_then(|value| CONNECT.show(value)),
        protocol.as_ref().and_then(|value| PROTOCOL.show(value)),
        max_connections.as_ref().and_then(|value| MAX_CONNECTIONS.show(value)),
        health_path.as_ref().and_then(|value| HealthPath.show(value)),
        health_interval.as_ref().and_then(|value| HEALTH_INTERVAL.show(value)),
        ca_file.as_ref().and_then(|value| CA_FILE.show(value)),
    ];
    let fields: Vec<Shown> = FIELDS.into_iter().zip(values).collect();
    table(fields)
}
