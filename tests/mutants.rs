//! Promise: every planted bug can be planted today, and is in the table.
//!
//! Whether its checker finds it takes longer to say: `tests/mutants/run` plants them, one after the other.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All bugs, in order.
fn patches() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/mutants")).unwrap();
    let mut patches: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    patches
}

/// What a patch says about itself.
fn header(text: &str, key: &str) -> Option<String> {
    let above = text.lines().take_while(|line| line.starts_with("# "));
    above.filter_map(|line| line.strip_prefix(&format!("# {key}: "))).map(str::to_owned).next()
}

/// What is wrong with a patch, if anything is.
fn finding(patch: &Path, text: &str) -> Option<String> {
    let name = patch.file_name().unwrap().to_string_lossy().into_owned();
    let says = |key| header(text, key).filter(|value| value.len() > 5);
    if !says("caught-by").is_some_and(|command| command.contains("cargo ")) || says("what").is_none() {
        return Some(format!("{name}: it says not which command has to fail, or not what it is"));
    }
    let mut apply = Command::new("patch");
    apply.args(["--strip=1", "--fuzz=0", "--batch", "--silent", "--dry-run", "--directory"]).arg(root());
    let applied =
        apply.stdin(Stdio::from(File::open(patch).unwrap())).output().expect("`patch` is installed");
    let why = String::from_utf8_lossy(&applied.stdout).replace('\n', " ");
    (!applied.status.success()).then(|| format!("{name}: it does not apply any more: {why}"))
}

#[test]
fn every_bug_can_be_planted() {
    let patches = patches();
    assert!(patches.len() >= 20, "{} bugs", patches.len());
    let findings: Vec<String> =
        patches.iter().filter_map(|patch| finding(patch, &fs::read_to_string(patch).unwrap())).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn every_bug_is_in_the_table() {
    let list =
        Command::new("bash").args(["tests/mutants/run", "--list"]).current_dir(root()).output().unwrap();
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().count() == patches().len() + 2, "{list}");
    let readme = fs::read_to_string(root().join("tests/mutants/README.md")).unwrap();
    let table = readme.find("| bug |").map_or("", |at| &readme[at..]);
    assert!(table == list, "the table of tests/mutants/README.md is old: `tests/mutants/run --write`");
}

#[test]
fn a_patch_of_other_text_is_found() {
    let gone = root().join("tests/mutants.rs"); // no patch
    assert!(finding(&gone, "# what: nothing at all\n").is_some());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let old = folder.join("old.patch");
    let text = "# caught-by: cargo test\n# what: of a text that is not there\n\
                --- a/Cargo.toml\n+++ b/Cargo.toml\n@@ -1,1 +1,1 @@\n-not a line of it\n+another one\n";
    fs::write(&old, text).unwrap();
    assert!(finding(&old, text).is_some_and(|why| why.contains("does not apply")));
    fs::remove_file(old).unwrap();
}
