//! Which cases the command line asks for: that of `cargo test`, which one gives to all tests of a workspace at once.

use crate::case::Case;

/// Of the harness of other tests, with a value that is no name of a case.
const WITH_A_VALUE: [&str; 6] =
    ["--color", "--format", "--logfile", "--shuffle-seed", "--test-threads", "-Z"];

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    wanted: Vec<String>,
    unwanted: Vec<String>,
    exact: bool,
    /// Those that are marked to be ignored: there are none.
    ignored: bool,
    /// Names are to be told, and nothing is to be run.
    pub(crate) list: bool,
}

impl Arguments {
    pub(crate) fn new(arguments: impl IntoIterator<Item = String>) -> Self {
        let mut found = Self::default();
        let mut words = arguments.into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => found.list = true,
                "--exact" => found.exact = true,
                "--ignored" => found.ignored = true,
                "--skip" => found.unwanted.extend(words.next()),
                option if WITH_A_VALUE.contains(&option) => drop(words.next()),
                option if option.starts_with('-') => {
                    found.unwanted.extend(option.strip_prefix("--skip=").map(str::to_owned));
                }
                _ => found.wanted.push(word),
            }
        }
        found
    }

    /// Whether somebody has asked for certain cases.
    pub(crate) fn choose(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn want(&self, case: &Case) -> bool {
        let is_named =
            |part: &String| if self.exact { case.name == part } else { case.name.contains(part.as_str()) };
        let wanted = self.wanted.is_empty() || self.wanted.iter().any(is_named);
        wanted && !self.unwanted.iter().any(is_named) && !self.ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::INSIDE;

    fn wanted(arguments: &[&str]) -> Vec<&'static str> {
        let arguments = Arguments::new(arguments.iter().map(|&word| word.to_owned()));
        let all = ["push", "push, full", "pop"];
        all.into_iter().filter(|name| arguments.want(&Case { name, ..INSIDE })).collect()
    }

    #[test]
    fn cases_are_chosen_as_other_tests_are() {
        assert_eq!(wanted(&[]).len(), 3);
        assert_eq!(wanted(&["push"]), ["push", "push, full"]);
        assert_eq!(wanted(&["push", "--exact", "--nocapture"]), ["push"]);
        assert_eq!(wanted(&["full", "pop"]), ["push, full", "pop"]);
        assert_eq!(wanted(&["--skip", "push"]), ["pop"]);
        assert_eq!(wanted(&["--skip=push"]), ["pop"]);
        assert_eq!(wanted(&["--test-threads", "1", "--format", "terse", "--list"]).len(), 3);
        assert_eq!(wanted(&["--ignored"]).len(), 0);
        assert_eq!(wanted(&["--skip"]).len(), 3);
    }
}
