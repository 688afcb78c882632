//! Guarded processes, with shell scripts in the part of `phoenix`.

use anyhow::Result;
use phoenix_testkit::process::{Exit, PhoenixProcess};

/// A program that announces its address as `phoenix` does, then runs `rest`.
fn script(rest: &str) -> phoenix_testkit::process::Builder {
    let text = format!(
        "echo \"started with $GIVEN${{CARGO:-nothing}}\"; echo \"INFO listening on http://$PHOENIX_LISTEN\" >&2; {rest}"
    );
    PhoenixProcess::builder("/bin/sh").arg("-c").arg(text).env("GIVEN", "it's ")
}

#[test]
fn it_gets_a_port_and_only_the_environment_it_was_given() -> Result<()> {
    let process = script("exec sleep 600").start()?;
    assert_eq!(process.address().ip().to_string(), "127.0.0.1");
    assert_ne!(process.address().port(), 0);
    assert_eq!(process.stdout(), "started with it's nothing\n");
    assert!(process.directory().is_dir());
    Ok(())
}

#[test]
fn it_reports_how_a_process_ended_and_restarts_it_at_the_same_address() -> Result<()> {
    let process = script("trap 'exit 7' TERM; while :; do sleep 0.01; done").start()?;
    let address = process.address();
    assert_eq!(process.terminate()?, Exit::Code(7));
    assert!(process.pid().is_none());
    process.restart()?;
    assert_eq!(process.address(), address);
    process.kill9()?;
    assert_eq!(process.wait_exit(), Exit::Signal(9));
    assert!(process.terminate().is_err());
    Ok(())
}

#[test]
fn sigterm_ends_a_process_that_does_not_handle_it() -> Result<()> {
    let process = script("exec sleep 600").start()?;
    assert_eq!(process.terminate()?, Exit::Signal(15));
    Ok(())
}

#[test]
fn a_process_that_ends_early_is_an_error_with_its_output() {
    let failed = PhoenixProcess::builder("/bin/sh").arg("-c").arg("echo no such key >&2; exit 3").start();
    let error = failed.expect_err("it never listens").to_string();
    assert!(error.contains("Some(3)") && error.contains("no such key"), "{error}");
}

#[test]
fn a_runner_may_wrap_it_and_its_memory_can_be_read() -> Result<()> {
    let process = script("exec sleep 600").run_under(["env", "EXTRA=1"]).start()?;
    if cfg!(target_os = "linux") {
        let memory = process.memory()?;
        assert!(memory.resident_bytes > 0 && memory.peak_bytes >= memory.resident_bytes, "{memory:?}");
    }
    Ok(())
}
