//! Phoenix beside a proxy: the real binary, the real proxy with the configuration from `deploy/`, and an application.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use phoenix_testkit::http::Client;
use phoenix_testkit::port;
use phoenix_testkit::process::PhoenixProcess;
use phoenix_testkit::programs::{Kind, Program};

use super::app::App;
use crate::process::support::phoenix;

/// Who may do what.
const ROUTES: &str = r#"[
    { path = "/healthz", auth = "required", class = "none" },
    { path = "/open/{*rest}", auth = "none", class = "none" },
    { path = "/private/{*rest}", auth = "required", class = "none" },
    { path = "/staff/{*rest}", roles = ["admin"], class = "none" },
    { path = "/limited/{*rest}", class = "tiny" },
    { path = "/hosts/{*rest}", host = "staff.example.com", auth = "required", class = "none" },
]"#;
/// Two a minute.
const CLASSES: &str = r#"{ tiny = { windows = ["2/1m"] } }"#;
/// The page to sign in.
pub(super) const SIGN_IN: &str = "https://sign-in.example.com/";

/// Phoenix with [`ROUTES`], asked by whoever is on this machine.
pub(super) struct Beside {
    pub(super) phoenix: PhoenixProcess,
    pub(super) spoe: SocketAddr,
}

impl Beside {
    pub(super) fn start() -> Self {
        Self::trusting("127.0.0.1")
    }

    pub(super) fn trusting(proxies: &str) -> Self {
        Self::with(&[("PHOENIX_TRUSTED_PROXIES", proxies.to_owned())])
    }

    /// Also in front of the application itself.
    pub(super) fn and_in_front_of(app: &App) -> Self {
        let upstream = format!("http://{}", app.address());
        // Where Phoenix forwards requests, no route can be for its own health.
        let routes =
            replaced(ROUTES, "    { path = \"/healthz\", auth = \"required\", class = \"none\" },\n", "");
        Self::with(&[
            ("PHOENIX_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("PHOENIX_UPSTREAM", upstream),
            ("PHOENIX_FORWARD_AUTH", "on".to_owned()),
            ("PHOENIX_GATEWAY_ROUTES", routes),
        ])
    }

    pub(super) fn with(settings: &[(&str, String)]) -> Self {
        let spoe = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let builder = phoenix()
            .arg("serve")
            .env("PHOENIX_LIMITS_EXEMPT", "")
            .env("PHOENIX_SPOE_LISTEN", spoe.to_string())
            .env("PHOENIX_SIGN_IN_URL", SIGN_IN)
            .env("PHOENIX_ALLOWED_ORIGINS", "https://app.example.com")
            .env("PHOENIX_LIMITS_CLASSES", CLASSES)
            .env("PHOENIX_GATEWAY_ROUTES", ROUTES);
        let builder = settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        Self { phoenix: builder.start().unwrap(), spoe }
    }

    pub(super) fn client(&self) -> Client {
        self.phoenix.client()
    }
}

/// The proxy with its example configuration, in front of both.
pub(super) fn proxy(kind: Kind, beside: &Beside, app: &App) -> Program {
    let (phoenix, spoe, app) = (beside.phoenix.address(), beside.spoe, app.address());
    let placed = |text: &str| {
        text.replace("127.0.0.1:8080", &phoenix.to_string())
            .replace("127.0.0.1:8081", &spoe.to_string())
            .replace("127.0.0.1:3000", &app.to_string())
    };
    Program::start(kind, |listen, directory| match kind {
        Kind::Nginx => vec![("nginx.conf".to_owned(), placed(&nginx(listen)))],
        Kind::Caddy => vec![("Caddyfile".to_owned(), placed(&caddy(listen)))],
        Kind::HaProxy => {
            let conf = placed(&example("haproxy/phoenix-spoe.conf"));
            vec![
                ("haproxy.cfg".to_owned(), placed(&haproxy(listen, directory))),
                ("phoenix-spoe.conf".to_owned(), conf),
            ]
        }
    })
    .unwrap()
}

/// A file of `deploy/`.
pub(super) fn example(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The text with `old`, which must be there, replaced.
#[track_caller]
fn replaced(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the example has no {old:?}");
    text.replace(old, new)
}

/// Without TLS, and with the folders of its own that a proxy needs where it is not installed as a service.
fn nginx(listen: SocketAddr) -> String {
    let text = example("nginx/nginx.conf");
    let (before, rest) = text.split_once("    server {\n        listen 80;").unwrap();
    let (_, after) = rest.split_once("    }\n").unwrap();
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {name};\n"))
        .concat();
    let before = replaced(before, "http {\n", &format!("http {{\n    access_log off;\n{folders}"));
    let text = replaced(&format!("{before}{after}"), "listen 443 ssl http2;", &format!("listen {listen};"));
    text.lines().filter(|line| !line.trim_start().starts_with("ssl_")).collect::<Vec<_>>().join("\n")
}

fn caddy(listen: SocketAddr) -> String {
    let site =
        format!("{{\n\tadmin off\n\tauto_https off\n}}\n\n:{} {{\n\tbind {}\n", listen.port(), listen.ip());
    replaced(&example("caddy/Caddyfile"), "app.example.com {\n", &site)
}

fn haproxy(listen: SocketAddr, directory: &Path) -> String {
    let text = example("haproxy/haproxy.cfg");
    let (before, rest) = text.split_once("frontend http\n").unwrap();
    let (_, after) = rest.split_once("frontend web\n").unwrap();
    let text = format!("{before}frontend web\n{after}");
    let text =
        replaced(&text, "bind :443 ssl crt /etc/haproxy/tls/ alpn h2,http/1.1", &format!("bind {listen}"));
    replaced(&text, "/etc/haproxy/", &format!("{}/", directory.to_str().unwrap()))
}
