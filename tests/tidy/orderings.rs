//! Every memory ordering has a tag, and every tag a row in the module's table.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, has_word};

const VARIANTS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// Tag -> what the table says about it.
type Table = BTreeMap<String, String>;

/// The files of `src`, judged together: a table speaks for its file or, in mod.rs, for the folder.
///
/// The shim passes orderings on, and tests have one thread or joined ones: neither is judged.
pub(crate) fn rule(sources: &[Source]) -> Vec<String> {
    let judged = || sources.iter().filter(|source| source.module() != Some("shim"));
    let tables: BTreeMap<&str, (Table, Vec<String>)> = judged()
        .map(|source| (source.path.as_str(), table(source)))
        .filter(|(_, (table, findings))| !table.is_empty() || !findings.is_empty())
        .collect();
    let mut findings: Vec<String> = tables.values().flat_map(|(_, findings)| findings.clone()).collect();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in judged() {
        let home = homes(&source.path).into_iter().find_map(|home| tables.get_key_value(home.as_str()));
        let empty = Table::new();
        let (home, table) = home.map_or(("no module above it", &empty), |(home, (table, _))| (*home, table));
        let seen = used.entry(home).or_default();
        for (number, line) in source.lines.iter().enumerate().filter(|(_, line)| !line.in_test) {
            for tag in tags(&line.comment) {
                if !table.contains_key(&tag) {
                    findings.push(source.finding(
                        number,
                        format_args!("[{tag}] has no row in a table of orderings ({home})"),
                    ));
                }
                seen.insert(tag);
            }
        }
        findings.extend(untagged(source, table));
    }
    for (path, (table, _)) in &tables {
        let seen = used.get(path);
        for tag in table.keys().filter(|tag| seen.is_none_or(|seen| !seen.contains(*tag))) {
            findings.push(format!("{path}: the row of {tag} describes no code: no comment has [{tag}]"));
        }
    }
    findings
}

/// Lines that name an ordering without a tag, or another ordering than the rows of their tags.
fn untagged(source: &Source, table: &Table) -> Vec<String> {
    let mut named: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    let mut importing = false;
    for token in &source.tokens {
        importing = token.text == "use" || importing && token.text != ";";
        if !importing && VARIANTS.contains(&token.text.as_str()) && !source.lines[token.line].in_test {
            named.entry(token.line).or_default().insert(&token.text);
        }
    }
    let mut findings = Vec::new();
    for (number, orders) in named {
        let rows: Vec<&str> = tags(&source.comments_on(number))
            .iter()
            .filter_map(|tag| table.get(tag))
            .map(String::as_str)
            .collect();
        let listed = |order: &str| rows.iter().any(|row| has_word(row, order));
        let orders_here = orders.iter().copied().collect::<Vec<_>>().join(", ");
        if rows.is_empty() {
            findings.push(source.finding(number, format_args!("an ordering ({orders_here}) without a tag")));
        } else if orders.contains("SeqCst") && !listed("SeqCst") {
            findings
                .push(source.finding(number, "SeqCst, and no row says which store-to-load edge needs it"));
        } else if !orders.iter().any(|order| listed(order)) {
            findings.push(
                source.finding(
                    number,
                    format_args!("{orders_here}, but the row of its tag says something else"),
                ),
            );
        }
    }
    findings
}

/// The rows of the tables in the module's documentation whose first column is `tag`.
fn table(source: &Source) -> (Table, Vec<String>) {
    let (mut table, mut findings) = (Table::new(), Vec::new());
    let mut inside = false;
    for (number, line) in source.lines.iter().enumerate() {
        let row = line.module_doc.trim();
        let Some(cells) = row.strip_prefix('|') else {
            inside = false;
            continue;
        };
        let first = cells.split('|').next().unwrap_or_default().trim().trim_matches(['`', '[', ']']);
        if first == "tag" {
            inside = true;
        } else if inside && !first.starts_with(['-', ':']) {
            if !is_tag(first) {
                findings
                    .push(source.finding(number, format_args!("`{first}` is no tag: one tag a row, as P2")));
            } else if table.insert(first.to_owned(), cells.to_owned()).is_some() {
                findings.push(source.finding(number, format_args!("{first} has two rows")));
            }
        }
    }
    (table, findings)
}

/// Where the table of a file may stand: in the file, else in the modules around it, the nearest first.
fn homes(path: &str) -> Vec<String> {
    let mut homes = vec![path.to_owned()];
    let mut folder = path;
    while let Some((above, _)) = folder.rsplit_once('/') {
        homes.extend([format!("{above}/mod.rs"), format!("{above}.rs")]);
        folder = above;
    }
    homes
}

/// The tags in a comment: `[P2]`.
fn tags(comment: &str) -> Vec<String> {
    let inside = comment.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    inside.map(|(tag, _)| tag).filter(|tag| is_tag(tag)).map(str::to_owned).collect()
}

/// One to three capitals, then a number, then at most a letter.
fn is_tag(text: &str) -> bool {
    let capitals = text.chars().take_while(char::is_ascii_uppercase).count();
    let digits = text.chars().skip(capitals).take_while(char::is_ascii_digit).count();
    let letter = text.chars().skip(capitals + digits).all(|c| c.is_ascii_lowercase());
    (1..=3).contains(&capitals) && (1..=2).contains(&digits) && text.len() <= capitals + digits + 1 && letter
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "//! # Orderings\n//! | tag | operation | order | pairs |\n//! |---|---|---|---|\n\
                         //! | P1 | tail | Release | C1 |\n//! | P2 | fence | SeqCst | - |\n";

    fn judge(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        rule(&sources)
    }

    #[test]
    fn tagged_code_passes() {
        let code = "use crate::shim::Ordering::{Relaxed, Release};\n\
                    fn f() {\n    tail.store(1, Release); // [P1] publish\n    // [P2]\n    fence(SeqCst);\n\
                    // [P1] several lines\n    x.compare_exchange(\n        1,\n        Ordering::Release,\n    );\n\
                    if x.swap(1, Release) == 1 {\n        // [P1]\n        y();\n    }\n}\n\
                    #[cfg(test)]\nmod tests { fn g() { x.load(Ordering::Acquire) } }";
        assert_eq!(judge(&[("src/ring/a.rs", &format!("{TABLE}{code}"))]), Vec::<String>::new());
        // The same with the table in the folder's mod.rs, or in the file beside the folder.
        assert_eq!(judge(&[("src/ring/mod.rs", TABLE), ("src/ring/b/a.rs", code)]), Vec::<String>::new());
        assert_eq!(judge(&[("src/ring.rs", TABLE), ("src/ring/a.rs", code)]), Vec::<String>::new());
    }

    fn one_finding(code: &str, part: &str) {
        let both = "fn z() {\n    a(Release); // [P1]\n    b(SeqCst); // [P2]\n}\n";
        let findings = judge(&[("src/ring/a.rs", &format!("{TABLE}{both}{code}"))]);
        assert!(findings.len() == 1 && findings[0].contains(part), "{code}: {findings:?}");
    }

    #[test]
    fn an_ordering_without_a_tag_is_found() {
        one_finding("fn f() { x.load(Ordering::Acquire) }", "without a tag");
        one_finding("fn f() {\n    // [P1]\n    y();\n    x.load(Relaxed);\n}", "without a tag");
        one_finding("fn f() {\n    x.swap(\n        1,\n        Release,\n    );\n}", "without a tag");
        one_finding("fn f() {\n    /// [P1]\n    x.store(Release);\n}", "without a tag");
    }

    #[test]
    fn a_tag_without_a_row_is_found() {
        let findings = judge(&[("src/ring/a.rs", "fn f() {} // [P1]")]);
        assert!(findings.len() == 1 && findings[0].contains("has no row"), "{findings:?}");
        one_finding("fn f() {} // [P9]", "has no row");
    }

    #[test]
    fn a_row_without_code_is_found() {
        let findings = judge(&[("src/ring/a.rs", &format!("{TABLE}// [P1]"))]);
        assert!(findings.len() == 1 && findings[0].contains("P2 describes no code"), "{findings:?}");
        let elsewhere = judge(&[("src/ring/a.rs", TABLE), ("src/ring/b.rs", "// [P1] [P2]")]);
        assert_eq!(elsewhere.len(), 4, "the table of a file speaks for that file only: {elsewhere:?}");
        let in_tests =
            judge(&[("src/ring/a.rs", &format!("{TABLE}#[cfg(test)]\nmod tests {{\n    // [P1] [P2]\n}}"))]);
        assert_eq!(in_tests.len(), 2, "{in_tests:?}");
    }

    #[test]
    fn a_row_that_says_something_else_is_found() {
        one_finding("fn f() { x.load(Acquire) } // [P1]", "says something else");
        one_finding("fn f() { fence(SeqCst) } // [P1]", "no row says which");
    }

    #[test]
    fn a_crooked_table_is_found() {
        let twice = "//! | tag | order |\n//! |--|--|\n//! | P1 | Release |\n//! | P1 | Acquire |\n// [P1]";
        assert_eq!(judge(&[("src/ring/a.rs", twice)]).len(), 1);
        let two = "//! | tag | order |\n//! |--|--|\n//! | P1, P2 | Release |\n//! | P3 | Acquire |\n// [P3]";
        assert_eq!(judge(&[("src/ring/a.rs", two)]).len(), 1);
    }
}
