//! Promise: what the guide's chapter shows is in the files that it names.

#![cfg(not(loom))]

use std::path::Path;

const CHAPTER: &str = include_str!("../../../src/guide/testing_your_code.md");

/// In a piece of code: here something was left out.
const LEFT_OUT: &str = "// ...";

/// Each line as it is, but for what stands around it.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The first part of the piece that the file does not have, in that order.
fn missing<'a>(piece: &[&'a str], file: &[&str]) -> Option<&'a str> {
    let mut from = 0;
    for part in piece.split(|line| *line == LEFT_OUT).filter(|part| !part.is_empty()) {
        let found = file[from..].windows(part.len()).position(|lines| lines == part);
        let Some(at) = found else { return part.first().copied() };
        from += at + part.len();
    }
    None
}

#[test]
fn the_chapter_shows_what_is_there() {
    let pieces: Vec<&str> = CHAPTER
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|piece| piece.strip_prefix("rust,ignore\n"))
        .collect();
    assert!(pieces.len() >= 5, "{} pieces of code", pieces.len());
    for piece in pieces {
        let (file, code) = piece.split_once('\n').expect("a piece of code has a first line");
        let file = file.strip_prefix("// ").expect("the first line of a piece names its file");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{file}: {why}"));
        assert_eq!(missing(&lines(code), &lines(&text)), None, "the chapter shows what is not in {file}");
    }
}

#[test]
fn what_is_not_there_is_found() {
    let file = ["a", "b", "c", "d"];
    assert_eq!(missing(&["a", "b", LEFT_OUT, "d"], &file), None);
    assert_eq!(missing(&["a", "c"], &file), Some("a"));
    assert_eq!(missing(&["c", LEFT_OUT, "b"], &file), Some("b"));
}
