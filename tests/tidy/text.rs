//! What holds for the text of a file, whatever it says.

use crate::source::Source;

/// Longer than this is more than one idea.
const LONGEST: usize = 600;

/// A file that is too long to be one idea.
pub(crate) fn length(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines <= LONGEST { Vec::new() } else { vec![format!("{path}: {lines} lines, more than {LONGEST}")] }
}

/// Paths of the machine where somebody worked.
pub(crate) fn machine_paths(path: &str, text: &str) -> Vec<String> {
    // In pieces, so that this file passes.
    let folders =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let outside = concat!("..", "/shared");
    let absolute = |line: &str| {
        folders.iter().any(|folder| line.match_indices(folder).any(|(at, _)| !follows_a_name(line, at)))
    };
    let offends = |line: &str| absolute(line) || line.contains(outside);
    report(path, text, offends, "a path that exists on one machine only")
}

/// Then it is inside of something: `target/x`, not `/x`.
fn follows_a_name(line: &str, at: usize) -> bool {
    line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}'))
}

/// Bytes beyond ASCII.
pub(crate) fn ascii(path: &str, text: &str) -> Vec<String> {
    report(path, text, |line| !line.is_ascii(), "not ASCII")
}

fn report(path: &str, text: &str, offends: impl Fn(&str) -> bool, what: &str) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| offends(line));
    lines.map(|(number, _)| format!("{path}:{}: {what}", number + 1)).collect()
}

/// Work that was left for later, without an issue that says so.
pub(crate) fn unfinished(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in source.lines.iter().enumerate() {
        let code = line.code.replace(' ', "");
        let text = [&line.code, &line.comment, &line.doc, &line.module_doc].map(String::as_str).join(" ");
        let macros = ["todo!", "unimplemented!", "dbg!"];
        if let Some(found) = macros.iter().find(|name| code.contains(*name)) {
            findings.push(source.finding(number, format_args!("`{found}`: finish it")));
        }
        if code.contains("#[ignore") {
            findings.push(source.finding(number, "a test that never runs"));
        }
        if text.contains("TODO") {
            findings.push(source.finding(number, "finish it, or write FIXME(#issue)"));
        }
        let unnumbered = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_digit());
        if text.split("FIXME").skip(1).any(|rest| rest.strip_prefix("(#").is_none_or(unnumbered)) {
            findings.push(source.finding(number, "FIXME without an issue: FIXME(#12)"));
        }
    }
    findings
}

/// The two commands that do everything, as the README must show them.
pub(crate) const COMMANDS: [&str; 2] =
    ["cargo run --release --features cli -- demo", "cargo test --workspace"];

/// A README that does not show them, each on a line of its own, so that they can be copied.
pub(crate) fn commands(readme: &str) -> Vec<String> {
    let shown = |command: &str| {
        readme.lines().any(|line| line.trim() == command || line.contains(&format!("`{command}`")))
    };
    let missing = COMMANDS.iter().filter(|command| !shown(command));
    missing.map(|command| format!("README.md does not show `{command}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(length("a.rs", &"\n".repeat(600)), Vec::<String>::new());
        assert_eq!(length("a.rs", &"\n".repeat(601)), ["a.rs: 601 lines, more than 600"]);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        for text in [
            concat!("see /ho", "me/me/x"),
            concat!("\n\"/ro", "ot/.cargo\""),
            concat!("(..", "/shared/design)"),
        ] {
            assert_eq!(machine_paths("a.md", text).len(), 1, "{text}");
        }
        assert_eq!(
            machine_paths("a.md", "/dev/shm/x, /proc/self/fd, target/work/x, ./home/x"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_not_ascii_is_found() {
        assert_eq!(ascii("a.rs", "// fine\n// na\u{ef}ve"), ["a.rs:2: not ASCII"]);
    }

    #[test]
    fn unfinished_work_is_found() {
        let (later, fix) = (concat!("TO", "DO"), concat!("FIX", "ME"));
        for text in [
            format!("// {later}: later"),
            format!("/// {fix}: in documentation\nfn f() {{}}"),
            format!("fn f() {{}} /* {fix} */"),
            format!("// {fix}(#): no number"),
            concat!("fn f() { to", "do!() }").to_owned(),
            concat!("fn f() { unimple", "mented!() }").to_owned(),
            concat!("fn f() { d", "bg!(1); }").to_owned(),
            concat!("#[ig", "nore = \"slow\"]\nfn f() {}").to_owned(),
        ] {
            assert_eq!(unfinished(&Source::new("a.rs", &text)).len(), 1, "{text}");
        }
        let fine = format!("// {fix}(#12): known\nfn f() {{ g(\"{later}\") }}");
        assert_eq!(unfinished(&Source::new("a.rs", &fine)), Vec::<String>::new());
    }

    #[test]
    fn a_missing_command_is_found() {
        let both = format!("```sh\n{}\n{}\n```", COMMANDS[0], COMMANDS[1]);
        assert_eq!(commands(&both), Vec::<String>::new());
        assert_eq!(commands(&both.replace("--release ", "")).len(), 1);
        assert_eq!(commands("").len(), 2);
    }
}
