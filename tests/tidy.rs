//! The house rules that no lint knows, held over the whole source tree.
//!
//! Each rule is a function of a file's path and text, and has a test with a planted violation. What the rules are, and
//! why, stands in their modules.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/crashes.rs"]
mod crashes;
#[path = "tidy/doors.rs"]
mod doors;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/models.rs"]
mod models;
#[path = "tidy/orderings.rs"]
mod orderings;
#[path = "tidy/proofs.rs"]
mod proofs;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

use source::Source;

/// Where text of ours lies. A published package has fewer of them.
const FOLDERS: [&str; 12] = [
    "src",
    "tests",
    "kill",
    "loom-tests",
    "models",
    "benches",
    "drivers",
    "fuzz",
    "outlive-derive",
    "examples",
    ".ci",
    "guide",
];

/// A file of the tree: path relative to the repository, and text.
struct File {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of ours, in order. What tools write is none: lock files, build products, inputs of fuzzers.
fn files() -> Vec<File> {
    let mut waiting: Vec<_> =
        FOLDERS.iter().map(|folder| root().join(folder)).filter(|path| path.is_dir()).collect();
    waiting.extend(entries(root()).into_iter().filter(|path| path.is_file()));
    let mut files = Vec::new();
    while let Some(path) = waiting.pop() {
        let name = path.file_name().unwrap_or_default();
        if ["target", "corpus", "artifacts", "coverage", "seeds", "Cargo.lock", ".git"]
            .iter()
            .any(|tool| name == *tool)
        {
            continue;
        }
        if path.is_dir() {
            waiting.extend(entries(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).expect("found below it").display().to_string();
            files.push(File { path, text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of ours can be read");
    entries.map(|entry| entry.expect("and so can its entries").path()).collect()
}

/// The library and the command.
fn library() -> Vec<Source> {
    let in_src = files().into_iter().filter(|file| file.path.starts_with("src/") && is_rust(file));
    let mut sources: Vec<Source> = in_src.map(|file| Source::new(&file.path, &file.text)).collect();
    assert!(sources.len() > 20, "the source tree was not found: {} files", sources.len());
    let tests: Vec<String> = sources.iter().flat_map(Source::test_files).collect();
    let is_test = |source: &Source| tests.iter().any(|test| source.path.starts_with(test));
    sources.iter_mut().filter(|source| is_test(source)).for_each(Source::mark_as_test);
    sources
}

fn is_rust(file: &File) -> bool {
    Path::new(&file.path).extension().is_some_and(|extension| extension == "rs")
}

#[track_caller]
fn none(findings: impl IntoIterator<Item = String>) {
    let findings: Vec<String> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn imports_go_down_the_floors() {
    let library = library();
    let lib = library.iter().find(|source| source.path == "src/lib.rs").unwrap();
    let exports = floors::exports(lib);
    assert_eq!(exports.get("Segment").map(String::as_str), Some("segment"), "lib.rs was not understood");
    none(library.iter().flat_map(|source| floors::rule(source, &exports)));
}

#[test]
fn orderings_and_their_tables_agree() {
    none(orderings::rule(&library()));
}

#[test]
fn every_row_of_a_table_of_crashes_is_held_by_a_test() {
    if !root().join("loom-tests").is_dir() {
        return; // a published package, which has not all of the tests
    }
    let tests = crashes::tests(&files());
    for kind in ["kill", "loom", "tests", "conformance", "unit"] {
        let count = tests.iter().filter(|test| test.split(' ').next() == Some(kind)).count();
        assert!(count > 20, "{count} tests of the kind {kind}: were they not understood?");
    }
    none(crashes::rule(&library(), &tests));
}

#[test]
fn models_say_and_count_what_they_explore() {
    let models: Vec<File> =
        files().into_iter().filter(|file| file.path.starts_with("loom-tests/tests/")).collect();
    none(models.iter().flat_map(|file| models::rule(&Source::new(&file.path, &file.text))));
}

#[test]
fn each_danger_has_one_door() {
    none(library().iter().flat_map(doors::rule));
}

#[test]
fn unsafe_blocks_have_proofs() {
    let library = library();
    let invariants = proofs::invariants(&library);
    none(library.iter().flat_map(|source| proofs::rule(source, &invariants)));
    let others = files().into_iter().filter(|file| is_rust(file) && !file.path.starts_with("src/"));
    none(others.flat_map(|file| proofs::rule(&Source::new(&file.path, &file.text), &invariants)));
}

#[test]
fn files_are_one_idea_long() {
    none(files().iter().filter(|file| is_rust(file)).flat_map(|file| text::length(&file.path, &file.text)));
}

#[test]
fn the_text_stands_alone() {
    none(files().iter().flat_map(|file| text::machine_paths(&file.path, &file.text)));
}

#[test]
fn source_is_ascii() {
    let source = |file: &&File| Path::new(&file.path).extension().is_none_or(|extension| extension != "md");
    none(files().iter().filter(source).flat_map(|file| text::ascii(&file.path, &file.text)));
}

#[test]
fn nothing_is_left_unfinished() {
    let rust = files().into_iter().filter(is_rust);
    none(rust.flat_map(|file| text::unfinished(&Source::new(&file.path, &file.text))));
}

#[test]
fn the_readme_shows_the_two_commands() {
    none(text::commands(&fs::read_to_string(root().join("README.md")).unwrap()));
}
