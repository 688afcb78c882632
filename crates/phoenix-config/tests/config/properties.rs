//! No input makes loading panic, and what is refused is refused with words.

use phoenix_config::{Sources, load};
use proptest::{collection::vec, prelude::*, sample::select};

fn keys() -> Vec<(&'static str, String)> {
    let defaults = load(&Sources::default()).expect("the defaults are valid").effective;
    let reference = phoenix_config::reference_markdown();
    let env_of = |key: &str| {
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).expect("a row");
        row.split('`').nth(3).expect("an environment variable").to_owned()
    };
    defaults.settings().iter().map(|setting| (setting.key, env_of(setting.key))).collect()
}

/// Text that is likely to get far: pieces of valid values between arbitrary ones.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        select(vec![
            "1",
            "99999999999999999999",
            "s",
            "ms",
            "MiB",
            "-",
            "://",
            "postgres://",
            "redis://",
            "redis-sentinel://",
            "redis-cluster://",
            "http://"
        ]),
        select(vec![
            "@",
            ":",
            "/",
            "?",
            "#",
            "[",
            "]",
            "::1",
            "localhost",
            "sslmode=",
            "admin=1h/",
            "https://a.example audience=",
            " algorithms=ES256+",
            ",",
            "\"",
            "'",
            "=",
            "\n",
            "é"
        ]),
    ];
    prop_oneof![vec(piece, 0..8).prop_map(|pieces| pieces.concat()), any::<String>()]
}

fn check(sources: &Sources) {
    match load(sources) {
        Ok(loaded) => {
            let text = loaded.effective.to_text();
            assert!(text.parse::<toml::Table>().is_ok(), "{text}");
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty() && !errors.to_string().is_empty());
            assert!(
                errors.errors().iter().all(|error| !error.reason().is_empty() && !error.remedy().is_empty())
            );
        }
    }
}

proptest! {
    #[test]
    fn any_file(text in any::<String>()) {
        check(&Sources::from_toml(text));
    }

    #[test]
    fn any_lines(lines in vec((select(keys()), value()), 0..6)) {
        let plain: Vec<String> = lines.iter().map(|((key, _), value)| format!("{key} = {value}")).collect();
        let quoted: Vec<String> = lines.iter().map(|((key, _), value)| format!("{key} = {value:?}")).collect();
        check(&Sources::from_toml(plain.join("\n")));
        check(&Sources::from_toml(quoted.join("\n")));
    }

    #[test]
    fn any_environment_and_overrides(
        env in vec((select(keys()), value()), 0..6),
        overrides in vec((select(keys()), value()), 0..3),
        unknown in vec(("PHOENIX_[A-Z_0-9]{0,20}", value()), 0..3),
    ) {
        let known = env.into_iter().map(|((_, name), value)| (name, value));
        let mut sources = known.chain(unknown).fold(Sources::default(), |sources, (name, value)| sources.with_env(name, value));
        sources.overrides = overrides.into_iter().map(|((key, _), value)| (key.to_owned(), value)).collect();
        check(&sources);
    }

    #[test]
    fn a_url_that_is_accepted_is_shown_without_its_password(password in "[!-~]{8,20}", tail in value()) {
        let url = format!("postgres://user:{password}@host/{tail}");
        if let Ok(loaded) = load(&Sources::default().with_env("DATABASE_URL", url)) {
            let shown = loaded.effective.to_text();
            prop_assert!(!shown.contains(&format!("user:{password}")), "{}", shown);
            prop_assert!(shown.contains("postgres://user:<redacted>@host"), "{}", shown);
        }
    }
}
