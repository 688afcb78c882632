//! References generated from the table of settings. Owns their layout; every word about a setting is in `settings.rs`.

mod example;
mod markdown;
mod schema;

pub use example::example_toml;
pub use markdown::reference_markdown;
pub use schema::json_schema;

/// Documentation as paragraphs, each on one line.
fn paragraphs(doc: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines
        .split(|line| line.is_empty())
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(" "))
        .collect()
}
