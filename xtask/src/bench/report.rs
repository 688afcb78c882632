//! What a benchmark hands back, and how it is shown: one line a bar, then the machine and the command.

use std::fmt::{self, Display, Formatter, Write};
use std::fs;
use std::thread;

use anyhow::Result;
use serde::Serialize;

/// What a value must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// Not less than this.
    AtLeast(f64),
    /// Not more than this.
    AtMost(f64),
    /// Shown, not judged.
    None,
}

/// One measured value and the bar it was held against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// What was measured.
    pub name: String,
    /// The result, in `unit`.
    pub value: f64,
    /// Unit of value and bar.
    pub unit: &'static str,
    /// What was asked for.
    pub bar: Limit,
    /// Whether it was reached.
    pub pass: bool,
}

impl Bar {
    /// A value that must not be less than `limit`.
    #[must_use]
    pub fn at_least(name: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Self {
        Self { name: name.into(), value, unit, bar: Limit::AtLeast(limit), pass: value >= limit }
    }

    /// A value that must not be more than `limit`.
    #[must_use]
    pub fn at_most(name: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Self {
        Self { name: name.into(), value, unit, bar: Limit::AtMost(limit), pass: value <= limit }
    }

    /// A value that is shown beside the bars to explain them.
    #[must_use]
    pub fn info(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, bar: Limit::None, pass: true }
    }
}

impl Display for Limit {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(limit) => write!(formatter, ">= {}", number(*limit)),
            Self::AtMost(limit) => write!(formatter, "<= {}", number(*limit)),
            Self::None => formatter.write_str("-"),
        }
    }
}

/// The machine a result was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Name and release of the kernel.
    pub kernel: String,
}

impl Machine {
    /// Asks the system.
    #[must_use]
    pub fn detect() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let system = rustix::system::uname();
        Self {
            cpu: model.map_or("unknown processor", |(_, name)| name).to_owned(),
            cores: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy()),
        }
    }
}

/// The bars as aligned lines, then machine and command.
#[must_use]
pub fn table(bars: &[Bar], machine: &Machine, command: &str) -> String {
    let rows: Vec<[String; 4]> = bars
        .iter()
        .map(|bar| {
            let verdict = match (bar.bar, bar.pass) {
                (Limit::None, _) => "",
                (_, true) => "pass",
                (_, false) => "FAIL",
            };
            [
                bar.name.clone(),
                format!("{} {}", number(bar.value), bar.unit),
                bar.bar.to_string(),
                verdict.to_owned(),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [name, value, bar, verdict] in &rows {
        let line = format!("{name:<0$}  {value:>1$}  {bar:>2$}  {verdict}", widths[0], widths[1], widths[2]);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ = writeln!(text, "{}, {} cores, {}\n{command}", machine.cpu, machine.cores, machine.kernel);
    text
}

/// The same as one line of JSON.
///
/// # Errors
/// When a value is no number that JSON knows.
pub fn json(name: &str, bars: &[Bar], machine: &Machine, command: &str) -> Result<String> {
    let value = serde_json::json!({ "bench": name, "bars": bars, "machine": machine, "command": command });
    Ok(serde_json::to_string(&value)?)
}

/// Four significant digits, large numbers in groups.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = if magnitude >= 1000.0 || magnitude.fract() == 0.0 {
        0
    } else if magnitude >= 100.0 {
        1
    } else if magnitude >= 10.0 {
        2
    } else {
        3
    };
    let plain = format!("{value:.decimals$}");
    let digits = plain.find('.').unwrap_or(plain.len());
    let mut grouped = String::new();
    for (index, character) in plain.chars().enumerate() {
        let left = digits.saturating_sub(index);
        if index > 0 && left > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push('_');
        }
        grouped.push(character);
    }
    grouped
}

/// Runs `first` and `second` in turn, `rounds` times, and returns what they measured in each round.
///
/// # Errors
/// The first error of either.
pub fn interleaved(
    rounds: usize,
    mut first: impl FnMut() -> Result<f64>,
    mut second: impl FnMut() -> Result<f64>,
) -> Result<Vec<(f64, f64)>> {
    (0..rounds).map(|_| Ok((first()?, second()?))).collect()
}

/// The middle of `values` (the upper one of two); zero when there are none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Bar, Limit, Machine, interleaved, json, median, number, table};

    fn machine() -> Machine {
        Machine { cpu: "Abacus".to_owned(), cores: 2, kernel: "Linux 1".to_owned() }
    }

    #[test]
    fn a_table_has_a_line_a_bar_then_machine_and_command() {
        let bars = [
            Bar::at_least("throughput", 123_456.7, "1/s", 100_000.0),
            Bar::at_most("p99", 12.345, "us", 10.0),
            Bar::info("cores", 2.0, ""),
        ];
        let text = table(&bars, &machine(), "cargo xtask bench x");
        let expected = "throughput  123_457 1/s  >= 100_000  pass\n\
                        p99            12.35 us       <= 10  FAIL\n\
                        cores                2            -\n\
                        Abacus, 2 cores, Linux 1\ncargo xtask bench x\n";
        let squeezed = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&text), squeezed(expected));
        assert!(bars[0].pass && !bars[1].pass && bars[2].bar == Limit::None);
    }

    #[test]
    fn json_is_one_line() {
        let line =
            json("x", &[Bar::at_most("p99", 1.5, "us", 2.0)], &machine(), "c").expect("finite numbers");
        let value: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
        assert_eq!(value["bars"][0]["bar"]["atMost"], 2.0);
        assert!(!line.contains('\n'));
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        let shown: Vec<String> = [0.0, 0.1234, -1234.0, 999.96, 1_234_567.0, 12.0].map(number).into();
        assert_eq!(shown, ["0", "0.123", "-1_234", "1_000.0", "1_234_567", "12"]);
    }

    #[test]
    fn rounds_alternate_and_the_median_is_the_middle() {
        let order = std::cell::RefCell::new(String::new());
        let mark = |name| {
            order.borrow_mut().push(name);
            Ok(1.0)
        };
        interleaved(2, || mark('a'), || mark('b')).expect("both succeed");
        assert_eq!(*order.borrow(), "abab");
        assert_eq!(median([3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
    }
}
