//! Imports go down the floors only.

use std::collections::BTreeMap;

use crate::source::{Path, Source, matches, paths};

/// From the system calls up. A module imports from lower floors and from itself.
const FLOORS: [(&str, u32); 14] = [
    ("os", 0),
    ("shim", 1),
    ("memory", 2),
    ("segment", 3),
    ("ptr", 4),
    ("sync", 5),
    ("ring", 6),
    ("object", 7),
    ("alloc", 7),
    ("containers", 8),
    ("channel", 9),
    ("inspect", 10),
    ("guide", 11),
    ("bin", 11),
];

/// Importable from anywhere: plain types without a state of their own, and the tests' way to kill.
const EVERYWHERE: [&str; 4] = ["error", "trust", "payload", "testing"];

/// The table of recovery functions is assembled in lib.rs, from above, and read by the segment: `crate::KINDS`.
const TABLE: (&str, &str) = ("KINDS", "segment");

fn floor(module: &str) -> Option<u32> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// What lib.rs exports under another name than its module's: `Segment` is `segment`'s, `atomic` is the shim's.
pub(crate) fn exports(lib: &Source) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for path in paths(lib) {
        let local =
            path.segments.iter().find(|segment| !matches!(segment.as_str(), "crate" | "self" | "super"));
        let Some(module) = local else { continue };
        if floor(module).is_some() || EVERYWHERE.contains(&module.as_str()) {
            let name = inline_modules(lib, path.at).first().cloned().unwrap_or(path.name);
            exports.insert(name, module.clone());
        }
    }
    exports
}

/// Upward imports, and modules without a floor.
pub(crate) fn rule(source: &Source, exports: &BTreeMap<String, String>) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    if matches!(module, "lib" | "bin") || EVERYWHERE.contains(&module) {
        return Vec::new(); // lib.rs is above all; the command sees only the public face
    }
    let Some(own) = floor(module) else {
        return vec![source.finding(
            0,
            format_args!("the module `{module}` has no floor: give it one in tests/tidy/floors.rs"),
        )];
    };
    let mut findings = Vec::new();
    for path in paths(source) {
        let Some(name) = root_name(source, &path) else { continue };
        let target = exports.get(name).map_or(name, String::as_str);
        if (name, module) == TABLE
            || target == module
            || [name, target].iter().any(|name| EVERYWHERE.contains(name))
        {
            continue;
        }
        match floor(target) {
            Some(below) if below < own => {}
            Some(above) => findings.push(source.finding(
                path.line,
                format_args!(
                    "floor {own} (`{module}`) imports `{name}` from floor {above}: imports go down only"
                ),
            )),
            None => findings.push(source.finding(
                path.line,
                format_args!("`crate::{name}` is on no floor: import it from its module"),
            )),
        }
    }
    findings.dedup();
    findings
}

/// The name that a path takes from the crate's root, if it begins there.
fn root_name<'a>(source: &Source, path: &'a Path) -> Option<&'a str> {
    let first = path.segments.first()?.as_str();
    let skip = match first {
        "crate" | "outlive" => 1,
        "super" | "self" => {
            let supers = path.segments.iter().take_while(|segment| *segment == "super" || *segment == "self");
            let up = supers.clone().filter(|segment| *segment == "super").count();
            if up < depth(source) + inline_modules(source, path.at).len() {
                return None;
            }
            supers.count()
        }
        _ => return None,
    };
    path.segments.get(skip).map(String::as_str).filter(|name| *name != "self")
}

/// How many modules deep a file is.
fn depth(source: &Source) -> usize {
    let inside = source.path.strip_prefix("src/").unwrap_or(&source.path);
    inside.split('/').filter(|part| *part != "mod.rs").count()
}

/// The inline modules around a token, outermost first.
fn inline_modules(source: &Source, at: usize) -> Vec<String> {
    let mut open: Vec<Option<String>> = Vec::new();
    for index in 0..at {
        match source.tokens[index].text.as_str() {
            "{" => {
                let named = index >= 2 && matches(&source.tokens, index - 2, &["mod"]);
                open.push(named.then(|| source.tokens[index - 1].text.clone()));
            }
            "}" => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<String> {
        let lib = "pub use segment::{Owner, Segment};\npub use crate::error::Error;\n\
                   pub mod atomic { pub use crate::shim::AtomicU64; }\npub(crate) static KINDS: [u8; 0] = [];";
        rule(&Source::new(path, text), &exports(&Source::new("src/lib.rs", lib)))
    }

    #[test]
    fn upward_imports_are_found_however_they_are_written() {
        for text in [
            "use crate::ring::spsc::Ring;",
            "use crate::{\n    error::Error,\n    ring::{self, spsc},\n};",
            "fn f() { let _ = crate::ring::spsc::X; }",
            "fn f(x: Option<&crate::sync::Event>) {}",
            "use super::super::ptr::Offset;",
            "mod a { use super::super::super::ptr::Offset; }",
            "use super::{super::ptr};",
            "pub(in crate::ring) fn f() {}",
            "use outlive::object::Object;",
            "use crate::*;",
        ] {
            assert_eq!(lines("src/segment/sweep.rs", text).len(), 1, "{text}");
        }
        assert_eq!(lines("src/memory/region.rs", "use crate::Segment;").len(), 1, "an export of lib.rs");
        assert_eq!(lines("src/os/map.rs", "use crate::atomic::AtomicU64;").len(), 1, "a module in lib.rs");
        assert_eq!(lines("src/object.rs", "use super::inspect::check;").len(), 1, "a file of depth one");
        assert_eq!(lines("src/alloc/mod.rs", "use crate::object::Object;").len(), 1, "a neighbour");
        assert!(lines("src/segment/a.rs", "\n\nuse crate::ring::A;")[0].starts_with("src/segment/a.rs:3: "));
    }

    #[test]
    fn what_has_no_floor_is_found() {
        assert_eq!(lines("src/attic/a.rs", "").len(), 1);
        assert_eq!(lines("src/ring/spsc.rs", "use crate::attic::A;").len(), 1);
        assert_eq!(
            lines("src/ring/spsc.rs", "fn f() { crate::KINDS; }").len(),
            1,
            "the table is for the segment"
        );
    }

    #[test]
    fn downward_imports_pass() {
        for text in [
            "use crate::{Error, Owner, Segment, segment::Attached, shim::{self, AtomicU64}};",
            "use super::lease::Lease;",
            "mod tests { use super::super::lease; }",
            "use crate::atomic::AtomicU64;",
            "/// [`crate::inspect::check`]\n// crate::inspect::check\nfn f() { g(\"crate::inspect::check\") }",
            "use crate::testing;",
            "use super::super::sync::Event;",
        ] {
            assert_eq!(lines("src/ring/spsc/mod.rs", text), Vec::<String>::new(), "{text}");
        }
        assert_eq!(lines("src/segment/sweep.rs", "fn f() { crate::KINDS.iter() }"), Vec::<String>::new());
        assert_eq!(lines("src/bin/outlive/main.rs", "use crate::demo;"), Vec::<String>::new());
    }
}
