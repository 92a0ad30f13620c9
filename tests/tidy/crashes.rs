//! Every row of every table of crashes names the tests that hold it, and these exist.
//!
//! The last column is `held by`, and a test in it is one of
//!
//! | reference | is |
//! |---|---|
//! | `kill "spsc try_send"` | a case of `tests/kill`: every instruction |
//! | `loom spsc::name`, `models event::name` | a test in `loom-tests/tests/spsc.rs`, `models/tests/event.rs` |
//! | `tests death::name`, `tests sysv::crashes::name` | one in `tests/death.rs`, `tests/sysv/crashes.rs` |
//! | `conformance kills::name` | a promise of `tests/conformance.rs`, which every kind of segment keeps that can |
//! | `unit ring::lease::tests::name` | one in `src`, as `cargo test --lib` names it |
//!
//! A name may be cut, `loom spsc::a_sender_*`, where no other test begins so. A row that has nothing but references goes on
//! with those of the row above.

use std::collections::BTreeSet;

use crate::File;
use crate::source::{Source, Token, behind_attributes, matches};

/// Sections of a module's documentation from which it follows that others share its memory, and may die in it.
const SHARED: [&str; 3] = ["Layout", "Orderings", "The word"];

/// What is wrong with the tables of the files of `src`. `tests`: all references that mean something.
pub(crate) fn rule(sources: &[Source], tests: &BTreeSet<String>) -> Vec<String> {
    // Below, memory is the process's own, and goes with it.
    let shares = |source: &&Source| source.module().is_some_and(|module| !matches!(module, "os" | "shim"));
    sources.iter().filter(shares).flat_map(|source| judge(source, tests)).collect()
}

fn judge(source: &Source, tests: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let (mut section, mut shared, mut rows) = ("", None, Vec::new());
    let mut crashes = None;
    for (number, line) in source.lines.iter().enumerate() {
        let doc = line.module_doc.trim();
        if let Some(title) = doc.strip_prefix("# ") {
            section = title;
            if SHARED.contains(&title) {
                shared = shared.or(Some(number));
            } else if title == "Crashes" {
                crashes = Some(number);
            }
        } else if section == "Crashes" && doc.starts_with('|') {
            rows.push((number, cells(doc)));
        }
    }
    match (crashes, shared) {
        (None, Some(number)) => findings.push(source.finding(number, "shared, and without `# Crashes`")),
        (Some(number), _) if rows.len() < 3 => {
            findings.push(source.finding(number, "`# Crashes` without a table"));
        }
        _ => {}
    }
    let columns = rows.first().map_or(0, |(_, header)| header.len());
    for (n, (number, cells)) in rows.iter().enumerate() {
        let last = cells.last().copied().unwrap_or_default();
        let goes_on = cells.iter().rev().skip(1).all(|cell| cell.is_empty());
        let wrong = match n {
            0 if last != "held by" => vec!["the last column of a table of crashes is `held by`".to_owned()],
            0 | 1 => Vec::new(),
            _ if cells.len() != columns => vec!["a row with another number of columns".to_owned()],
            2 if goes_on => vec!["nothing dies in the first row".to_owned()],
            _ => unheld(last, tests),
        };
        findings.extend(wrong.into_iter().map(|what| source.finding(*number, what)));
    }
    findings
}

/// What stands between the pipes of a row.
fn cells(row: &str) -> Vec<&str> {
    let inner = row.strip_prefix('|').and_then(|row| row.strip_suffix('|')).unwrap_or(row);
    inner.split('|').map(str::trim).collect()
}

/// References are in code, and nothing but commas is between them.
fn unheld(cell: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let parts: Vec<&str> = cell.split('`').collect();
    let between = parts.iter().step_by(2);
    let references: Vec<&str> = parts.iter().skip(1).step_by(2).copied().collect();
    if references.is_empty() || parts.len() % 2 == 0 || !between.into_iter().all(|text| is_comma(text)) {
        return vec!["no test holds this row: name one, as `loom spsc::name`".to_owned()];
    }
    let meant = |reference: &&str| match reference.strip_suffix('*') {
        None => usize::from(tests.contains(*reference)),
        Some(beginning) => tests.iter().filter(|test| test.starts_with(beginning)).count(),
    };
    let wrong = references.into_iter().filter(|reference| meant(reference) != 1);
    wrong.map(|reference| format!("{} tests are `{reference}`", meant(&reference))).collect()
}

fn is_comma(text: &str) -> bool {
    matches!(text.trim(), "" | ",")
}

/// Every reference that means something.
pub(crate) fn tests(files: &[File]) -> BTreeSet<String> {
    files.iter().flat_map(tests_in).collect()
}

fn tests_in(file: &File) -> Vec<String> {
    let Some(path) = file.path.strip_suffix(".rs") else { return Vec::new() };
    let functions = |kind: &str, path: &str| {
        let names = test_functions(&Source::new(&file.path, &file.text));
        let module = path.replace('/', "::");
        names.into_iter().map(|name| format!("{kind} {module}::{name}")).collect()
    };
    if path.starts_with("tests/kill/") {
        return literals_behind(&file.text, "name: ").map(|name| format!("kill \"{name}\"")).collect();
    }
    if path == "tests/conformance" {
        let promises = file.text.lines().filter_map(|line| line.trim().strip_suffix("];")?.split_once(" ["));
        let promises = promises.filter(|(name, _)| name.contains("::") && !name.contains(' '));
        return promises.map(|(name, _)| format!("conformance {name}")).collect();
    }
    let kinds = [("loom-tests/tests/", "loom"), ("models/tests/", "models"), ("tests/", "tests")];
    if let Some((kind, path)) =
        kinds.into_iter().find_map(|(folder, kind)| Some((kind, path.strip_prefix(folder)?)))
    {
        return functions(kind, path);
    }
    let module = path.strip_prefix("src/").map(|path| path.strip_suffix("/mod").unwrap_or(path));
    module.map(|module| functions("unit", module)).unwrap_or_default()
}

/// `x` of each `<prefix>"x"`.
fn literals_behind<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = text.lines().filter_map(move |line| line.trim().strip_prefix(prefix));
    lines.filter_map(|rest| rest.strip_prefix('"')?.split_once('"')).map(|(name, _)| name)
}

/// The functions under `#[test]`, with the modules of the file around them: `tests::name`.
fn test_functions(source: &Source) -> Vec<String> {
    let tokens = &source.tokens;
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    let (mut functions, mut open, mut named) = (Vec::new(), Vec::new(), None);
    for at in 0..tokens.len() {
        match text(at) {
            "mod" if text(at + 2) == "{" => named = Some(text(at + 1)),
            "{" => open.push(named.take()),
            "}" => drop(open.pop()),
            "#" if matches(tokens, at, &["#", "[", "test", "]"]) => {
                let function = behind_attributes(tokens, at);
                if text(function) == "fn" {
                    let path = open.iter().copied().flatten().chain([text(function + 1)]);
                    functions.push(path.collect::<Vec<_>>().join("::"));
                }
            }
            _ => {}
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn known() -> BTreeSet<String> {
        tests(&[
            file(
                "tests/kill/spsc.rs",
                "Case {\n    name: \"spsc try_send\",\n    victim: || \"name: \\\"no\\\"\"",
            ),
            file(
                "loom-tests/tests/spsc.rs",
                "/// It.\n#[test]\n#[cfg(x)]\nfn a_sender_dies() {}\nfn helper() {}",
            ),
            file("models/tests/event.rs", "#[test]\nfn good() {}"),
            file("tests/sysv/crashes.rs", "mod inner { #[test] fn one() {} }\n#[test]\nfn two() {}"),
            file(
                "tests/conformance.rs",
                "    kills::a_death [Name Content];\n    names::other [];\n#[test]\nfn no() {}",
            ),
            file(
                "src/ring/lease.rs",
                "fn f() { { } }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn held() {}\n}",
            ),
            file("src/ring/spsc/mod.rs", "proptest! {\n    #[test]\n    fn drawn(a in b) {}\n}"),
            file("README.md", "#[test]\nfn nowhere() {}"),
        ])
    }

    #[test]
    fn tests_are_found_where_they_are() {
        let expected = [
            "conformance kills::a_death",
            "conformance names::other",
            "kill \"spsc try_send\"",
            "loom spsc::a_sender_dies",
            "models event::good",
            "tests sysv::crashes::inner::one",
            "tests sysv::crashes::two",
            "unit ring::lease::tests::held",
            "unit ring::spsc::drawn",
        ];
        assert_eq!(known(), expected.map(str::to_owned).into());
    }

    const TABLE: &str = "//! # Orderings\n//! | tag | order |\n//!\n//! # Crashes\n//! | dies | left | held by |\n\
                         //! |------|------|---------|\n//! | a    | b    | `kill \"spsc try_send\"`, `models event::good` |\n\
                         //! | a    | b    | `unit ring::lease::tests::held` |\n//! |      |      | `loom spsc::a_sender_*` |\n\
                         //!\n//! # Limits\n//! | none |\n";

    fn findings(path: &str, text: &str) -> Vec<String> {
        rule(&[Source::new(path, text)], &known())
    }

    #[test]
    fn rows_that_are_held_pass() {
        assert_eq!(findings("src/ring/a.rs", TABLE), Vec::<String>::new());
        assert_eq!(findings("src/os/a.rs", "//! # Orderings\n"), Vec::<String>::new());
        assert_eq!(
            findings("src/ring/a.rs", "//! # Answers\n/// # Crashes\n/// Nothing.\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_row_that_nothing_holds_is_found() {
        for (from, to, part) in [
            ("`unit ring::lease::tests::held`", "", "no test holds"),
            ("`unit ring::lease::tests::held`", "yes", "no test holds"),
            ("`unit ring::lease::tests::held`", "`unit ring::lease::tests::held` in part", "no test holds"),
            ("`unit ring::lease::tests::held`", "`unit ring::lease::tests::held", "no test holds"),
            ("lease::tests::held", "lease::held", "0 tests are"),
            ("unit ring::lease::tests::held", "tests sysv::crashes::*", "2 tests are"),
            ("| a    | b    | `kill", "|      |      | `kill", "nothing dies"),
            ("try_send\"", "try_sent\"", "0 tests are"),
            ("| held by |", "| outcome |", "the last column"),
            ("| a    | b    | `unit", "| a    | `unit", "number of columns"),
        ] {
            let findings = findings("src/ring/a.rs", &TABLE.replacen(from, to, 1));
            assert!(findings.len() == 1 && findings[0].contains(part), "{to}: {findings:?}");
        }
    }

    #[test]
    fn what_is_shared_and_has_no_table_is_found() {
        for section in SHARED {
            let shared = format!("//! # {section}\n");
            assert_eq!(findings("src/ring/a.rs", &shared).len(), 1);
            assert_eq!(findings("src/ring/a.rs", &format!("{shared}//! # Crashes\n//! Nothing.\n")).len(), 1);
            let in_item = format!("{shared}/// # Crashes\n");
            assert_eq!(findings("src/ring/a.rs", &in_item).len(), 1, "an item's is for users");
        }
    }
}
