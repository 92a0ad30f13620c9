//! Where an instruction lies in the source, if binutils can say.

use std::process::Command;

/// `function at file:line`, or the address.
pub(crate) fn of(instruction: u64) -> String {
    if instruction == 0 {
        return "at the beginning".to_owned();
    }
    let Some((file, at)) = in_file(instruction) else { return format!("{instruction:#x}") };
    let place = format!("{}+{at:#x}", file.rsplit('/').next().unwrap_or_default());
    let look = Command::new("addr2line").args(["-C", "-f", "-e", &file, &format!("{at:#x}")]).output();
    let Some(told) = look.ok().and_then(|told| String::from_utf8(told.stdout).ok()) else { return place };
    let (function, line) = told.trim().split_once('\n').unwrap_or(("??", "??"));
    if function == "??" {
        return place;
    }
    let line = line.rsplit_once("/src/").map_or(line, |(_, line)| line);
    format!("{place} {function} at {line}")
}

fn in_file(instruction: u64) -> Option<(String, u64)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let parse = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let file = line.split_ascii_whitespace().nth(5)?.to_owned();
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(from)?, number(to)?, file))
    };
    let mapped: Vec<(u64, u64, String)> = maps.lines().filter_map(parse).collect();
    let (_, _, file) = mapped.iter().find(|(from, to, _)| (*from..*to).contains(&instruction))?;
    let base = mapped.iter().find(|(_, _, name)| name == file)?.0;
    Some((file.clone(), instruction - base))
}
