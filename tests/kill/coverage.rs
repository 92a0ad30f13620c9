//! Every public method is an operation of the table, or is in the list of those of which a death leaves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use outlive_kill::Case;

use super::source::{Source, Token};

/// `module::Type::method: why`, one a line.
const PURE: &str = include_str!("pure.txt");

/// Modules that users see.
const PUBLIC: [&str; 7] = ["object", "payload", "ptr", "ring", "segment", "sync", "trust"];

/// Traits whose methods are ways to do something to a segment, too.
const TRAITS: [&str; 3] = ["Read", "Write", "BufRead"];

/// What is wrong, one a line.
pub(crate) fn findings(cases: &[Case]) -> Vec<String> {
    let methods = methods(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(methods.len() > 100, "the methods were not found: {methods:?}");
    let covered: BTreeSet<&str> = cases.iter().flat_map(|case| case.covers).copied().collect();
    compare(&methods, &covered, PURE)
}

fn compare(methods: &BTreeSet<String>, covered: &BTreeSet<&str>, pure: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut excused = BTreeMap::new();
    for line in pure.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(": ") {
            Some((method, why)) if why.len() > 5 => {
                excused.insert(method, why);
            }
            _ => findings.push(format!("pure.txt: no reason in `{line}`")),
        }
    }
    for method in methods.iter().map(String::as_str) {
        match (covered.contains(method), excused.contains_key(method)) {
            (true, false) | (false, true) => {}
            (true, true) => findings.push(format!("{method} is covered: strike it from pure.txt")),
            (false, false) => {
                findings.push(format!("{method} is public: it needs a case, or a reason in pure.txt"));
            }
        }
    }
    let exists = |name: &str| match name.strip_suffix("::drop") {
        Some(of) => {
            methods.iter().any(|method| method.strip_prefix(of).is_some_and(|rest| rest.starts_with("::")))
        }
        None => methods.contains(name),
    };
    let named = covered.iter().copied().chain(excused.keys().copied());
    findings.extend(named.filter(|name| !exists(name)).map(|name| format!("there is no {name}")));
    findings
}

/// The public methods of public types: `module::Type::method`.
fn methods(root: &Path) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    let mut waiting = vec![root.join("src")];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let relative = path.strip_prefix(root.join("src")).unwrap();
        let Some(module) = module_of(relative) else { continue };
        let source = Source::new(&relative.display().to_string(), &std::fs::read_to_string(&path).unwrap());
        methods.extend(methods_in(&source).into_iter().map(|name| format!("{module}::{name}")));
    }
    methods
}

/// Of a file below `src`: its module, as users know it. `None`: they do not.
fn module_of(path: &Path) -> Option<String> {
    let parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let rust = path.extension().is_some_and(|extension| extension == "rs");
    let first = parts.first().filter(|first| rust && PUBLIC.contains(&first.as_str()))?;
    let ring = parts
        .get(1)
        .filter(|second| first == "ring" && ["spsc", "records", "stream"].contains(&second.as_str()));
    Some(ring.unwrap_or(first).clone())
}

/// `Type::method`, of inherent implementations if public, and of those of [`TRAITS`].
fn methods_in(source: &Source) -> Vec<String> {
    let tokens: Vec<&Token> =
        source.tokens.iter().filter(|token| !source.lines[token.line].in_test).collect();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut methods = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let begins = at == 0 || ["}", ";", "]", "unsafe"].contains(&text(at - 1));
        if text(at) != "impl" || !begins {
            at += 1;
            continue;
        }
        let body = (at..tokens.len()).find(|&at| text(at) == "{").unwrap_or(tokens.len());
        let (kind, of_trait) = implemented(&(at + 1..body).map(text).collect::<Vec<_>>());
        let mut depth = 0;
        at = body;
        while at < tokens.len() {
            match text(at) {
                "{" => depth += 1,
                "}" => depth -= 1,
                "fn" if depth == 1 => {
                    let public = modifiers(&tokens[..at]).any(|word| word == "pub");
                    if of_trait.as_ref().is_some_and(|name| TRAITS.contains(&name.as_str()))
                        || of_trait.is_none() && public
                    {
                        methods.push(format!("{kind}::{}", text(at + 1)));
                    }
                }
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
    }
    methods
}

/// The words before `fn`; `pub(crate)` is not `pub`.
fn modifiers<'a>(before: &'a [&Token]) -> impl Iterator<Item = &'a str> {
    let words = before.iter().rev().map(|token| token.text.as_str());
    words.take_while(|word| ["const", "unsafe", "pub"].contains(word))
}

/// The type, and the trait, of what stands between `impl` and `{`.
fn implemented(header: &[&str]) -> (String, Option<String>) {
    let mut depth = 0_i32;
    let mut plain = Vec::new();
    for (n, word) in header.iter().enumerate() {
        match *word {
            "<" => depth += 1,
            ">" if n > 0 && header[n - 1] == "-" => {}
            ">" => depth -= 1,
            "where" if depth == 0 => break,
            word if depth == 0 => plain.push(word),
            _ => {}
        }
    }
    let last = |words: &[&str]| words.last().copied().unwrap_or_default().to_owned();
    match plain.iter().position(|word| *word == "for") {
        Some(at) => (last(&plain[at + 1..]), Some(last(&plain[..at]))),
        None => (last(&plain), None),
    }
}

/// What it does not find would never be missed.
pub(crate) fn finds_what_is_planted() {
    let source = Source::new(
        "ring/spsc/x.rs",
        "impl<T: Payload<M>, M: Trust> Ring<T, M> { pub fn a(&self) -> impl Fn() -> u8 { if x { y } } pub(super) fn b() {} }
         impl<M: Trust> io::Write for Writer<M> where M: X<Y> { fn c(&mut self) {} }
         impl fmt::Debug for Ring { fn d(&self) {} }
         #[cfg(test)] mod tests { impl Ring { pub fn e() {} } }
         impl Grant<'_, Trusted> { pub unsafe fn f(&mut self) {} pub const fn g(self) {} }",
    );
    assert_eq!(methods_in(&source), ["Ring::a", "Writer::c", "Grant::f", "Grant::g"]);
    assert_eq!(module_of(&PathBuf::from("ring/spsc/x.rs")).as_deref(), Some("spsc"));
    assert_eq!(module_of(&PathBuf::from("os/map.rs")), None);
    let methods = ["a::B::c", "a::B::d"].map(str::to_owned).into();
    assert_eq!(
        compare(&methods, &["a::B::c", "a::B::drop"].into(), "a::B::d: it only looks"),
        Vec::<String>::new()
    );
    for (covered, pure) in
        [("a::B::c", ""), ("a::B::c", "a::B::d: "), ("a::X::drop", "a::B::c: whatever\na::B::d: whatever")]
    {
        assert!(!compare(&methods, &[covered].into(), pure).is_empty(), "{covered} {pure}");
    }
}
