//! Files that are refused as a whole or in part, and what is said about them.

use std::fs;

use phoenix_config::{FileSource, Sources};

use crate::refused;

/// Text of the file, key named, line named, part of the message.
const BAD: &[(&str, Option<&str>, usize, &str)] = &[
    ("[server]\nlisten = \n", None, 2, "not valid TOML"),
    ("[server]\nworkers = four\n", None, 2, "not valid TOML"),
    ("[server\n", None, 1, "not valid TOML"),
    ("[server]\nworkers = 1\nworkers = 2\n", Some("workers"), 3, "duplicate key"),
    ("[server]\nworkers = 1\n[log]\n[server]\n", Some("server"), 4, "duplicate key"),
    ("\n\n[srever]\nworkers = 1\n", Some("srever"), 3, "did you mean [server]?"),
    ("[unheard-of]\nx = 1\n", Some("unheard-of"), 1, "the sections are server, tls, data"),
    ("server = 1\n", Some("server"), 1, "write [server] on a line of its own"),
    ("[[server]]\nworkers = 1\n", Some("server"), 1, "write [server] on a line of its own"),
    ("[server]\n\nwokers = 1\n", Some("server.wokers"), 3, "did you mean `server.workers`?"),
    ("[server]\nmax-headers = 20\n", Some("server.max-headers"), 2, "did you mean `server.max_headers`?"),
    (
        "[server]\nabsolute_timeout = '1d'\n",
        Some("server.absolute_timeout"),
        2,
        "did you mean `session.absolute_timeout`?",
    ),
    (
        "[server]\nfrobnicate_all = 1\n",
        Some("server.frobnicate_all"),
        2,
        "the settings of [server] are listen",
    ),
    ("listen = '127.0.0.1:1'\n", Some("listen"), 1, "did you mean `server.listen`?"),
    ("DATABASE_URL = 'x'\n", Some("DATABASE_URL"), 1, "did you mean `database.url`?"),
    ("frobnicate_all = 1\n", Some("frobnicate_all"), 1, "every setting stands in a section"),
    (
        "[server]\nworkers = 1\nlisten.address = 1\n",
        Some("server.listen"),
        3,
        "expected a string, found a table",
    ),
    (
        "[server]\nallowed_origins = [\n 'https://a.example',\n 3,\n]\n",
        Some("server.allowed_origins"),
        2,
        "other things than strings",
    ),
];

#[test]
fn a_bad_file_is_refused_with_the_line() {
    for (text, key, line, message) in BAD {
        let errors = refused(&Sources::from_toml(*text));
        assert_eq!(errors.errors().len(), 1, "{text}\n{errors}");
        let error = &errors.errors()[0];
        assert_eq!(error.setting(), *key, "{text}\n{errors}");
        assert!(error.to_string().contains(&format!("from:   phoenix.toml:{line}\n")), "{text}\n{errors}");
        assert!(error.to_string().contains(message), "{text}\n{errors}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("phoenix.toml");
    let read = || FileSource::read(&path).map(drop).expect_err("unreadable").to_string();
    assert!(read().contains("cannot be read"), "{}", read());
    fs::write(&path, b"# fine\n[server]\n# \xff\n").expect("written");
    assert!(read().contains("not UTF-8") && read().contains("phoenix.toml:3"), "{}", read());
    fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).expect("written");
    assert!(read().contains("larger than 1 MiB"), "{}", read());
    fs::write(&path, vec![b'#'; 1024 * 1024]).expect("written");
    assert!(FileSource::read(&path).is_ok());
    let text = FileSource::read(dir.path()).map(drop).expect_err("a directory").to_string();
    assert!(text.contains("cannot be read"), "{text}");
}

#[test]
fn a_file_of_errors_is_refused_briefly() {
    let many: Vec<String> = (0..20_000).map(|i| format!("key{i} = 1")).collect();
    let errors = refused(&Sources::from_toml(many.join("\n")));
    assert_eq!(errors.errors().len(), 20_000);
    let text = errors.to_string();
    assert!(text.lines().count() < 300 && text.ends_with("and 19950 more"), "{}", text.lines().count());
    let long = refused(&Sources::from_toml(format!("[log]\nformat = '{}'", "x".repeat(900_000))));
    assert!(long.to_string().len() < 1000);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_fine() {
    let errors = refused(&Sources::from_toml("\u{feff}[server]\r\nworkers = 4\r\nx = 1\r\n"));
    assert!(errors.to_string().contains("phoenix.toml:3"), "{errors}");
}
