//! Finds `// spec: A4 A6` comments in one source text and the test function below each. It reads lines, not Rust:
//! between the comment and its function only attributes and other comments may stand.

/// Marks a comment that names ids.
const MARK: &str = "// spec:";

/// What one comment turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It stands above a test.
    Test {
        /// The ids it names.
        ids: Vec<String>,
        /// The test's name.
        function: String,
    },
    /// It proves nothing.
    Problem {
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// All `// spec:` comments of `text`.
pub(super) fn scan(text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let marked = lines.iter().enumerate().filter_map(|(index, line)| Some((index, line.strip_prefix(MARK)?)));
    marked.map(|(index, ids)| finding(&lines, index, ids)).collect()
}

fn finding(lines: &[&str], index: usize, ids: &str) -> Finding {
    let problem = |what| Finding::Problem { line: index + 1, what };
    let ids: Vec<String> = ids.split([' ', ',']).filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if ids.is_empty() {
        return problem("a spec comment without an id");
    }
    let above = lines[..index].iter().rev().take_while(|line| is_decoration(line));
    let mut tested = above.into_iter().any(|line| is_test_attribute(line));
    let mut open_brackets = 0;
    for line in &lines[index + 1..] {
        if open_brackets > 0 || line.starts_with("#[") {
            tested |= is_test_attribute(line);
            open_brackets += line.matches('[').count();
            open_brackets = open_brackets.saturating_sub(line.matches(']').count());
        } else if !line.starts_with("//") {
            return match function_name(line) {
                Some(function) if tested => Finding::Test { ids, function },
                Some(_) => problem("a spec comment above a function that is no test"),
                None => problem("a spec comment that is not above a test"),
            };
        }
    }
    problem("a spec comment that is not above a test")
}

fn is_decoration(line: &str) -> bool {
    line.starts_with("//") || line.starts_with("#[")
}

/// `#[test]`, `#[tokio::test(..)]` and the like: an attribute whose path ends in `test`.
fn is_test_attribute(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("#[") else { return false };
    let path = rest.split(['(', ']', ' ']).next().unwrap_or_default();
    path.rsplit("::").next() == Some("test")
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "fn")?;
    let name: String = words
        .next()?
        .chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{Finding, scan};

    fn test(ids: &[&str], function: &str) -> Finding {
        Finding::Test { ids: ids.iter().map(|id| (*id).to_owned()).collect(), function: function.to_owned() }
    }

    #[test]
    fn it_finds_the_test_below_attributes_and_comments() {
        let text = "
            // spec: A4, A6
            // Why this test exists.
            #[tokio::test(
                flavor = \"multi_thread\",
            )]
            #[expect(clippy::too_many_lines, reason = \"one story\")]
            async fn a_story() {
            }
            /// Documented.
            #[test]
            // spec: R1
            fn another<T>(x: T) {}
        ";
        assert_eq!(scan(text), [test(&["A4", "A6"], "a_story"), test(&["R1"], "another")]);
    }

    #[test]
    fn it_works_inside_macros_and_for_stacked_comments() {
        let text =
            "proptest! {\n    // spec: R3\n    // spec: C1\n    #[test]\n    fn holds(n in 0..9) {}\n}";
        assert_eq!(scan(text), [test(&["R3"], "holds"), test(&["C1"], "holds")]);
    }

    #[test]
    fn it_refuses_comments_that_prove_nothing() {
        let texts = [
            "// spec: A1\nfn helper() {}",
            "// spec: A1\n\n#[test]\nfn a_blank_line_between() {}",
            "// spec: A1\nmod tests {}",
            "// spec: A1\n#[cfg(test)]\nfn helper() {}",
            "// spec: A1",
            "// spec:\n#[test]\nfn no_id() {}",
        ];
        for text in texts {
            assert!(matches!(scan(text).as_slice(), [Finding::Problem { line: 1, .. }]), "{text}");
        }
        assert!(scan("// specifically: A1\nlet x = \"// spec: A1\";").is_empty());
    }
}
