//! The proxies of `overhead`, all in front of the same application and on the same core: nginx, HAProxy, a bare proxy of
//! the libraries that Phoenix uses, Phoenix as a plain proxy, and Phoenix with authentication, identity and limits.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use phoenix_testkit::postgres::Postgres;
use phoenix_testkit::process::{Builder, PhoenixProcess};
use phoenix_testkit::programs::{Kind, Program};

use crate::bench::me::seed;
use crate::bench::pin::{self, Cores};
use crate::bench::reference::ReferenceServer;

/// Sessions that ask, each of a user of its own; all of them in memory.
pub(super) const SESSIONS: usize = 1000;
/// Nothing is matched but this, and it needs no identity.
pub const OPEN: &str = r#"[{path = "/{*rest}", auth = "none"}]"#;
/// Every request needs an identity and is counted.
pub const PROTECTED: &str = r#"[{path = "/{*rest}", auth = "required", class = "api"}]"#;
/// Two windows that nobody here can fill.
const CLASSES: &str = r#"{api = {windows = ["1000/1s", "10000/1m"], block = "5m", key = "principal"}}"#;

/// All of them, running; those that are not asked wait.
pub(super) struct Contenders {
    pub(super) nginx: Program,
    pub(super) haproxy: Program,
    pub(super) bare: ReferenceServer,
    pub(super) plain: PhoenixProcess,
    pub(super) protected: PhoenixProcess,
    /// Of the sessions in `protected`.
    pub(super) tokens: Vec<String>,
    /// Outlives the server that uses it.
    _postgres: Postgres,
}

impl Contenders {
    pub(super) fn start(phoenix: &Path, cores: Cores, origin: SocketAddr) -> Result<Self> {
        let nginx = Program::start(Kind::Nginx, |listen, _| nginx_files(listen, origin))?;
        let haproxy = Program::start(Kind::HaProxy, |listen, _| haproxy_files(listen, origin))?;
        for program in [&nginx, &haproxy] {
            pin::process(program.pid().context("a proxy that has just been started runs")?, cores.server);
        }
        let this = std::env::current_exe().context("find this program")?;
        let arguments = ["bench-bare-proxy", "--origin", &origin.to_string()];
        let bare = ReferenceServer::start_with(&this, &pin::prefix(cores.server), &arguments)?;
        let builder = || {
            PhoenixProcess::builder(phoenix)
                .run_under(cores.server_prefix())
                .env("PHOENIX_UPSTREAM", format!("http://{origin}"))
                .env("PHOENIX_MAX_CONNECTIONS_PER_ADDRESS", "10000")
                // The others write no line for each request, either.
                .env("PHOENIX_LOG", "warn")
        };
        let plain = builder().env("PHOENIX_LIMITS", "false").env("PHOENIX_GATEWAY_ROUTES", OPEN).start()?;
        let postgres = Postgres::builder().fsync(false).start()?;
        let database = postgres.create_database();
        let protected = protected(builder(), &database);
        // The first start makes the schema.
        drop(protected.clone().start()?);
        let tokens = seed::fill(&database, SESSIONS)?;
        let protected = protected.start()?;
        Ok(Self { nginx, haproxy, bare, plain, protected, tokens, _postgres: postgres })
    }
}

fn protected(builder: Builder, database: &str) -> Builder {
    builder
        .env("PHOENIX_GATEWAY_ROUTES", PROTECTED)
        .env("PHOENIX_LIMITS_CLASSES", CLASSES)
        .env("DATABASE_URL", database)
        .env("PHOENIX_SECRET_KEY", seed::SECRET)
        .env("PHOENIX_L1_TTL", "1h")
}

/// A plain proxy: one process, as many connections to the application as it likes, no log, no file for any answer.
fn nginx_files(listen: SocketAddr, origin: SocketAddr) -> Vec<(String, String)> {
    let text = format!(
        "worker_processes 1;\nworker_rlimit_nofile 8192;\nevents {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nodelay on;\n  keepalive_requests 1000000000;\n\
         \n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n\
         \n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n\
         \n  upstream app {{ server {origin}; keepalive 128; keepalive_requests 1000000000; }}\n\
         \n  server {{\n    listen {listen} backlog=1024;\n    location / {{\n      proxy_pass http://app;\n\
         \n      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n\
         \n      proxy_buffer_size 16k;\n      proxy_buffers 16 16k;\n      proxy_busy_buffers_size 64k;\n\
         \n    }}\n  }}\n}}\n"
    );
    vec![("nginx.conf".to_owned(), text)]
}

fn haproxy_files(listen: SocketAddr, origin: SocketAddr) -> Vec<(String, String)> {
    let text = format!(
        "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 1m\n\
         \n  timeout server 1m\n  http-reuse always\nfrontend in\n  bind {listen}\n  default_backend app\n\
         backend app\n  server app {origin} pool-max-conn 128\n"
    );
    vec![("haproxy.cfg".to_owned(), text)]
}
