//! What the ends of a ring say about their roles.

use outlive::ring::Stats;
use outlive_kill::Survivor;

/// What has become of both ends, and how many there were of each. Before a sweep the dead may still hold them.
pub(crate) fn told(survivor: &Survivor<'_>, stats: Stats) -> String {
    let held = stats.sender.is_some() || stats.receiver.is_some();
    assert!(!(held && survivor.is_swept()), "a role of the dead is held: {stats:?}");
    let told = |held, closed, died| match (held, closed, died) {
        (true, false, _) | (false, false, Some(_)) => "died",
        (false, true, None) => "closed",
        (false, false, None) => "vacant",
        (_, true, _) => unreachable!("closed by the dead"),
    };
    let sender = told(stats.sender.is_some(), stats.sender_closed, stats.sender_died);
    let receiver = told(stats.receiver.is_some(), stats.receiver_closed, stats.receiver_died);
    format!("{sender} {receiver} {:?}", (stats.senders, stats.receivers))
}
