//! One door per danger: the kernel through `os`, atomics and cells through `shim`, the model checker nowhere else.

use crate::source::{Source, Token, asks_for_test, behind_attributes, behind_closing, matches, paths};

/// `Region` remembers, under the model checker, which type was constructed where: bytes become atomics there.
const MODELLED: &str = "src/memory/region.rs";

/// Doors that were bypassed. The command is a program of its own, and calls the kernel as it likes; tests have threads
/// and children of their own.
pub(crate) fn rule(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let mut findings = Vec::new();
    for path in paths(source).into_iter().filter(|path| !source.lines[path.line].in_test) {
        let begins = |names: &[&str]| names.contains(&path.segments[0].as_str());
        let has = |pair: [&str; 2]| path.segments.windows(2).any(|two| two == pair);
        let cell = begins(&["core", "std"]) && has(["cell", "UnsafeCell"]);
        let atomic = !begins(&["crate"]) && has(["sync", "atomic"]);
        let what = if begins(&["libc", "nix", "memmap2"]) && !matches!(module, "os" | "bin") {
            "system calls are made in src/os only"
        } else if begins(&["loom"]) && !matches!(module, "shim" | "lib") {
            "the model checker is for src/shim only"
        } else if (cell || atomic) && !matches!(module, "os" | "shim") {
            "atomics and cells come from crate::shim only"
        } else {
            continue;
        };
        findings.push(source.finding(path.line, format_args!("`{}`: {what}", path.segments.join("::"))));
    }
    if !matches!(module, "os" | "shim" | "lib") && source.path != MODELLED {
        findings.extend(models(source));
    }
    findings
}

/// Places that behave differently under the model checker. Allowed above the shim: what the layout's assertions and
/// constants need, and tests that do not run there.
fn models(source: &Source) -> Vec<String> {
    let tokens = &source.tokens;
    let mut findings = Vec::new();
    for at in 0..tokens.len() {
        let expression = matches(tokens, at, &["cfg", "!", "("]);
        if !expression && !matches(tokens, at, &["cfg", "("]) && !matches(tokens, at, &["cfg_attr", "("]) {
            continue;
        }
        let open = if expression { at + 2 } else { at + 1 };
        let behind = behind_closing(tokens, open);
        let predicate = &tokens[open..behind];
        if source.lines[tokens[at].line].in_test || !predicate.iter().any(|token| token.text == "loom") {
            continue;
        }
        let before = |start: &[&str]| at >= start.len() && matches(tokens, at - start.len(), start);
        let allowed = if expression {
            before(&["if"]) && chooses_a_number(tokens, behind)
        } else {
            let item = behind_attributes(tokens, behind + 1);
            asks_for_test(predicate) || before(&["#", "["]) && is_constant(tokens, item)
        };
        if !allowed {
            let what = "cfg(loom) above the shim: only for assertions about the layout, constants and lib.rs";
            findings.push(source.finding(tokens[at].line, what));
        }
    }
    findings
}

fn word(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// A `const`, a compile-time assertion, or a module of these.
fn is_constant(tokens: &[Token], mut at: usize) -> bool {
    if word(tokens, at) == "mod" && word(tokens, at + 2) == "{" {
        let end = behind_closing(tokens, at + 2) - 1;
        let behind =
            |from: usize| (from..end).find(|&at| word(tokens, at) == ";").map_or(end, |last| last + 1);
        let items =
            core::iter::successors(Some(at + 3), |&from| Some(behind(from))).take_while(|&from| from < end);
        return { items }.all(|from| word(tokens, from) == "use" || is_constant(tokens, from));
    }
    if word(tokens, at) == "pub" {
        at += 1;
        if word(tokens, at) == "(" {
            at = behind_closing(tokens, at);
        }
    }
    let here = word(tokens, at);
    let macro_name = if here == "static_assertions" { word(tokens, at + 2) } else { here };
    let assertion = ["const_assert", "assert_"].iter().any(|start| macro_name.starts_with(start));
    assertion || here == "const" && !matches!(word(tokens, at + 1), "fn" | "unsafe" | "extern")
}

/// `{ 2 } else { 16 }`
fn chooses_a_number(tokens: &[Token], at: usize) -> bool {
    let number = |at: usize| word(tokens, at).starts_with(|c: char| c.is_ascii_digit());
    matches(tokens, at, &["{"])
        && number(at + 1)
        && matches(tokens, at + 2, &["}", "else", "{"])
        && number(at + 5)
        && matches(tokens, at + 6, &["}"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        rule(&Source::new(path, text))
    }

    #[test]
    fn system_calls_outside_of_os_are_found() {
        for text in [
            "use libc::mmap;",
            "use nix::{sys::mman, unistd};",
            "fn f() { unsafe { ::libc::getpid() } }",
            "use memmap2::MmapMut;",
            "use libc;",
            "use {core::fmt, libc};",
        ] {
            assert!(!findings("src/segment/startup.rs", text).is_empty(), "{text}");
            assert_eq!(findings("src/os/map.rs", text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn atomics_and_cells_outside_of_the_shim_are_found() {
        for text in [
            "use core::sync::atomic::AtomicU64;",
            "use std::{sync::{Arc, atomic::{self, Ordering}}, fmt};",
            "static A: std::sync::atomic::AtomicU32 = f();",
            "use std::sync;\nfn f(x: sync::atomic::AtomicBool) {}",
            "use core::cell::{Cell, UnsafeCell as U};",
            "use loom::thread;",
        ] {
            assert!(!findings("src/ring/spsc.rs", text).is_empty(), "{text}");
            assert!(!findings("src/bin/outlive/main.rs", text).is_empty(), "{text}");
            assert_eq!(findings("src/shim/native.rs", text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(findings("src/os/wipe.rs", "use std::sync::atomic::AtomicPtr;"), Vec::<String>::new());
        assert!(!findings("src/os/wipe.rs", "use loom::thread;").is_empty());
        let test = "#[cfg(test)]\nmod tests { use std::sync::atomic::AtomicBool; }\n";
        assert_eq!(findings("src/ring/spsc.rs", test), Vec::<String>::new());
        assert_eq!(
            findings("src/ring/spsc.rs", &format!("{test}use std::sync::atomic::AtomicBool;")).len(),
            1
        );
        let fine = "use crate::shim::{AtomicU64, UnsafeCell};\nuse std::sync::{Arc, Mutex};\n// core::sync::atomic::X";
        assert_eq!(findings("src/ring/spsc.rs", fine), Vec::<String>::new());
        assert_eq!(findings("src/lib.rs", "#[cfg(loom)]\npub use loom;"), Vec::<String>::new());
    }

    #[test]
    fn behaviour_that_differs_under_the_model_checker_is_found() {
        for text in [
            "#[cfg(loom)]\nfn f() {}",
            "#[cfg(not(loom))]\nuse a::b;",
            "#[cfg(not(loom))]\nconst fn f() {}",
            "fn f() { if cfg!(loom) { g() } else { 16 } }",
            "fn f() { let a = cfg!(loom); }",
            "#[cfg_attr(loom, inline(never))]\nfn f() {}",
            "#[cfg(all(loom, not(test)))]\nmod m;",
            "#![cfg(not(loom))]\nfn f() {}",
            "#[cfg(not(loom))]\nmod layout { use a::b; const_assert!(true); fn f() {} }",
        ] {
            assert_eq!(findings("src/ring/spsc.rs", text).len(), 1, "{text}");
            assert_eq!(findings("src/shim/native.rs", text), Vec::<String>::new(), "{text}");
        }
        for text in [
            "#[cfg(not(loom))]\nconst _: () = assert!(true);",
            "#[cfg(not(loom))]\nstatic_assertions::assert_eq_size!(A, B);",
            "#[cfg(loom)]\n#[doc(hidden)]\npub(crate) const LEAST: u32 = 2;",
            "fn f() { let least = if cfg!(loom) { 2 } else { 16 }; }",
            "#[cfg(not(loom))]\nmod layout { use a::b; const_assert!(true); const A: u8 = 1; }",
            "#[cfg(all(test, not(loom)))]\nmod tests {}",
        ] {
            assert_eq!(findings("src/ring/spsc.rs", text), Vec::<String>::new(), "{text}");
        }
    }
}
