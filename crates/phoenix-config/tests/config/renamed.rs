//! Variables of Stack Auth under the names that they have since it is called Hexclave.

use std::fs;

use phoenix_config::{Sources, Stack};

use crate::{refused, valid};

const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
const OTHER_ID: &str = "0190163d-8694-739b-aea5-966c26f8ad92";

/// The project under its new names.
fn renamed() -> Sources {
    Sources::default()
        .with_env("HEXCLAVE_PROJECT_ID", ID)
        .with_env("HEXCLAVE_SECRET_SERVER_KEY", "hunter2")
        .with_env("HEXCLAVE_PUBLISHABLE_CLIENT_KEY", "pck")
}

fn stack(sources: &Sources) -> Stack {
    valid(sources).config.stack.expect("complete")
}

#[test]
fn the_new_names_are_read_and_named() {
    let loaded = valid(&renamed());
    let source = |key: &str| loaded.effective.get(key).expect(key).source.to_string();
    assert_eq!(source("stack.project_id"), "environment variable HEXCLAVE_PROJECT_ID");
    let stack = stack(&renamed());
    assert_eq!((stack.project_id.as_str(), stack.secret_server_key.expose()), (ID, "hunter2"));
    assert_eq!(stack.publishable_client_key, "pck");
    let errors = refused(&renamed().with_env("HEXCLAVE_PROJECT_ID", "x")).to_string();
    assert!(errors.contains("environment variable HEXCLAVE_PROJECT_ID"), "{errors}");
}

#[test]
fn both_names_may_say_the_same() {
    let both = renamed()
        .with_env("STACK_PROJECT_ID", ID)
        .with_env("STACK_SECRET_SERVER_KEY", "hunter2")
        .with_env("STACK_PUBLISHABLE_CLIENT_KEY", "");
    assert_eq!(stack(&both).project_id.as_str(), ID);
}

#[test]
fn both_names_may_not_differ() {
    let project = refused(&renamed().with_env("STACK_PROJECT_ID", OTHER_ID));
    let error = &project.errors()[0];
    assert_eq!(error.setting(), Some("stack.project_id"));
    assert!(
        error.reason().contains("STACK_PROJECT_ID and environment variable HEXCLAVE_PROJECT_ID"),
        "{error}"
    );
    assert!(error.reason().ends_with("are both set and differ"), "{error}");
    let key = refused(&renamed().with_env("STACK_SECRET_SERVER_KEY", "hunter3")).to_string();
    assert!(key.contains("differ") && !key.contains("hunter"), "{key}");
    let overridden = renamed().with_env("STACK_PROJECT_ID", OTHER_ID).with_override("stack.project_id", ID);
    assert_eq!(stack(&overridden).project_id.as_str(), ID, "the command line wins over both");
}

#[test]
fn the_secret_can_be_in_a_file_under_either_name() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("secret");
    fs::write(&path, "hunter2\n").expect("written");
    let path = path.to_str().expect("UTF-8");
    let by_file = renamed()
        .with_env("HEXCLAVE_SECRET_SERVER_KEY", "")
        .with_env("HEXCLAVE_SECRET_SERVER_KEY_FILE", path);
    assert_eq!(stack(&by_file).secret_server_key.expose(), "hunter2");
    let same = renamed().with_env("STACK_SECRET_SERVER_KEY_FILE", path);
    assert_eq!(stack(&same).secret_server_key.expose(), "hunter2");
    let other = refused(&same.with_env("HEXCLAVE_SECRET_SERVER_KEY", "hunter3")).to_string();
    assert!(other.contains("named by STACK_SECRET_SERVER_KEY_FILE") && !other.contains("hunter"), "{other}");
    let twice = refused(&renamed().with_env("HEXCLAVE_SECRET_SERVER_KEY_FILE", path)).to_string();
    assert!(twice.contains("both HEXCLAVE_SECRET_SERVER_KEY and HEXCLAVE_SECRET_SERVER_KEY_FILE"), "{twice}");
}
