//! `outlive ls`, `show`, `check`, `rm`, `reap`: they find what there is, say what is so, disturb nobody, and nothing that lies about
//! in a directory makes them fail or hang.
#![cfg(feature = "cli")]
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "tests panic on purpose")]

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Uid, mkfifo};
use outlive::atomic::{AtomicU64, Ordering};
use outlive::object::Object;
use outlive::ring::spsc;
use outlive::{Address, Error, Segment};
use serde_json::Value;

mod common;
use common::Name;
use common::process::{self, Child};

#[path = "common/command.rs"]
mod command;
use command::{Directory, bounded, ends_with, good, outlive, run};

#[test]
fn child_entry() {
    process::as_child(&[("hold", hold), ("pump", pump), ("stay", stay), ("alone", alone)]);
}

fn join(address: &str, temporary: bool) -> spsc::Ring<u64> {
    let options = Segment::options().size(1 << 18).temporary(temporary);
    let segment = options.open_or_create(address).unwrap();
    spsc::Ring::open_or_create(&segment, "numbers", 64).unwrap()
}

/// Has the sender's role, five messages sent.
fn hold(args: &[String]) {
    let mut sender = join(&args[0], args[1] == "temporary").sender().unwrap();
    sender.try_send_slice(&[1, 2, 3, 4, 5]).unwrap();
    process::say("ready");
    process::sleep_for_ever_with(sender)
}

/// Sends and receives for ever.
fn pump(args: &[String]) {
    let ring = join(&args[0], false);
    let (mut sender, mut receiver) = (ring.sender().unwrap(), ring.receiver().unwrap());
    process::say("ready");
    for number in 0.. {
        sender.send(number).unwrap();
        assert_eq!(receiver.recv(), Ok(number));
    }
}

/// Is attached, and no more.
fn stay(args: &[String]) {
    let segment = Segment::open(&args[0]).unwrap();
    process::say("ready");
    process::sleep_for_ever_with(segment)
}

fn holder(address: &str, kind: &str) -> Child {
    let child = Child::start("hold", &[address, kind]);
    child.expect("ready");
    child
}

/// The segments of a report.
#[track_caller]
fn report(arguments: &[&str]) -> Vec<Value> {
    segments(&good(&[arguments, &["--json"]].concat()))
}

#[track_caller]
fn segments(text: &str) -> Vec<Value> {
    let report: Value = serde_json::from_str(text).unwrap();
    report["segments"].as_array().unwrap().clone()
}

/// What may lie about, and is not a segment.
fn clutter(directory: &Directory) -> std::os::unix::net::UnixListener {
    let at = |name: &str| directory.0.join(name);
    fs::write(at("empty"), "").unwrap();
    fs::write(at("text"), "x".repeat(10_000)).unwrap();
    fs::create_dir(at("directory")).unwrap();
    mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    symlink(at("loop"), at("loop")).unwrap();
    Segment::create(directory.address("truncated").as_str(), 1 << 18).unwrap();
    fs::OpenOptions::new().write(true).open(at("truncated")).unwrap().set_len(8192).unwrap();
    Segment::create(directory.address("scribbled").as_str(), 1 << 18).unwrap();
    let mut bytes = fs::read(at("scribbled")).unwrap();
    bytes[8..4096].fill(0xff);
    fs::write(at("scribbled"), bytes).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap()
}

#[test]
fn ls_finds_named_memory_and_files_and_nothing_else() {
    let directory = Directory::new("ls");
    let _socket = clutter(&directory);
    let (temporary, plain) = (directory.address("temporary"), directory.address("plain"));
    let _kept = Segment::options().size(1 << 18).temporary(true).create(temporary.as_str()).unwrap();
    let mut dead = holder(&plain, "plain");
    let _alive = holder(&temporary, "temporary");
    dead.kill();

    let found = report(&["ls", directory.path()]);
    let addresses: Vec<&str> = found.iter().filter_map(|one| one["address"].as_str()).collect();
    assert_eq!(addresses, [plain.as_str(), temporary.as_str()], "sorted");
    let states = |one: &Value| -> Vec<bool> {
        let attachments = one["attachments"].as_array().unwrap();
        attachments.iter().map(|attachment| attachment["alive"].as_bool().unwrap()).collect()
    };
    assert_eq!((states(&found[0]), found[0]["temporary"].as_bool()), (vec![false], Some(false)));
    assert_eq!((states(&found[1]), found[1]["temporary"].as_bool()), (vec![true, true], Some(true)));
    for one in &found {
        assert_eq!(
            (one["size"].as_u64(), one["rows"].as_u64(), &one["error"]),
            (Some(1 << 18), Some(64), &Value::Null)
        );
        assert_eq!(one["objects"].as_array().map(Vec::len), Some(1));
        assert!(
            one["created"].as_str().is_some_and(|moment| moment.starts_with("20") && moment.ends_with('Z'))
        );
    }

    let table = good(&["ls", directory.path()]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ADDRESS", "SIZE", "ALIVE", "DEAD", "OBJECTS", "CREATED", "FLAGS"]);
    assert_eq!(lines[1][..6], [plain.as_str(), "256", "KiB", "0", "1", "1"]);
    assert_eq!((lines[2][3], lines[2][4], lines[2][7]), ("2", "0", "temporary"));
    assert_eq!(lines.len(), 3);

    let all = report(&["ls", "--all", directory.path()]);
    for name in ["empty", "text", "truncated", "scribbled"] {
        let one = all.iter().find(|one| one["address"] == directory.address(name).as_str());
        assert_eq!(one.map(|one| one["error"]["code"].as_u64()), Some(Some(7)), "{name}");
    }
    assert_eq!(all.len(), 6, "{all:?}");
    assert_eq!(good(&["ls", "--all", directory.path()]).lines().count(), 7);
}

#[test]
fn ls_without_directories_finds_posix_shared_memory() {
    let name = Name::shm("command");
    let address = name.address().to_string();
    let _segment = Segment::create(name.address(), 1 << 18).unwrap();
    assert!(report(&["ls"]).iter().any(|one| one["address"] == address.as_str()));
    assert!(good(&["ls"]).lines().any(|line| line.starts_with(&address)));
    let directory = Directory::new("only");
    assert_eq!(report(&["ls", directory.path()]), [Value::Null; 0]);
    assert_eq!(good(&["ls", directory.path()]), "");
}

#[test]
fn what_comes_and_goes_while_it_is_listed_is_no_error() {
    let directory = Directory::new("racing");
    let addresses: Vec<String> = (0..8).map(|n| directory.address(&n.to_string())).collect();
    let over = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while over.load(Ordering::Relaxed) == 0 {
                for address in &addresses {
                    drop(Segment::options().size(1 << 18).temporary(true).create(address.as_str()).unwrap());
                }
            }
        });
        for _ in 0..20 {
            for command in ["ls", "reap"] {
                let output = run(&[command, directory.path()]);
                over.store((output.status.code() != Some(0)).into(), Ordering::Relaxed); // or the scope never ends
                ends_with(0, &output);
            }
        }
        over.store(1, Ordering::Relaxed);
    });
}

#[test]
fn show_says_who_uses_what() {
    let name = Name::shm("command");
    let address = name.address().to_string();
    let segment = Segment::create(name.address(), 1 << 18).unwrap();
    let mut child = holder(&address, "plain");
    let pid = u64::from(child.id());
    let ring = spsc::Ring::<u64>::open(&segment, "numbers").unwrap();
    let mut receiver = ring.receiver().unwrap();
    receiver.recv().unwrap();
    let _words = Object::<AtomicU64>::create(&segment, "words", AtomicU64::default).unwrap();
    let no_ring = outlive::ring::stats(&segment, "words");
    assert!(matches!(&no_ring, Err(Error::WrongType { found, .. }) if found == "object"), "{no_ring:?}");
    let removed = spsc::Ring::<u64>::create(&segment, "removed", 8).unwrap();
    segment.remove("removed").unwrap();

    let look = || report(&["show", &address]).remove(0);
    let object = |seen: &Value, name: Option<&str>| {
        let objects = seen["objects"].as_array().unwrap().clone();
        objects.into_iter().find(|object| object["name"].as_str() == name).unwrap()
    };
    let seen = look();
    let numbers = object(&seen, Some("numbers"));
    assert_eq!((numbers["kind"].as_str(), numbers["payload"].as_str()), (Some("spsc ring"), Some("u64")));
    assert_eq!(numbers["openers"].as_u64(), Some(2));
    let stats = &numbers["ring"];
    let number = |field: &str| stats[field].as_u64().unwrap();
    assert_eq!([number("capacity"), number("depth"), number("sent"), number("received")], [64, 4, 5, 1]);
    assert_eq!((&stats["unit"], &stats["sent_per_second"]), (&Value::from("messages"), &Value::Null));
    assert_eq!(
        (stats["sender"]["state"].as_str(), stats["sender"]["pid"].as_u64()),
        (Some("held"), Some(pid))
    );
    assert_eq!(stats["receiver"]["pid"].as_u64(), Some(u64::from(std::process::id())));
    assert_eq!(object(&seen, Some("words"))["ring"], Value::Null);
    assert_eq!(object(&seen, None)["ring"]["sender"]["state"], "free");
    drop(removed);

    child.kill();
    receiver.close();
    let seen = look();
    let stats = &object(&seen, Some("numbers"))["ring"];
    assert_eq!((&stats["sender"]["state"], &stats["receiver"]["state"]), (&"died".into(), &"closed".into()));
    let attachments = seen["attachments"].as_array().unwrap();
    let theirs = attachments.iter().find(|one| one["pid"] == pid).unwrap();
    assert_eq!((&theirs["alive"], &theirs["uid"]), (&false.into(), &Uid::current().as_raw().into()));
    assert_eq!(stats["sender"]["owner"], theirs["owner"]);
    assert_eq!(segment.sweep().unwrap().recovered, 1, "it was left as it was");
    assert_eq!(object(&look(), Some("numbers"))["ring"]["sender"]["state"], "died", "as before the sweep");

    let page = good(&["show", &address]);
    for part in [address.as_str(), "attached  1 alive, 0 dead, 64 at most", "numbers", "words", "closed"] {
        assert!(page.contains(part), "`{part}` is missing in\n{page}");
    }
}

#[test]
fn looking_changes_not_a_byte() {
    let directory = Directory::new("look");
    let address = directory.address("x");
    let _segment = Segment::options().size(1 << 18).temporary(true).create(address.as_str()).unwrap();
    let mut dead = holder(&address, "temporary");
    let stays = Child::start("stay", &[&address]);
    stays.expect("ready");
    dead.kill();
    let before = fs::read(directory.0.join("x")).unwrap();
    for arguments in [
        &["ls", directory.path()][..],
        &["show", &address],
        &["show", &address, "--watch=1ms", "--count=3"],
        &["reap", "--dry-run", directory.path()],
    ] {
        assert_ne!(good(arguments), "");
        assert!(fs::read(directory.0.join("x")).unwrap() == before, "{arguments:?}");
    }
}

#[test]
fn text_of_others_is_not_obeyed_by_a_terminal() {
    let directory = Directory::new("escape");
    let address = directory.address("a\x1b[2J\nb");
    let segment = Segment::create(address.as_str(), 1 << 18).unwrap();
    let _words = Object::<AtomicU64>::create(&segment, "x\x1b[31m", AtomicU64::default).unwrap();
    for arguments in [&["ls", directory.path()][..], &["show", &address], &["ls", "--all", directory.path()]]
    {
        let text = good(arguments);
        assert!(text.contains("a\\u{1b}[2J\\nb") && !text.contains('\x1b'), "{text:?}");
    }
    assert!(good(&["show", &address]).contains("x\\u{1b}[31m"));
    let nowhere = directory.address("\x1b[2J/x");
    for arguments in [["show", &nowhere], ["rm", &nowhere], ["send", &nowhere], ["ls", &nowhere]] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(!output.stderr.contains(&0x1b) && output.stderr.ends_with(b"\n"), "{arguments:?}");
    }
}

#[test]
fn an_error_is_a_report_too() {
    let nothing = Name::shm("command").address().to_string();
    for arguments in [
        &["show", "--json", &nothing][..],
        &["show", "--json", "--watch", &nothing],
        &["rm", "--json", &nothing],
    ] {
        let seen = segments(&ends_with(3, &run(arguments)));
        assert_eq!(
            (seen[0]["address"].as_str(), seen[0]["error"]["code"].as_u64()),
            (Some(nothing.as_str()), Some(3))
        );
    }
}

#[test]
fn a_watched_ring_has_rates() {
    let name = Name::shm("command");
    let address = name.address().to_string();
    let pump = Child::start("pump", &[&address]);
    pump.expect("ready");
    let lines = good(&["show", &address, "--watch=50ms", "--count=3", "--json"]);
    let rates: Vec<f64> = lines
        .lines()
        .map(|line| segments(line)[0]["objects"][0]["ring"]["sent_per_second"].as_f64().unwrap())
        .collect();
    assert_eq!(rates.len(), 3);
    assert!(rates.iter().any(|&rate| rate > 0.0) && rates.iter().all(|&rate| rate >= 0.0), "{rates:?}");
    let text = good(&["show", &address, "--watch=1ms", "--count", "2"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("TIME") && lines[2].contains("numbers"), "{text}");
    assert_eq!(run(&["show", &address, "--count=2"]).status.code(), Some(2), "without --watch");
    assert_eq!(run(&["show", &address, "--watch=never"]).status.code(), Some(2));
}

#[test]
fn a_watch_ends_with_the_segment_or_with_a_signal() {
    for interrupt in [false, true] {
        let name = Name::shm("command");
        let segment = Segment::create(name.address(), 1 << 18).unwrap();
        let _ring = spsc::Ring::<u64>::create(&segment, "numbers", 8).unwrap();
        let mut child = outlive(&["show", &name.address().to_string(), "--watch=5ms"]).spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert!(line.starts_with("TIME"), "{line}");
        if interrupt {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
        } else {
            Segment::unlink(name.address()).unwrap();
        }
        std::io::Read::read_to_string(&mut output, &mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        if interrupt {
            assert_eq!(output.status.signal(), Some(2));
        } else {
            ends_with(3, &output);
        }
    }
}

#[test]
fn rm_takes_names_away_and_nothing_else() {
    let directory = Directory::new("rm");
    let [first, second, none, other] =
        ["first", "second", "none", "other"].map(|name| directory.address(name));
    let kept = Segment::create(first.as_str(), 1 << 18).unwrap();
    Segment::create(second.as_str(), 1 << 18).unwrap();
    fs::write(directory.0.join("other"), "precious").unwrap();
    let output = run(&["rm", "--json", &first, &none, &other, &second]);
    let removed = segments(&ends_with(3, &output));
    let codes: Vec<_> =
        removed.iter().map(|one| (one["removed"] == true, one["error"]["code"].as_u64())).collect();
    assert_eq!(codes, [(true, None), (false, Some(3)), (false, Some(7)), (true, None)]);
    assert_eq!(fs::read_to_string(directory.0.join("other")).unwrap(), "precious");
    assert_eq!(report(&["ls", directory.path()]).len(), 0);
    assert_eq!(kept.attach().unwrap().attachments().unwrap().len(), 2, "who is attached keeps it");
    Segment::create(first.as_str(), 1 << 18).unwrap();
    assert_eq!(good(&["rm", &first]), "");
    ends_with(7, &run(&["rm", &other]));
    ends_with(2, &run(&["rm"]));
}

#[test]
fn reap_recovers_the_dead_and_removes_what_only_they_used() {
    let directory = Directory::new("reap");
    let _socket = clutter(&directory);
    let [orphan, plain, shared, used] =
        ["orphan", "plain", "shared", "used"].map(|name| directory.address(name));
    let segment = Segment::options().size(1 << 18).temporary(true).create(shared.as_str()).unwrap();
    let mut dead = [(&orphan, "temporary"), (&plain, "plain"), (&shared, "temporary")]
        .map(|(address, kind)| holder(address, kind));
    let mut alive = holder(&used, "temporary");
    dead.iter_mut().for_each(Child::kill);

    let outcome = |reaped: &[Value]| -> Vec<(String, u64, bool)> {
        let one = |one: &Value| {
            let address = one["address"].as_str().unwrap().to_owned();
            (address, one["recovered"].as_u64().unwrap(), one["removed"] == true)
        };
        reaped.iter().map(one).collect()
    };
    let expected = [(orphan.clone(), 1, true), (plain.clone(), 1, false), (shared.clone(), 1, false)];
    for _ in 0..2 {
        assert_eq!(outcome(&report(&["reap", "--dry-run", directory.path()])), expected, "nothing was done");
    }
    let said = good(&["reap", "-n", directory.path()]);
    let expected_text = format!(
        "{orphan}: 1 dead attachment would be recovered, would be removed\n\
         {plain}: 1 dead attachment would be recovered\n{shared}: 1 dead attachment would be recovered\n"
    );
    assert_eq!(said, expected_text);
    assert_eq!(outcome(&report(&["reap", directory.path()])), expected);
    assert_eq!(good(&["reap", directory.path()]), "", "there is nothing left to do");
    let left = report(&["ls", directory.path()]);
    let addresses: Vec<&str> = left.iter().filter_map(|one| one["address"].as_str()).collect();
    assert_eq!(addresses, [plain.as_str(), shared.as_str(), used.as_str()]);
    assert_eq!(segment.attachments().unwrap().len(), 1);
    assert_eq!(segment.objects().unwrap()[0].openers, 0, "what the dead had open was closed");

    drop(segment);
    assert!(!directory.0.join("shared").exists(), "the last one alive removes it");
    alive.kill();
    let said = good(&["reap", directory.path()]);
    assert_eq!(said, format!("{used}: 1 dead attachment recovered, removed\n"));
    assert_eq!(report(&["ls", directory.path()]).len(), 1);
}

/// On a machine without any other segments.
#[test]
fn reap_without_directories_finds_all_memory() {
    if let Some(mut child) = Child::start_with_memory_of_its_own("alone", &[]) {
        child.succeeds();
    }
}

fn alone(_: &[String]) {
    assert_eq!(good(&["ls"]), "");
    let (posix, sysv) = ("shm:left", "sysv:0x6f75746c");
    let (stays, _alive) = ("shm:stays", holder("shm:stays", "temporary"));
    let mut dead = [posix, sysv].map(|address| holder(address, "temporary"));
    dead.iter_mut().for_each(Child::kill);
    let addresses = || -> Vec<String> {
        report(&["ls"]).iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(addresses(), [posix, stays, sysv]);
    assert_eq!(report(&["show", sysv])[0]["attachments"][0]["alive"], false);
    let reaped = [posix, sysv].map(|address| format!("{address}: 1 dead attachment recovered, removed\n"));
    assert_eq!(good(&["reap"]), reaped.concat());
    assert_eq!((addresses().as_slice(), good(&["reap"]).as_str()), (&[stays.to_owned()][..], ""));
    Segment::create(sysv, 1 << 18).unwrap();
    assert_eq!(addresses(), [stays, sysv]);
    assert_eq!(good(&["rm", sysv, stays]), "");
    assert_eq!(good(&["ls", "--all"]), "");
}

#[test]
fn many_reapers_at_once_agree() {
    let directory = Directory::new("reapers");
    let addresses: Vec<String> = (0..4).map(|n| directory.address(&n.to_string())).collect();
    let kind = |n: usize| if n % 2 == 0 { "temporary" } else { "plain" };
    let mut dead: Vec<Child> =
        { addresses.iter().enumerate() }.map(|(n, address)| holder(address, kind(n))).collect();
    dead.iter_mut().for_each(Child::kill);
    let reapers: Vec<_> = (0..4).map(|_| outlive(&["reap", directory.path()]).spawn().unwrap()).collect();
    for reaper in reapers {
        ends_with(0, &reaper.wait_with_output().unwrap());
    }
    assert_eq!(good(&["reap", directory.path()]), "");
    let left = report(&["ls", directory.path()]);
    let addresses: Vec<&str> = left.iter().filter_map(|one| one["address"].as_str()).collect();
    assert_eq!(addresses, [directory.address("1"), directory.address("3")]);
    assert!(left.iter().all(|one| one["attachments"].as_array().is_some_and(Vec::is_empty)), "{left:?}");
}

#[test]
fn errors_have_their_codes() {
    let directory = Directory::new("codes");
    let (text, nothing) = (directory.address("text"), directory.address("nothing"));
    fs::write(directory.0.join("text"), "x".repeat(10_000)).unwrap();
    for (code, arguments) in [
        (2, &["show"][..]),
        (2, &["show", "a/b"]),
        (2, &["sow", "x"]),
        (2, &["completions", "tcsh"]),
        (3, &["show", &nothing]),
        (3, &["ls", "/nowhere/at-all"]),
        (3, &["reap", "/nowhere/at-all"]),
        (3, &["check", &nothing]),
        (7, &["show", &text]),
        (7, &["check", &text]),
    ] {
        assert_eq!(ends_with(code, &run(arguments)), "", "{arguments:?}");
    }
    for command in ["ls", "show", "check", "rm", "reap", "completions", "demo", "soak"] {
        let help = good(&[command, "--help"]);
        assert!(help.contains("Exit codes:") && help.contains("\n  6  permission denied\n"), "{help}");
    }
    assert!(good(&["--help"]).contains("\"attachments\": ["));
}

#[test]
fn what_another_user_may_not_see_is_denied_and_passed_over() {
    if !Uid::current().is_root() {
        process::visibly("NOT TESTED: only root can be another user");
        return;
    }
    let directory = Directory::new("denied");
    fs::set_permissions(&directory.0, PermissionsExt::from_mode(0o755)).unwrap();
    let [closed, open] = ["closed", "open"].map(|name| directory.address(name));
    let _closed = Segment::create(closed.as_str(), 1 << 18).unwrap();
    let _open = Segment::options().size(1 << 18).mode(0o644).create(open.as_str()).unwrap();
    holder(&open, "plain").kill();
    let nobody = |arguments: &[&str]| {
        let mut command = outlive(arguments);
        command.uid(65534).gid(65534);
        bounded(command)
    };
    let mut probe = outlive(&["--version"]);
    if probe.uid(65534).output().is_err() {
        process::visibly("NOT TESTED: nobody else may run this program");
        return;
    }
    let found = segments(&ends_with(0, &nobody(&["ls", "--json", directory.path()])));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["address"], open.as_str());
    let all = segments(&ends_with(0, &nobody(&["ls", "--all", "--json", directory.path()])));
    let denied = all.iter().find(|one| one["address"] == closed.as_str()).unwrap();
    assert_eq!(denied["error"]["code"].as_u64(), Some(6));
    assert!(ends_with(0, &nobody(&["ls", "--all", directory.path()])).contains("permission denied"));
    let left = ends_with(0, &nobody(&["reap", directory.path()]));
    assert!(left.starts_with(&format!("{open}: left alone, permission denied")), "{left}");
    assert!(ends_with(0, &nobody(&["show", &open])).contains("1 alive, 1 dead"));
    ends_with(6, &nobody(&["show", &closed]));
    ends_with(6, &nobody(&["rm", &closed]));
    ends_with(6, &nobody(&["rm", &open]));
    assert_eq!(report(&["ls", directory.path()]).len(), 2);
}

#[test]
fn completions_know_the_subcommands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = good(&["completions", shell]);
        assert!(script.contains("reap") && script.contains("dry-run"), "{shell}");
    }
}

#[test]
fn nobody_who_reads_is_a_quiet_end() {
    let mut child = outlive(&["completions", "bash"]);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let output = child.stdout(writer).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}

/// Addresses are compared as text above.
#[test]
fn addresses_print_as_they_are_written() {
    let directory = Directory::new("address");
    let address = directory.address("x");
    assert_eq!(Address::from(address.as_str()).to_string(), address);
}

#[test]
fn check_names_what_is_broken_and_leaves_the_rest_alone() {
    let (sound, broken) = (Name::shm("check-sound"), Name::shm("check-broken"));
    let [sound_address, broken_address] = [&sound, &broken].map(|name| name.address().to_string());
    let keepers = [join(&sound_address, false), join(&broken_address, false)];
    let text = good(&["check", &sound_address, &broken_address]);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().all(|line| line.contains(": sound, live: ")), "{text}");

    let mut child = holder(&sound_address, "lasting");
    child.kill();
    let text = good(&["check", &sound_address]);
    assert!(
        text.contains(": note: ") && text.contains(": needs sweep: ") && text.contains("\"numbers\""),
        "{text}"
    );
    let report = report(&["check", &sound_address]);
    assert_eq!(report[0]["check"]["sound"], true);
    assert_eq!((&report[0]["check"]["alive"], &report[0]["check"]["dead"]), (&1.into(), &1.into()));
    assert_eq!(report[0]["check"]["findings"][1]["severity"], "needs sweep", "{report:?}");
    assert_eq!(report[0]["check"]["findings"][1]["object"], "numbers", "{report:?}");

    let file = fs::OpenOptions::new().write(true).open(broken.path()).unwrap();
    file.write_all_at(&[0xff; 8], 384).unwrap(); // the lock of the directory
    let names = [broken_address.as_str(), &sound_address];
    let text = ends_with(1, &run(&[&["check"], &names[..]].concat()));
    assert!(text.lines().next().is_some_and(|line| line.contains("corrupt: at 384: ")), "{text}");
    let report = segments(&ends_with(1, &run(&["check", &broken_address, "--json"])));
    assert_eq!(report[0]["check"]["sound"], false);
    assert_eq!(report[0]["check"]["findings"][0]["at"], 384, "{report:?}");
    drop(keepers);

    let none = Name::shm("check-none").address().to_string();
    ends_with(3, &run(&["check", &none]));
    ends_with(1, &run(&["check", &none, &broken_address]));
    ends_with(2, &run(&["check"]));
}
