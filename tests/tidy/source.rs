//! Reads Rust well enough for rules about it: code apart from comments, literals emptied, tests marked.

/// One line of a file. Literals in `code` are empty: `""`, `''`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) code: String,
    /// Plain comments: neither `///` nor `//!`.
    pub(crate) comment: String,
    /// The module's documentation: `//!`.
    pub(crate) module_doc: String,
    /// An item's documentation: `///`.
    pub(crate) doc: String,
    /// Whether it belongs to an item under `#[cfg(test)]`.
    pub(crate) in_test: bool,
    /// Inside round or square brackets: the line on which the outermost of them opens, below the last brace.
    opened_on: Option<usize>,
}

/// A word, a `::`, or one character of punctuation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// From 0.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// A file of Rust.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Relative to the repository.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) tokens: Vec<Token>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut lines = split(text);
        let tokens = tokenize(&lines);
        mark_tests(&mut lines, &tokens);
        mark_brackets(&mut lines, &tokens);
        Self { path: path.to_owned(), lines, tokens }
    }

    /// Where the modules lie that only tests have, `#[cfg(test)] mod name;`: the paths begin so.
    pub(crate) fn test_files(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let folder = stem.strip_suffix("/mod").or(stem.strip_suffix("/lib")).unwrap_or(stem);
        let is_declared =
            |at: &usize| matches(&self.tokens, *at, &["mod"]) && matches(&self.tokens, at + 2, &[";"]);
        let declared = (0..self.tokens.len()).filter(is_declared).map(|at| &self.tokens[at + 1]);
        let only_tests = declared.filter(|name| self.lines[name.line].in_test);
        only_tests.flat_map(|name| [".rs", "/"].map(|end| format!("{folder}/{}{end}", name.text))).collect()
    }

    /// All of it is for tests.
    pub(crate) fn mark_as_test(&mut self) {
        for line in &mut self.lines {
            line.in_test = true;
        }
    }

    /// What a rule reports: file, line, and what is wrong with it.
    pub(crate) fn finding(&self, line: usize, what: impl core::fmt::Display) -> String {
        format!("{}:{}: {what}", self.path, line + 1)
    }

    /// The first folder or file below `src`, without its extension: the module that has a floor.
    pub(crate) fn module(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let name = rest.split('/').next()?;
        Some(name.strip_suffix(".rs").unwrap_or(name))
    }

    /// The comments that speak about a line: on it, directly above its statement, and, where the line opens a block,
    /// directly below it (the formatter moves a comment behind `{` there).
    pub(crate) fn comments_on(&self, line: usize) -> String {
        let mut comments = vec![self.lines[line].comment.clone()];
        if self.lines[line].code.trim_end().ends_with('{') {
            comments.extend(self.comment_block(line + 1, true));
        }
        let mut at = line;
        loop {
            comments.extend(self.comment_block(at, false));
            let above = match self.lines[at].opened_on {
                Some(opened) if opened < at => opened,
                _ if at > 0 && self.continues(at - 1) => at - 1,
                _ => break,
            };
            comments.push(self.lines[above].comment.clone());
            at = above;
        }
        comments.join(" ")
    }

    /// The full-line comments from `line` downward, or those that end above it.
    fn comment_block(&self, line: usize, down: bool) -> Vec<String> {
        let is_comment = |line: &Line| line.code.trim().is_empty() && !line.comment.is_empty();
        let count =
            |lines: &mut dyn Iterator<Item = &Line>| lines.take_while(|line| is_comment(line)).count();
        let block = if down {
            line..line + count(&mut self.lines[line..].iter())
        } else {
            line - count(&mut self.lines[..line].iter().rev())..line
        };
        self.lines[block].iter().map(|line| line.comment.clone()).collect()
    }

    /// Whether the statement on `line` goes on below it.
    fn continues(&self, line: usize) -> bool {
        let code = self.lines[line].code.trim_end();
        !code.is_empty() && !code.ends_with([';', '{', '}', ',', ']'])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    Comment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// Separates code, comments and literals.
fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut state = State::Code;
    for raw in text.lines() {
        let mut line = Line::default();
        let chars: Vec<char> = raw.chars().collect();
        let starts = |at: usize, what: &str| {
            chars[at.min(chars.len())..].iter().copied().take(what.len()).eq(what.chars())
        };
        let mut at = 0;
        while at < chars.len() {
            match state {
                State::Comment { depth } => {
                    let (next, width) = match () {
                        () if starts(at, "*/") && depth == 1 => (State::Code, 2),
                        () if starts(at, "*/") => (State::Comment { depth: depth - 1 }, 2),
                        () if starts(at, "/*") => (State::Comment { depth: depth + 1 }, 2),
                        () => (state, 1),
                    };
                    line.comment.extend(&chars[at..at + width]);
                    state = next;
                    at += width;
                }
                State::Text => {
                    at += match chars[at] {
                        '\\' => 2,
                        '"' => {
                            line.code.push('"');
                            state = State::Code;
                            1
                        }
                        _ => 1,
                    };
                }
                State::RawText { hashes } => {
                    at += 1;
                    if chars[at - 1] == '"' && starts(at, &"#".repeat(hashes)) {
                        line.code.push('"');
                        state = State::Code;
                        at += hashes;
                    }
                }
                State::Code if starts(at, "//") => {
                    let rest: String = chars[at..].iter().collect();
                    match (rest.strip_prefix("//!"), rest.strip_prefix("///")) {
                        (Some(doc), _) => line.module_doc.push_str(doc),
                        (_, Some(doc)) if !doc.starts_with('/') => line.doc.push_str(doc),
                        _ => line.comment.push_str(&rest),
                    }
                    at = chars.len();
                }
                State::Code if starts(at, "/*") => {
                    line.comment.push_str("/*");
                    state = State::Comment { depth: 1 };
                    at += 2;
                }
                State::Code => at += code(&chars, at, &mut line.code, &mut state),
            }
        }
        lines.push(line);
    }
    lines
}

/// Takes one piece of code: how many characters.
fn code(chars: &[char], at: usize, code: &mut String, state: &mut State) -> usize {
    let here = chars[at];
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    if here == '"' {
        code.push('"');
        *state = State::Text;
        return 1;
    }
    if is_word(&here) {
        let width = chars[at..].iter().take_while(|c| is_word(c)).count();
        let word: String = chars[at..at + width].iter().collect();
        let behind = &chars[at + width..];
        let hashes = behind.iter().take_while(|c| **c == '#').count();
        if matches!(word.as_str(), "r" | "br" | "cr") && behind.get(hashes) == Some(&'"') {
            code.push('"');
            *state = State::RawText { hashes };
            return width + hashes + 1;
        }
        code.push_str(&word);
        return width;
    }
    if here == '\'' {
        // A lifetime has no second quote behind its first character.
        let closing = match chars.get(at + 1) {
            Some('\\') => chars[at + 3..].iter().position(|c| *c == '\'').map(|found| at + 3 + found),
            Some(_) if chars.get(at + 2) == Some(&'\'') => Some(at + 2),
            _ => None,
        };
        if let Some(closing) = closing {
            code.push_str("''");
            return closing + 1 - at;
        }
    }
    code.push(here);
    1
}

fn tokenize(lines: &[Line]) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let mut rest = line.code.as_str();
        while let Some(first) = rest.chars().next() {
            let width = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                tokens.push(Token { text: rest[..width].to_owned(), line: number });
            }
            rest = &rest[width..];
        }
    }
    tokens
}

/// The index behind the bracket that closes the one at `open`.
pub(crate) fn behind_closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The index behind all attributes that begin at `at`.
pub(crate) fn behind_attributes(tokens: &[Token], mut at: usize) -> usize {
    while matches(tokens, at, &["#", "["]) {
        at = behind_closing(tokens, at + 1);
    }
    at
}

/// Whether the tokens at `at` read so.
pub(crate) fn matches(tokens: &[Token], at: usize, expected: &[&str]) -> bool {
    tokens.len() >= at + expected.len()
        && expected.iter().zip(&tokens[at..]).all(|(text, token)| token.text == *text)
}

/// Whether a configuration predicate asks for `test`, and not for its absence.
pub(crate) fn asks_for_test(predicate: &[Token]) -> bool {
    let negated = |at: usize| at >= 2 && matches(predicate, at - 2, &["not", "("]);
    (0..predicate.len()).any(|at| predicate[at].text == "test" && !negated(at))
}

/// Whether the text has this word.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word)
}

fn mark_tests(lines: &mut [Line], tokens: &[Token]) {
    for at in 0..tokens.len() {
        if !matches(tokens, at, &["#", "[", "cfg", "("]) {
            continue;
        }
        let behind = behind_closing(tokens, at + 1);
        if !asks_for_test(&tokens[at + 3..behind]) {
            continue;
        }
        let mut end = behind_attributes(tokens, behind);
        while end < tokens.len() && !matches!(tokens[end].text.as_str(), ";" | "{") {
            end = if matches!(tokens[end].text.as_str(), "(" | "[") {
                behind_closing(tokens, end)
            } else {
                end + 1
            };
        }
        if matches(tokens, end, &["{"]) {
            end = behind_closing(tokens, end) - 1;
        }
        let last = tokens.get(end).map_or(lines.len() - 1, |token| token.line);
        for line in &mut lines[tokens[at].line..=last] {
            line.in_test = true;
        }
    }
}

fn mark_brackets(lines: &mut [Line], tokens: &[Token]) {
    let mut open: Vec<(bool, usize)> = Vec::new();
    let mut tokens = tokens.iter().peekable();
    for (number, line) in lines.iter_mut().enumerate() {
        let since_brace = open.iter().rev().take_while(|(brace, _)| !brace);
        line.opened_on = since_brace.last().map(|(_, line)| *line);
        while let Some(token) = tokens.next_if(|token| token.line == number) {
            match token.text.as_str() {
                "(" | "[" => open.push((false, number)),
                "{" => open.push((true, number)),
                ")" | "]" | "}" => drop(open.pop()),
                _ => {}
            }
        }
    }
}

/// A path as it is written, `a::b::c`; of `use a::{b, c as d}` there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    /// What `use` calls it here.
    pub(crate) name: String,
    /// Index of its first token.
    pub(crate) at: usize,
    pub(crate) line: usize,
}

/// Every path of the file: of two segments or more, or imported.
pub(crate) fn paths(source: &Source) -> Vec<Path> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = |back: usize| at.checked_sub(back).map_or("", |index| tokens[index].text.as_str());
        let imported = match before(1) {
            "use" => true,
            "::" => before(2) == "use",
            "crate" => before(2) == "extern",
            _ => false,
        };
        let begins = match tokens[at].text.as_str() {
            "{" => imported,
            _ => tokens[at].is_word() && (imported || before(1) != "." && matches(tokens, at + 1, &["::"])),
        };
        at = if begins { tree(tokens, at, &[], &mut found).max(at + 1) } else { at + 1 };
    }
    found
}

/// Reads the path or tree at `at`; returns the index behind it.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let start = at;
    let mut segments = before.to_vec();
    while at < tokens.len() {
        if tokens[at].text == "{" {
            at += 1;
            while at < tokens.len() && tokens[at].text != "}" {
                let next = if tokens[at].text == "," { at + 1 } else { tree(tokens, at, &segments, found) };
                at = next.max(at + 1);
            }
            return at + 1;
        }
        if !tokens[at].is_word() && tokens[at].text != "*" {
            break;
        }
        segments.push(tokens[at].text.clone());
        at += 1;
        if !matches(tokens, at, &["::"]) {
            break;
        }
        at += 1;
    }
    if segments.len() == before.len() {
        return at;
    }
    let mut name = segments.last().cloned().unwrap_or_default();
    if matches(tokens, at, &["as"]) && at + 1 < tokens.len() {
        name.clone_from(&tokens[at + 1].text);
        at += 2;
    }
    found.push(Path { segments, name, at: start, line: tokens[start].line });
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = Source::new(
            "a.rs",
            "let a = \"// no comment { \\\" still text\"; // one { comment\n\
             let b = r#\"raw \" { text\"#; /* two /* nested */ more */ let c = '\"'; let d = '\\'';\n\
             /// outer\n//! inner\nfn f<'a>(x: &'a str) {}\n\
             let e = \"two\nlines\"; let f = b'x';",
        );
        let code: Vec<&str> = source.lines.iter().map(|line| line.code.as_str()).collect();
        assert_eq!(code[0], "let a = \"\"; ");
        assert_eq!(source.lines[0].comment, "// one { comment");
        assert_eq!(code[1], "let b = \"\";  let c = ''; let d = '';");
        assert_eq!(source.lines[1].comment, "/* two /* nested */ more */");
        assert_eq!((code[2], code[3]), ("", ""));
        assert_eq!((source.lines[2].comment.as_str(), source.lines[3].module_doc.as_str()), ("", " inner"));
        assert_eq!(code[4], "fn f<'a>(x: &'a str) {}");
        assert_eq!((code[5], code[6]), ("let e = \"", "\"; let f = b'';"));
    }

    #[test]
    fn test_items_are_marked_and_nothing_else() {
        let text = "fn a() {}\n#[cfg(all(test, not(loom)))]\n#[expect(x)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}\n\
                    #[cfg(not(test))]\nfn d() {}\n#[cfg(test)]\nuse x::{y, z};\nfn e() {}";
        let marked: Vec<bool> = Source::new("a.rs", text).lines.iter().map(|line| line.in_test).collect();
        let expected = [false, true, true, true, true, true, false, false, false, true, true, false];
        assert_eq!(marked[..10], expected[..10]);
        assert!(marked[9] && marked[10] == expected[10], "{marked:?}");
        assert!(!marked[11]);
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_known() {
        let text = "#[cfg(test)]\nmod tests;\nmod code;\n#[cfg(test)]\nmod inline { fn f() {} }";
        assert_eq!(Source::new("src/a/mod.rs", text).test_files(), ["src/a/tests.rs", "src/a/tests/"]);
        assert_eq!(Source::new("src/a.rs", text).test_files(), ["src/a/tests.rs", "src/a/tests/"]);
        assert_eq!(Source::new("src/lib.rs", text).test_files(), ["src/tests.rs", "src/tests/"]);
    }

    #[test]
    fn trees_of_imports_are_flattened() {
        let source = Source::new(
            "a.rs",
            "use crate::{\n a::b,\n c::{self, d as e},\n};\nfn f() { x.y::<crate::g::H>() + ::libc::k::<u8>(1) }",
        );
        let read: Vec<String> = paths(&source).iter().map(|path| path.segments.join("::")).collect();
        assert_eq!(read, ["crate::a::b", "crate::c::self", "crate::c::d", "crate::g::H", "libc::k"]);
        assert_eq!(paths(&source)[2].name, "e");
        assert_eq!(paths(&source)[2].line, 2);
    }

    #[test]
    fn comments_keep_their_order() {
        let source = Source::new("a.rs", "// one\n// two\nf();\nif g() {\n    // three\n    // four\n}");
        assert_eq!(source.comments_on(2).trim(), "// one // two");
        assert_eq!(source.comments_on(3).trim(), "// three // four");
    }

    #[test]
    fn comments_are_found_where_they_belong() {
        let source = Source::new(
            "a.rs",
            "// one\nlet a = f(\n    x,\n    y,\n);\nlet b = g // two\n    .h();\nif k {\n    // three\n    l();\n}\nm();",
        );
        assert_eq!(source.comments_on(3).trim(), "// one");
        assert_eq!(source.comments_on(6).trim(), "// two");
        assert_eq!(source.comments_on(7).trim(), "// three");
        assert_eq!(source.comments_on(11).trim(), "");
    }
}
