//! `outlive show`: one segment, once or again and again.

use core::time::Duration;
use std::process::ExitCode;
use std::time::SystemTime;

use outlive::Address;

use crate::find::look;
use crate::table::{Table, printable};
use crate::view::{Object, Report, Ring, Role, Seen, View};
use crate::{Outcome, print, size, time};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The segment: `shm:NAME`, `file:PATH`, `sysv:KEY`
    name: Address,
    /// Print how fast its rings move, every INTERVAL [default: 1s], until interrupted
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true, default_missing_value = "1s",
        value_parser = time::parse)]
    watch: Option<Duration>,
    /// Stop watching after N intervals
    #[arg(long, value_name = "N", requires = "watch")]
    count: Option<u64>,
    /// Print one JSON object (a line, with --watch): its form is described in `outlive --help`
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let seen = see(arguments)?;
    if let Some(interval) = arguments.watch {
        return watch(arguments, interval, seen);
    }
    let address = arguments.name.to_string();
    print(&if arguments.json { report(address, seen).json()? } else { page(&address, &seen) })?;
    Ok(ExitCode::SUCCESS)
}

/// A look; that there is nothing to be seen is a report, too.
fn see(arguments: &Arguments) -> Outcome<Seen> {
    let seen = look(&arguments.name).and_then(|segment| Seen::look(&segment));
    if let (true, Err(error)) = (arguments.json, &seen) {
        let view = View::of_error(arguments.name.to_string(), error);
        print(&Report { segments: vec![view] }.json()?)?;
    }
    Ok(seen?)
}

/// Each look opens the segment anew: so a removed one is noticed, and a new one of its name is seen.
fn watch(arguments: &Arguments, interval: Duration, mut before: Seen) -> Outcome {
    let mut begun = time::now();
    let mut printed = 0;
    while arguments.count.is_none_or(|count| printed < count) {
        std::thread::sleep(interval);
        let mut seen = see(arguments)?;
        let now = time::now();
        rate(&mut seen, &before, now - begun);
        let text = if arguments.json {
            let report = report(arguments.name.to_string(), seen);
            let text = report.json()?;
            seen = report.segments.into_iter().find_map(|view| view.seen).unwrap_or(before);
            text
        } else {
            rates(&seen, printed == 0)
        };
        print(&text)?;
        (before, begun) = (seen, now);
        printed += 1;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(address: String, seen: Seen) -> Report {
    Report { segments: vec![View { address, seen: Some(seen), ..View::default() }] }
}

/// Speeds of the rings that were there before.
fn rate(seen: &mut Seen, before: &Seen, passed: Duration) {
    for Object { name, ring, .. } in &mut seen.objects {
        let same = before.objects.iter().find(|object| object.name == *name);
        let (Some(ring), Some(before)) = (ring, same.and_then(|object| object.ring.as_ref())) else {
            continue;
        };
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let speed = |now: u64, then: u64| Some(now.saturating_sub(then) as f64 / passed.as_secs_f64());
        ring.sent_per_second = speed(ring.sent, before.sent);
        ring.received_per_second = speed(ring.received, before.received);
    }
}

/// A line a ring.
fn rates(seen: &Seen, first: bool) -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let line = |cells: [&str; 5]| {
        let [time, ring, sent, received, depth] = cells;
        format!("{time:20}  {ring:24}  {sent:>14}  {received:>14}  {depth:>12}\n")
    };
    let mut text =
        if first { line(["TIME", "RING", "SENT/S", "RECEIVED/S", "DEPTH"]) } else { String::new() };
    for object in &seen.objects {
        let Some(ring) = &object.ring else { continue };
        let speed = |speed: Option<f64>| speed.map_or_else(|| "-".to_owned(), |speed| format!("{speed:.0}"));
        let (sent, received) = (speed(ring.sent_per_second), speed(ring.received_per_second));
        text += &line([&now, &name(object), &sent, &received, &ring.depth.to_string()]);
    }
    text
}

fn name(object: &Object) -> String {
    object.name.as_deref().map_or_else(|| "(removed)".to_owned(), printable)
}

fn page(address: &str, seen: &Seen) -> String {
    let objects: u64 = seen.objects.iter().map(|object| object.size).fold(0, u64::saturating_add);
    let sizes = [seen.size, seen.objects_at, objects].map(size::show);
    let mut text = [
        format!("{}{}\n", printable(address), if seen.temporary { " (temporary)" } else { "" }),
        format!("  created   {}\n", seen.created),
        format!("  size      {}: tables {}, objects {}\n", sizes[0], sizes[1], sizes[2]),
        format!("  attached  {} alive, {} dead, {} at most\n", seen.alive(), seen.dead(), seen.rows),
    ]
    .concat();
    let mut attachments = Table::new(&["ATTACHMENT", ">PID", ">UID", "SINCE", "STATE"]);
    for one in &seen.attachments {
        let state = if one.alive { "alive" } else { "dead" };
        let (pid, uid) = (one.pid.to_string(), one.uid.to_string());
        attachments.row([one.owner.clone(), pid, uid, one.since.clone(), state.to_owned()]);
    }
    let mut objects = Table::new(&["OBJECT", "KIND", "PAYLOAD", ">SIZE", ">OPEN"]);
    let mut rings =
        Table::new(&["RING", "UNIT", ">CAPACITY", ">DEPTH", ">SENT", ">RECEIVED", "SENDER", "RECEIVER"]);
    for object in &seen.objects {
        let (size, openers) = (size::show(object.size), object.openers.to_string());
        objects.row([name(object), object.kind.clone(), object.payload.clone(), size, openers]);
        let Some(Ring { unit, capacity, depth, sent, received, sender, receiver, .. }) = &object.ring else {
            continue;
        };
        let [capacity, depth, sent, received] = [capacity, depth, sent, received].map(u64::to_string);
        let unit = (*unit).to_owned();
        rings.row([name(object), unit, capacity, depth, sent, received, role(sender), role(receiver)]);
    }
    for table in [attachments, objects, rings] {
        if !table.is_empty() {
            text.push('\n');
            text += &table.print();
        }
    }
    text
}

/// `held by 1.1, pid 4711 (2nd)`
fn role(role: &Role) -> String {
    let by = role.owner.as_ref().map_or_else(String::new, |owner| format!(": {owner}"));
    let pid = role.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let times = if role.holders > 1 { format!(", holder {}", role.holders) } else { String::new() };
    format!("{}{by}{pid}{times}", role.state)
}
