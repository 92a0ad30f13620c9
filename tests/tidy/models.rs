//! Models that say what they prove, and prove it: allowed and forbidden outcomes, and a number of executions.
//!
//! A model that explores a single execution passes, whatever it says: so the result of each exploration is compared with
//! a number, before the next one of the same name.

use crate::source::{Source, Token, behind_closing, has_word, matches};

const EXPLORATIONS: [&str; 2] = ["explore", "explore_deaths"];

/// What is missing in a file of models.
pub(crate) fn rule(source: &Source) -> Vec<String> {
    let tokens = &source.tokens;
    let is_own = |name: &&str| (0..tokens.len()).any(|at| matches(tokens, at, &["fn", name]));
    if EXPLORATIONS.iter().any(is_own) {
        return Vec::new(); // an exploration of its own
    }
    let calls: Vec<usize> = (0..tokens.len()).filter(|&at| is_call(tokens, at)).collect();
    let mut findings = Vec::new();
    for &at in &calls {
        let behind = behind_closing(tokens, at + 1);
        let Some(name) = result(tokens, at) else {
            findings.push(source.finding(tokens[at].line, "the number of executions is thrown away"));
            continue;
        };
        let next = calls.iter().find(|&&next| next > at && result(tokens, next) == Some(name));
        if !is_asserted(tokens, name, behind, next.copied().unwrap_or(tokens.len())) {
            let what = format_args!("no minimum of executions is asserted: `assert!({name} > ...)`");
            findings.push(source.finding(tokens[at].line, what));
        }
    }
    for at in 0..tokens.len() {
        if !matches(tokens, at, &["#", "[", "test", "]", "fn"]) {
            continue;
        }
        let Some(open) = (at..tokens.len()).find(|&at| tokens[at].text == "{") else { continue };
        let body = open..behind_closing(tokens, open);
        if !calls.iter().any(|call| body.contains(call)) {
            continue;
        }
        let line = tokens[at].line;
        let documented = |line: &&crate::source::Line| !line.doc.is_empty();
        let doc: String = source.lines[..line]
            .iter()
            .rev()
            .take_while(documented)
            .map(|line| line.doc.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        for word in ["Allowed", "Forbidden"] {
            if !has_word(&doc, word) {
                findings.push(source.finding(line, format_args!("the model does not say what is {word}:")));
            }
        }
    }
    findings
}

fn is_call(tokens: &[Token], at: usize) -> bool {
    EXPLORATIONS.contains(&tokens[at].text.as_str()) && matches(tokens, at + 1, &["("])
}

/// What the result of the call is bound to: `let NAME = explore(`, with a path before it or not.
fn result(tokens: &[Token], mut at: usize) -> Option<&str> {
    while at >= 2 && tokens[at - 1].text == "::" {
        at -= 2;
    }
    let bound = at >= 3 && tokens[at - 1].text == "=" && tokens[at - 3].text == "let";
    bound.then(|| tokens[at - 2].text.as_str())
}

/// Whether `name` is compared with something in an `assert!` of that range.
fn is_asserted(tokens: &[Token], name: &str, from: usize, to: usize) -> bool {
    (from..to).filter(|&at| matches(tokens, at, &["assert", "!", "("])).any(|at| {
        let inside = &tokens[at + 2..behind_closing(tokens, at + 2)];
        let named = inside.iter().position(|token| token.text == name);
        named.is_some_and(|named| inside[named..].iter().any(|token| token.text == ">"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOC: &str = "/// The race.\n///\n/// Allowed: a. Forbidden: b.\n";

    fn findings(text: &str) -> Vec<String> {
        rule(&Source::new("loom-tests/tests/a.rs", text))
    }

    #[test]
    fn a_model_that_says_and_asserts_passes() {
        for body in [
            "let iterations = explore(3, || {}); assert!(iterations > 1, \"{iterations}\");",
            "let n = model::explore(3, || {}); assert!(n >= 1 && x());",
            "let deaths = explore_deaths(3, |k| true); assert!(deaths.len() > 3);",
        ] {
            let text = format!("{DOC}#[test]\nfn t() {{ {body} }}");
            assert_eq!(findings(&text), Vec::<String>::new(), "{body}");
        }
        let elsewhere = "use a::explore;\nfn f() -> usize { let executions = model::explore(3, m); executions }\n\
                         #[test]\nfn t() { assert!(f().executions >= 3) }";
        assert_eq!(findings(elsewhere), Vec::<String>::new());
    }

    #[test]
    fn a_model_that_asserts_nothing_is_found() {
        for body in [
            "let _ = explore(3, || {});",
            "drop(explore(3, || {}));",
            "let iterations = explore(3, || { assert!(iterations > 1) });",
            "let iterations = explore(3, || {}); assert!(others > 1);",
            "let deaths = explore_deaths(3, |k| true); assert!(!deaths.is_empty());",
            "let a = explore(3, || {}); let a = explore(3, || {}); assert!(a > 1);",
        ] {
            let found = findings(&format!("{DOC}#[test]\nfn t() {{ {body} }}"));
            assert_eq!(found.len(), 1, "{body}: {found:?}");
        }
    }

    #[test]
    fn a_model_that_says_nothing_is_found() {
        let body = "#[test]\nfn t() { let n = explore(3, || {}); assert!(n > 1); }";
        assert_eq!(findings(body).len(), 2);
        assert_eq!(findings(&format!("/// Allowed: a.\n{body}")).len(), 1);
        assert_eq!(
            findings(&format!("/// Allowed: a. Forbidden: b.\n\n{body}")).len(),
            2,
            "of something else"
        );
    }
}
