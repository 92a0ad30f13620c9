//! A table for a reader, or a line of JSON for each case.

use std::fmt::Write;

use crate::case::{Case, Table};
use crate::stats::{Summary, figure};

/// JSON text of a string: quotes, backslashes and control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes everything"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The cases that one is compared with, and the ratios.
fn ratios<'a>(
    table: &'a Table,
    case: &'a Case,
    values: &'a [f64],
) -> impl Iterator<Item = (&'a Case, Summary)> {
    case.against
        .iter()
        .filter_map(move |id| Some((table.case(id)?, Summary::of_ratios(values, table.values_of(id)?)?)))
}

fn json_line(table: &Table, case: &Case, values: &[f64], summary: &Summary) -> String {
    let ratio_to: Vec<String> = ratios(table, case, values)
        .map(|(other, ratio)| {
            format!(
                "{{\"to\":{},\"ratio\":{:.4},\"min\":{:.4},\"max\":{:.4}}}",
                quoted(&other.title()),
                ratio.median,
                ratio.min,
                ratio.max
            )
        })
        .collect();
    format!(
        "{{\"group\":{},\"case\":{},\"who\":{},\"params\":{},\"unit\":{},\"median\":{:.3},\"min\":{:.3},\
         \"max\":{:.3},\"rounds\":{},\"ratio_to\":[{}],\"placement\":{}}}",
        quoted(case.group),
        quoted(case.what),
        quoted(case.who),
        quoted(case.params),
        quoted(case.unit),
        summary.median,
        summary.min,
        summary.max,
        summary.rounds,
        ratio_to.join(","),
        quoted(&table.placement()),
    )
}

/// Every case as a line of JSON.
pub(crate) fn json(table: &Table) -> Vec<String> {
    let lines = table.cases.iter().zip(&table.values).filter_map(|(case, values)| {
        let summary = Summary::of(values)?;
        Some(json_line(table, case, values, &summary))
    });
    lines.collect()
}

/// Rows under a heading, columns wide enough for their longest cell.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                write!(line, "{cell:<width$}  ").expect("a String takes everything");
            }
            line.truncate(line.trim_end().len());
            line
        })
        .collect()
}

/// The table for a reader.
pub(crate) fn human(table: &Table) -> Vec<String> {
    let cells = |cells: [&str; 9]| cells.map(str::to_owned).to_vec();
    let mut rows =
        vec![cells(["case", "who", "params", "median", "min", "max", "unit", "placement", "ratio to"])];
    for (case, values) in table.cases.iter().zip(&table.values) {
        let Some(summary) = Summary::of(values) else { continue };
        let to: Vec<String> = ratios(table, case, values)
            .map(|(other, ratio)| {
                let name = if other.what == case.what { other.who } else { other.what };
                format!("{} {name}", figure(ratio.median))
            })
            .collect();
        rows.push(cells([
            case.what,
            case.who,
            case.params,
            &figure(summary.median),
            &figure(summary.min),
            &figure(summary.max),
            case.unit,
            &table.placement(),
            &to.join(", "),
        ]));
    }
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(quoted("a \"b\" \\ \n"), "\"a \\\"b\\\" \\\\ \\u000a\"");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["long", "2"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), ["a     1", "long  2"]);
    }
}
