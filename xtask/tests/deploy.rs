//! The examples below `deploy/` and the Dockerfile: that they can be read, and that what matters stands in them. They
//! are not started here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root")
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("read {path}"))
}

/// The documents of a YAML file.
fn yaml(path: &str) -> Result<Vec<Value>> {
    let text = text(path)?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{path} is no YAML"))
}

fn one(path: &str) -> Result<Value> {
    let mut documents = yaml(path)?;
    ensure!(documents.len() == 1, "{path} has {} documents", documents.len());
    documents.pop().context("one document")
}

fn files(below: &str) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(below)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Seconds of "10s".
fn seconds(text: &str) -> Result<u64> {
    Ok(text.strip_suffix('s').with_context(|| format!("{text} is no number of seconds"))?.parse()?)
}

#[test]
fn every_yaml_and_json_file_can_be_read() -> Result<()> {
    let mut count = 0;
    for path in files("deploy")? {
        let name = path.strip_prefix(root())?.to_string_lossy().into_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => drop(yaml(&name)?),
            Some("json") => drop(serde_json::from_str::<Value>(&text(&name)?).context(name)?),
            _ => continue,
        }
        count += 1;
    }
    assert!(count >= 14, "{count} files: they were not found");
    Ok(())
}

#[test]
fn every_setting_that_is_named_exists() -> Result<()> {
    let known = text("docs/config.md")?;
    let variable = Regex::new(r"\bPHOENIX_[A-Z0-9_]+\b")?;
    let mut unknown = BTreeSet::new();
    let paths = files("deploy")?.into_iter().chain([root().join("Dockerfile")]);
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for name in variable.find_iter(&text).map(|found| found.as_str()) {
            let setting = name.strip_suffix("_FILE").unwrap_or(name);
            // Of the gateway, the application and other proxies' own; PHOENIX_AUDIENCE and _JWKS_URL are the example's.
            let others = ["PHOENIX_AUDIENCE", "PHOENIX_JWKS_URL"];
            if !known.contains(&format!("`{setting}`")) && !others.contains(&setting) {
                unknown.insert(format!("{name} in {}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    Ok(())
}

// spec: G6
#[test]
fn the_image_is_one_static_binary_that_runs_as_nobody() -> Result<()> {
    let text = text("Dockerfile")?;
    let last = text.rsplit_once("\nFROM ").context("two stages")?.1;
    assert!(last.starts_with("scratch\n"), "{last}");
    assert!(text.contains("cargo xtask dist --no-check --out /out"), "it is the binary that is given away");
    for line in [
        "USER 65532:65532",
        "VOLUME [\"/data\"]",
        "ENTRYPOINT [\"/phoenix\"]",
        "CMD [\"/phoenix\", \"health\"]",
    ] {
        assert!(last.contains(line), "{line} is missing");
    }
    assert!(last.contains("org.opencontainers.image.licenses"));
    assert!(!last.contains("\nRUN "), "there is nothing in it that could run");
    Ok(())
}

// spec: G6
#[test]
fn compose_keeps_secrets_in_files_and_everything_but_two_ports_inside() -> Result<()> {
    let compose = one("deploy/compose/compose.yaml")?;
    let services = compose["services"].as_object().context("services")?;
    for name in [
        "phoenix",
        "app",
        "postgres",
        "redis",
        "prometheus",
        "grafana",
        "postgres-exporter",
        "redis-exporter",
    ] {
        assert!(services.contains_key(name), "{name} is missing");
    }
    let made = text("deploy/compose/make-secrets.sh")?;
    for (name, secret) in compose["secrets"].as_object().context("secrets")? {
        assert_eq!(secret["file"], format!("./secrets/{name}"));
        assert!(made.contains(&format!("make {name} ")), "make-secrets.sh does not make {name}");
    }
    for (name, service) in services {
        for secret in service["secrets"].as_array().into_iter().flatten() {
            assert!(!compose["secrets"][secret.as_str().context("a name")?].is_null(), "{name}: {secret}");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{name}: {port}");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = variable.contains("PASSWORD")
                || variable.contains("SECRET")
                || variable.ends_with("_URL_FILE");
            let value = value.as_str().context("text")?;
            assert!(
                !is_secret || value.starts_with("/run/secrets/"),
                "{name}: {variable} is not from a file"
            );
        }
    }
    for internal in ["app", "data", "watch"] {
        assert_eq!(compose["networks"][internal]["internal"], true, "{internal}");
    }
    assert_eq!(services["app"]["networks"], serde_json::json!(["app"]), "there is no way around Phoenix");
    let redis = services["redis"]["command"].to_string();
    assert!(redis.contains("noeviction") && redis.contains("appendonly yes"), "{redis}");
    Ok(())
}

// spec: G6
#[test]
fn the_service_unit_says_when_it_is_ready_and_may_do_little() -> Result<()> {
    for unit in ["phoenix.service", "phoenix@.service"] {
        let text = text(&format!("deploy/systemd/{unit}"))?;
        assert!(
            text.contains("\nType=notify\n")
                && text.contains("\nEnvironmentFile=-/etc/phoenix/phoenix.env\n")
        );
    }
    let hardening = text("deploy/systemd/hardening.conf")?;
    for line in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "User=phoenix",
        "SystemCallFilter=@system-service",
        "LimitNOFILE=65536",
    ] {
        assert!(hardening.lines().any(|found| found == line), "{line} is missing");
    }
    assert!(
        !hardening.lines().any(|line| line.starts_with("SystemCallFilter=~") && line.contains("@resources"))
    );
    let unit = hardening.split_once("[Service]").context("two sections")?.0;
    assert!(
        unit.contains("[Unit]\n") && unit.contains("\nStartLimitIntervalSec=0\n"),
        "a database that comes up late must not end the attempts for good"
    );
    // The name of the socket's role in crates/phoenix/src/handover/mod.rs.
    assert!(text("deploy/systemd/phoenix.socket")?.contains("\nFileDescriptorName=http\n"));
    Ok(())
}

// spec: G6
#[test]
fn kubernetes_asks_whether_it_is_ready_and_gives_it_time_to_end() -> Result<()> {
    let deployment = one("deploy/kubernetes/deployment.yaml")?;
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let env = container["env"].as_array().context("env")?;
    let value =
        |name: &str| env.iter().find(|entry| entry["name"] == name).and_then(|entry| entry["value"].as_str());
    let delay = seconds(value("PHOENIX_DRAIN_DELAY").context("a delay: endpoints are taken out late")?)?;
    let defaults = text("docs/config.md")?;
    let drain =
        defaults.lines().find(|line| line.contains("`PHOENIX_DRAIN_TIMEOUT`")).context("documented")?;
    let drain = Regex::new(r#"`"(\d+s)"`"#)?.captures(drain).context("a default")?[1].to_owned();
    let grace = pod["terminationGracePeriodSeconds"].as_u64().context("a grace period")?;
    assert!(grace > delay + seconds(&drain)? + 10, "{grace} s are too short");
    // What is mounted is in the secret.
    let secret = one("deploy/kubernetes/secret.example.yaml")?;
    for path in env.iter().filter_map(|entry| entry["value"].as_str()) {
        if let Some(key) = path.strip_prefix("/run/secrets/phoenix/") {
            assert!(secret["stringData"][key].is_string(), "{key}");
        }
    }
    for entry in one("deploy/kubernetes/kustomization.yaml")?["resources"].as_array().context("resources")? {
        let path = format!("deploy/kubernetes/{}", entry.as_str().context("a path")?);
        for document in yaml(&path)? {
            let name = document["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"].as_str();
            assert!(name.is_none_or(|name| name == "phoenix"), "{path}");
        }
    }
    Ok(())
}

/// The default of a setting, from its line in the reference.
fn default_of(variable: &str) -> Result<String> {
    let reference = text("docs/config.md")?;
    let line = reference.lines().find(|line| line.contains(&format!("`{variable}`")));
    let line = line.with_context(|| format!("{variable} is documented"))?;
    let cells: Vec<&str> = line.split(" | ").collect();
    Ok(cells.get(3).context("a default")?.trim_matches(['`', '"']).to_owned())
}

/// MiB of `"64MiB"`, `"512Mi"` and `"512m"`.
fn mib(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    ensure!(["MiB", "Mi", "m"].contains(&&text[digits.len()..]), "{text} is no number of MiB");
    Ok(digits.parse()?)
}

/// Phoenix needs no more than nine tenths of the limit, as `phoenix doctor` (`system.memory`) counts.
#[test]
fn what_is_configured_fits_into_the_memory_that_containers_have() -> Result<()> {
    /// MiB beside what is set, and KiB of a connection: as in crates/phoenix/src/doctor/system.rs.
    const BASE_MIB: u64 = 64;
    const CONNECTION_KIB: u64 = 20;
    let compose = one("deploy/compose/compose.yaml")?;
    let service = &compose["services"]["phoenix"];
    let deployment = one("deploy/kubernetes/deployment.yaml")?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array().context("env")?;
    let of_pod = env.iter().find(|entry| entry["name"] == "PHOENIX_HASH_WORKERS");
    for (workers, limit) in [
        (&service["environment"]["PHOENIX_HASH_WORKERS"], &service["mem_limit"]),
        (
            &of_pod.context("a number of hashing threads")?["value"],
            &container["resources"]["limits"]["memory"],
        ),
    ] {
        // Left to itself it follows the cores of the host.
        let workers: u64 = workers.as_str().context("a number of hashing threads")?.parse()?;
        assert!(workers > 0, "0 follows the cores of the host");
        let connections: u64 = default_of("PHOENIX_MAX_CONNECTIONS")?.parse()?;
        let needed = BASE_MIB
            + mib(&default_of("PHOENIX_L1_MAX_BYTES")?)?
            + mib(&default_of("PHOENIX_LIMITS_MEMORY")?)?
            + connections * CONNECTION_KIB / 1024
            + workers * mib(&default_of("PHOENIX_ARGON2_MEMORY")?)?;
        let limit = mib(limit.as_str().context("a limit")?)?;
        assert!(needed <= limit / 10 * 9, "{needed} MiB of {limit}");
    }
    Ok(())
}

#[test]
fn the_pods_of_other_services_are_not_believed() -> Result<()> {
    let text = text("deploy/kubernetes/deployment.yaml")?;
    let value = Regex::new(r#"PHOENIX_TRUSTED_PROXIES, value: "([^"]+)""#)?;
    let networks = value.captures(&text).context("proxies")?[1].to_owned();
    // A network for examples (RFC 5737): whoever forgets to replace it believes nobody.
    assert_eq!(networks, "192.0.2.0/24");
    Ok(())
}

/// `name` with each `-` after the first as every one of `others`, in all mixtures, and as it is.
fn mixtures(name: &str, others: &[char]) -> Vec<String> {
    let mut parts = name.split('-');
    let mut all = vec![parts.next().unwrap_or_default().to_owned()];
    for part in parts {
        let longer = |start: &String| {
            let start = start.clone();
            others.iter().chain(&['-']).map(move |between| format!("{start}{between}{part}"))
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

/// What Phoenix tells applications of the caller.
const IDENTITY: [&str; 5] =
    ["X-Phoenix-User-Id", "X-Phoenix-Email", "X-Phoenix-Role", "X-Phoenix-Session-Id", "X-Phoenix-Assertion"];

#[test]
fn traefik_removes_every_spelling_that_an_application_could_take_for_ours() -> Result<()> {
    let dynamic = one("deploy/traefik/dynamic.yml")?;
    let ask = &dynamic["http"]["middlewares"]["phoenix"]["forwardAuth"];
    let removed = Regex::new(ask["authResponseHeadersRegex"].as_str().context("an expression")?)?;
    for name in IDENTITY {
        let all = mixtures(name, &['_', '.']);
        assert!(all.len() >= 9, "{all:?}");
        for spelling in all {
            assert!(removed.is_match(&spelling) && removed.is_match(&spelling.to_lowercase()), "{spelling}");
        }
    }
    assert!(!removed.is_match("X-Phoenixes") && !removed.is_match("Not-X-Phoenix-Email"));
    let app = &dynamic["http"]["routers"]["app"]["middlewares"];
    assert_eq!(*app, serde_json::json!(["phoenix"]));
    Ok(())
}

/// Not `/api/admin/users-export`, which is the application's.
#[test]
fn proxies_send_phoenix_its_own_paths_and_what_is_below_them() -> Result<()> {
    let rule = &one("deploy/traefik/dynamic.yml")?["http"]["routers"]["phoenix"]["rule"];
    let rule = rule.as_str().context("a rule")?;
    let prefix = Regex::new("[^!]PathPrefix\\(`([^`]*)`\\)")?;
    let prefixes: Vec<&str> = prefix.captures_iter(rule).map(|found| found.extract::<1>().1[0]).collect();
    assert!(prefixes.len() >= 6 && prefixes.iter().all(|path| path.ends_with('/')), "{prefixes:?}");
    for path in ["users", "blocks", "security-events"] {
        assert!(rule.contains(&format!("|| Path(`/api/admin/{path}`)")), "{rule}");
    }
    for file in ["envoy-http.yaml", "envoy-grpc.yaml"] {
        let envoy = one(&format!("deploy/envoy/{file}"))?;
        let manager =
            &envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().context("routes")?;
        let ours: Vec<&Value> = routes
            .iter()
            .filter(|route| route["route"]["cluster"] == "phoenix")
            .map(|r| &r["match"])
            .collect();
        assert!(ours.len() >= 7, "{ours:?}");
        for route in ours {
            let prefix = route["prefix"].as_str();
            assert!(prefix.is_none_or(|prefix| prefix.ends_with('/')), "{file}: {route}");
        }
    }
    Ok(())
}

/// The cluster of an Envoy configuration with this name.
fn cluster<'a>(envoy: &'a Value, name: &str) -> Result<&'a Value> {
    let clusters = envoy["static_resources"]["clusters"].as_array().context("clusters")?;
    clusters.iter().find(|cluster| cluster["name"] == name).with_context(|| format!("cluster {name}"))
}

#[test]
fn envoy_removes_what_looks_like_ours_and_cuts_no_answer() -> Result<()> {
    for file in ["envoy-http.yaml", "envoy-grpc.yaml"] {
        let envoy = one(&format!("deploy/envoy/{file}"))?;
        let manager =
            &envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        assert_eq!(manager["common_http_protocol_options"]["headers_with_underscores_action"], "DROP_HEADER");
        let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().context("routes")?;
        let app =
            routes.iter().find(|route| route["route"]["cluster"] == "app").context("the application")?;
        assert_eq!(app["route"]["timeout"], "0s", "{file}: a download may take longer");
        assert!(seconds(app["route"]["idle_timeout"].as_str().context("a bound on silence")?)? >= 60);
    }
    Ok(())
}

#[test]
fn proxies_close_idle_connections_before_phoenix_does() -> Result<()> {
    let ours = seconds(&default_of("PHOENIX_HEADER_READ_TIMEOUT")?)?;
    let mut theirs = Vec::new();
    let nginx = text("deploy/nginx/nginx.conf")?;
    let upstream = nginx.split_once("upstream phoenix {").context("an upstream")?.1;
    let upstream = upstream.split_once('}').context("its end")?.0;
    let time = Regex::new(r"keepalive_timeout (\d+s);")?.captures(upstream).context("nginx")?;
    theirs.push(time[1].to_owned());
    let caddy = text("deploy/caddy/Caddyfile")?;
    let times: Vec<String> =
        Regex::new(r"keepalive (\d+s)")?.captures_iter(&caddy).map(|found| found[1].to_owned()).collect();
    assert_eq!(times.len(), caddy.matches("reverse_proxy 127.0.0.1:8080").count(), "Caddyfile");
    theirs.extend(times);
    let traefik = &one("deploy/traefik/dynamic.yml")?["http"];
    let transport = traefik["services"]["phoenix"]["loadBalancer"]["serversTransport"].as_str();
    let times = &traefik["serversTransports"][transport.context("a transport")?]["forwardingTimeouts"];
    theirs.push(times["idleConnTimeout"].as_str().context("Traefik")?.to_owned());
    for (file, name) in
        [("envoy-http.yaml", "phoenix"), ("envoy-grpc.yaml", "phoenix"), ("envoy-grpc.yaml", "phoenix_grpc")]
    {
        let envoy = one(&format!("deploy/envoy/{file}"))?;
        let options = cluster(&envoy, name)?["typed_extension_protocol_options"]
            ["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
            .clone();
        let time = options["common_http_protocol_options"]["idle_timeout"].as_str();
        theirs.push(time.with_context(|| format!("{file}: {name}"))?.to_owned());
    }
    for time in theirs {
        assert!(seconds(&time)? < ours, "{time} of {ours} s");
    }
    Ok(())
}

// spec: G6
#[test]
fn the_dashboard_and_the_alerts_ask_for_what_is_scraped() -> Result<()> {
    let prometheus = one("deploy/prometheus/prometheus.yml")?;
    let jobs = prometheus["scrape_configs"].as_array().context("jobs")?;
    let jobs: BTreeSet<&str> = jobs.iter().filter_map(|job| job["job_name"].as_str()).collect();
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboards/phoenix.json")?)?;
    let source = &one("deploy/grafana/provisioning/datasources/prometheus.yaml")?["datasources"][0]["uid"];
    let panels = dashboard["panels"].as_array().context("panels")?;
    let mut expressions = Vec::new();
    for panel in panels {
        assert_eq!(&panel["datasource"]["uid"], source);
        let targets = panel["targets"].as_array().context("targets")?.iter();
        expressions.extend(targets.map(|target| target["expr"].clone()));
    }
    for rule in one("deploy/prometheus/alerts.yml")?["groups"][0]["rules"].as_array().context("rules")? {
        expressions.push(rule["expr"].clone());
    }
    assert!(expressions.len() > 15, "{}", expressions.len());
    // What the exporters call theirs; Phoenix has no metrics of its own in this version.
    let metric = Regex::new(r"\b(?:probe|pg|redis)_[a-z_]+|\bphoenix_[a-z_]+")?;
    let job = Regex::new(r#"job="([a-z]+)""#)?;
    for expression in &expressions {
        let expression = expression.as_str().context("an expression")?;
        let names: Vec<&str> = metric.find_iter(expression).map(|found| found.as_str()).collect();
        assert!(!names.is_empty() && names.iter().all(|name| !name.starts_with("phoenix_")), "{expression}");
        assert!(job.captures_iter(expression).all(|found| jobs.contains(&found[1])), "{expression}");
    }
    Ok(())
}
