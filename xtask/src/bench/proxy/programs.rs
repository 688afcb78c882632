//! Parts `app` and `conformance`: tests that exist elsewhere, run against a release build, a bar for what each reports.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::real;
use crate::bench::build;
use crate::bench::report::Bar;
use crate::shell;

/// Least number of HTTP/1.1 cases.
const CASES: f64 = 150.0;

/// The example application behind Phoenix, driven by a browser: a bar for each step.
pub(super) fn app(_quick: bool) -> Result<Vec<Bar>> {
    let program = build::release("phoenix", "phoenix")?;
    let mut command = Command::new("node");
    command.arg("clients/node/e2e/run.mjs").arg("--phoenix").arg(&program).current_dir(shell::root());
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("run node")?;
    let text = String::from_utf8_lossy(&output.stdout);
    eprint!("{text}");
    let mut bars: Vec<Bar> = text.lines().filter_map(step).collect();
    ensure!(!bars.is_empty(), "the example reported no step ({})", output.status);
    let ended_well = f64::from(u8::from(output.status.success()));
    bars.push(Bar::at_least("app: all steps done", ended_well, "", 1.0));
    Ok(bars)
}

/// `ok    sign up  (120 ms)`, or the same with `FAIL`.
fn step(line: &str) -> Option<Bar> {
    let (good, rest) = match line.split_once("  ")? {
        ("ok", rest) => (1.0, rest),
        ("FAIL", rest) => (0.0, rest),
        _ => return None,
    };
    let name = rest.rsplit_once("  (").map_or(rest, |(name, _)| name).trim();
    Some(Bar::at_least(format!("app: {name}"), good, "", 1.0))
}

/// The table of HTTP/1.1 cases: every one is refused, or reads the same at both sides.
pub(super) fn conformance(_quick: bool) -> Result<Vec<Bar>> {
    let arguments = ["test", "--package", "phoenix", "--test", "it", "smuggling", "--", "--nocapture"];
    let output = shell::cargo(&arguments).stderr(Stdio::inherit()).output().context("run cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = counted(&text, " passed").unwrap_or_default();
    let failed = counted(&text, " failed").unwrap_or_default();
    Ok(vec![
        Bar::at_least("conformance: tests passed", real(ran), "", 1.0),
        Bar::at_most("conformance: tests failed", real(failed), "", 0.0),
        Bar::at_least("conformance: ended well", f64::from(u8::from(output.status.success())), "", 1.0),
        Bar::at_least("conformance: HTTP/1.1 cases refused or identical", real(cases(&text)), "", CASES),
    ])
}

/// All cases of tables that passed: a table says how many it has when every one of them did.
fn cases(text: &str) -> u64 {
    text.split("HTTP/1.1: ").skip(1).filter_map(|rest| rest.split_once(" cases")?.0.parse::<u64>().ok()).sum()
}

/// The number before the first of these words that has one.
fn counted(text: &str, words: &str) -> Option<u64> {
    text.match_indices(words).find_map(|(end, _)| {
        let digits = text[..end].rsplit(|character: char| !character.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::{cases, counted, step};

    #[test]
    fn a_step_is_a_bar() {
        let good = step("ok    sign up, and in  (120 ms)").expect("a step");
        assert_eq!((good.name.as_str(), good.pass), ("app: sign up, and in", true));
        assert!(!step("FAIL  sign up  (3 ms)").expect("a step").pass);
        assert!(step("cloning").is_none());
    }

    #[test]
    fn numbers_are_found_before_their_words() {
        let text = "HTTP/1.1: 163 cases\ntest a ... HTTP/1.1: 4 cases\nHTTP/1.1: no cases\ntest result: ok. 4 passed; 1 failed;";
        assert_eq!(cases(text), 167);
        assert_eq!(counted(text, " passed"), Some(4));
        assert_eq!(counted(text, " failed"), Some(1));
        assert_eq!(counted(text, " skipped"), None);
    }
}
