//! Every unsafe block has a proof, and above the doors the proof cites an invariant that the module states.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, Token, has_word, matches};

/// The invariants that the files of `src` state in their documentation, by path.
pub(crate) fn invariants(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let stated = |source: &Source| {
        source
            .lines
            .iter()
            .flat_map(|line| [&line.module_doc, &line.doc])
            .filter_map(|doc| statement(doc))
            .collect()
    };
    sources.iter().map(|source| (source.path.clone(), stated(source))).collect()
}

/// Blocks without a proof; in `src`, above `os` and `shim`, also proofs without an invariant of this module or of one
/// around it.
pub(crate) fn rule(source: &Source, invariants: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let above_the_doors = source.module().is_some_and(|module| !matches!(module, "os" | "shim" | "bin"));
    let mut findings = Vec::new();
    for at in (0..source.tokens.len()).filter(|&at| matches(&source.tokens, at, &["unsafe", "{"])) {
        let line = source.tokens[at].line;
        let comments = source.comments_on(line);
        let Some((_, proof)) = comments.split_once("SAFETY:") else {
            findings.push(source.finding(line, "an unsafe block without a SAFETY comment"));
            continue;
        };
        let forwards = has_word(proof, "caller") && in_unsafe_fn(&source.tokens[..at]);
        if !above_the_doors || source.lines[line].in_test || forwards {
            continue;
        }
        let cited: Vec<String> = citations(proof).collect();
        let known = |number: &String| around(&source.path, invariants).any(|stated| stated.contains(number));
        if cited.is_empty() {
            findings.push(source.finding(line, "the SAFETY comment cites no invariant (I1, I2, ...)"));
        } else if !cited.iter().all(known) {
            let cited = cited.join(", ");
            findings.push(
                source.finding(
                    line,
                    format_args!("the SAFETY comment cites {cited}: not stated in this module"),
                ),
            );
        }
    }
    findings
}

/// Whether the innermost function that is open behind these tokens is unsafe: then its caller has promised something.
fn in_unsafe_fn(tokens: &[Token]) -> bool {
    let mut open: Vec<Option<bool>> = Vec::new();
    let mut function = None;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "fn" if tokens.get(at + 1).is_some_and(Token::is_word) => {
                let qualifiers =
                    tokens[..at].iter().rev().take_while(|token| token.is_word() || token.text == "\"");
                function = Some(qualifiers.into_iter().any(|token| token.text == "unsafe"));
            }
            "{" => open.push(function.take()),
            "}" => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().flatten().last().unwrap_or(false)
}

/// What the file itself states, and the modules around it.
fn around<'a>(
    path: &'a str,
    invariants: &'a BTreeMap<String, BTreeSet<String>>,
) -> impl Iterator<Item = &'a BTreeSet<String>> {
    let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
    let homes = folders.flat_map(|folder| [format!("{folder}/mod.rs"), format!("{folder}.rs")]);
    homes.chain([path.to_owned()]).filter_map(|home| invariants.get(&home))
}

/// `I3  ...` at the beginning of a line states invariant 3; so does a row or an item of a list. Where modules of one
/// folder have invariants of their own, they have a prefix: `R-I3`.
fn statement(doc: &str) -> Option<String> {
    let doc = doc.trim_start_matches([' ', '|', '*', '-', '`']);
    citations(doc).next().filter(|number| doc.starts_with(number.as_str()))
}

/// `I3` in "by I3: nobody else writes it".
fn citations(text: &str) -> impl Iterator<Item = String> {
    let words =
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').map(|word| word.trim_matches('-'));
    words.filter(|word| is_number(word)).map(str::to_owned)
}

fn is_number(word: &str) -> bool {
    let (prefix, number) = word.split_once('-').unwrap_or(("", word));
    let digits = number.strip_prefix('I').unwrap_or_default();
    prefix.bytes().all(|byte| byte.is_ascii_uppercase())
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let home = Source::new("src/ring/mod.rs", "//! # Invariants\n//! I1  one\n//! I2  two");
        let source = Source::new(path, text);
        rule(&source, &invariants(&[home, source.clone()]))
    }

    #[test]
    fn a_block_without_a_proof_is_found() {
        for text in [
            "fn f() { unsafe { g() } }",
            "// SAFETY: I1 - far away\n\nfn f() {\n    unsafe { g() };\n}",
            "fn f() {\n    // SAFETY: I1 - the first\n    unsafe { g() };\n    unsafe { h() };\n}",
            "fn f() {\n    let a = \"SAFETY: I1\";\n    unsafe { g() };\n}",
        ] {
            for path in ["src/ring/spsc.rs", "src/os/map.rs", "tests/kill.rs", "fuzz/fuzz_targets/a.rs"] {
                let findings = findings(path, text);
                assert!(
                    findings.len() == 1 && findings[0].contains("without a SAFETY"),
                    "{path}: {text}: {findings:?}"
                );
            }
        }
    }

    #[test]
    fn a_proof_without_an_invariant_is_found() {
        let text = "fn f() {\n    // SAFETY: we know that it is fine.\n    unsafe { g() };\n}";
        assert_eq!(findings("src/ring/spsc.rs", text).len(), 1);
        let forwarded =
            "unsafe fn g() {}\nfn f() {\n    // SAFETY: the caller's contract.\n    unsafe { g() };\n}";
        assert_eq!(
            findings("src/ring/spsc.rs", forwarded).len(),
            1,
            "a safe function's caller promises nothing"
        );
        assert_eq!(findings("src/os/map.rs", text), Vec::<String>::new());
        assert_eq!(findings("tests/kill.rs", text), Vec::<String>::new());
    }

    #[test]
    fn an_invariant_that_nobody_states_is_found() {
        let text = "fn f() {\n    // SAFETY: I2, I3 - whatever it is.\n    unsafe { g() };\n}";
        assert_eq!(findings("src/ring/spsc.rs", text).len(), 1);
        assert_eq!(
            findings("src/sync/event.rs", &text.replace("I2, I3", "I1")).len(),
            1,
            "that is the ring's"
        );
    }

    #[test]
    fn proofs_pass() {
        for text in [
            "fn f() {\n    // SAFETY: I1 - in range.\n    unsafe { g() };\n}",
            "fn f() {\n    // SAFETY: I2 - over\n    // two lines.\n    let a = g()\n        .h(|| unsafe { k() });\n}",
            "fn f() {\n    g(\n        // SAFETY: I1 - here.\n        unsafe { h() },\n    );\n}",
            "//! R-I7  of this file\nfn f() {\n    // SAFETY: R-I7 - whatever.\n    unsafe { g() };\n}",
            "//! I7  of this file\nfn f() {\n    // SAFETY: I7, I1.\n    unsafe { g() };\n}",
            "// unsafe { g() }\nunsafe fn f() {}\nunsafe impl A for B {}",
            "/// I9: of this field.\nfn f() {\n    // SAFETY: I9.\n    unsafe { g() };\n}",
            "unsafe fn f(a: [u8; 2]) {\n    if b {\n        // SAFETY: the caller's contract.\n        unsafe { g() };\n    }\n}",
        ] {
            assert_eq!(findings("src/ring/spsc.rs", text), Vec::<String>::new(), "{text}");
        }
    }
}
