//! The generated references and `config show` agree with what is read.

use phoenix_config::{Sources, example_toml, json_schema, reference_markdown};

use crate::valid;

#[test]
fn the_references_have_every_setting_and_do_not_change_between_calls() {
    let (markdown, example, schema) = (reference_markdown(), example_toml(), json_schema());
    assert_eq!((&markdown, &example, &schema), (&reference_markdown(), &example_toml(), &json_schema()));
    for setting in valid(&Sources::default()).effective.settings() {
        let (section, name) = setting.key.split_once('.').expect("a section and a name");
        assert!(markdown.contains(&format!("| `{}` |", setting.key)), "{}", setting.key);
        let is_there = |end: &str| example.contains(&format!("\n#{name}{end}"));
        assert!(is_there(" = ") || is_there("."), "{}", setting.key);
        let property = &schema["properties"][section]["properties"][name];
        assert!(property["description"].as_str().is_some_and(|text| text.len() > 10), "{}", setting.key);
        let default = setting.value.as_ref().map(phoenix_config::Literal::to_json);
        assert_eq!(property.get("default"), default.as_ref(), "{}", setting.key);
    }
    assert!(markdown.contains("`DATABASE_URL_FILE`"));
    assert!(
        markdown.lines().all(|line| line == line.trim_end()) && example.lines().all(|line| line.len() <= 160)
    );
}

#[test]
fn the_example_changes_nothing_and_can_be_uncommented() {
    let defaults = valid(&Sources::default()).effective;
    assert_eq!(valid(&Sources::from_toml(example_toml())).effective, defaults);
    let uncommented: String = example_toml()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .filter(|line| !line.ends_with("= \"\""))
        .filter(|line| !line.starts_with("project_id"))
        .filter(|line| !line.starts_with("admin_client_ca"))
        .fold(String::new(), |text, line| text + line + "\n");
    let loaded = valid(&Sources::from_toml(uncommented)).effective;
    for (setting, default) in
        loaded.settings().iter().zip(defaults.settings()).filter(|(_, d)| d.value.is_some())
    {
        assert_eq!(
            (setting.key, &setting.value, setting.source.kind()),
            (default.key, &default.value, "file")
        );
    }
}

#[test]
fn what_is_shown_is_toml_that_says_the_same() {
    let sources = Sources::from_toml("[server]\nallowed_origins = ['https://a.example']\n")
        .with_env("PHOENIX_DATA_DIR", "/data/\"quoted\"\n# not a comment")
        .with_override("server.workers", "2");
    let effective = valid(&sources).effective;
    let text = effective.to_text();
    for line in [
        "allowed_origins = [\"https://a.example\"] # phoenix.toml:2\n",
        "workers = 2 # command line\n",
        "max_headers = 64 # default\n",
        "# public_url is not set\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let again = valid(&Sources::from_toml(text)).effective;
    for (again, first) in again.settings().iter().zip(effective.settings()) {
        assert_eq!(again.value, first.value);
    }
    let json = effective.to_json();
    assert_eq!(json["server"]["workers"]["value"], 2);
    assert_eq!(json["server"]["workers"]["source"], "flag");
    assert_eq!(json["server"]["allowed_origins"]["from"], "phoenix.toml:2");
    assert!(json["server"]["public_url"]["value"].is_null());
}
