//! Processes in the middle of something, while another one is killed.

use nix::unistd::Pid;

use super::common::process::{Forked, Signal, fork, leave, soon, state_of};
use super::world::World;

/// What another process does.
#[derive(Clone, Copy)]
pub(crate) enum Peer {
    /// Waits in a blocking operation, once the victim is prepared, and must return from it after the death. Consumes
    /// nothing, and keeps what it has until it ends.
    Waits(fn(&World)),
    /// Has something, before the victim comes: it ends with [`keep`].
    Keeps(fn(&World)),
}

/// Until killed.
pub(crate) fn keep<T>(kept: T) {
    super::common::process::sleep_for_ever_with(kept)
}

/// All of one case. Killed when dropped.
#[derive(Default)]
pub(crate) struct Peers(Vec<(Peer, Forked)>);

impl Peers {
    /// Those who wait, or the others. Each is asleep when the next one starts, and when this returns.
    pub(crate) fn start(&mut self, peers: &[Peer], waiting: bool, world: &World) -> Result<(), String> {
        for &peer in peers.iter().filter(|peer| matches!(peer, Peer::Waits(_)) == waiting) {
            let Some(process) = fork() else {
                let (Peer::Waits(work) | Peer::Keeps(work)) = peer;
                leave(|| work(world))
            };
            let pid = process.pid();
            self.0.push((peer, process));
            if !soon(|| sleeps(pid) || state_of(pid) == Some('Z')) || state_of(pid) == Some('Z') {
                return Err("a peer does not fall asleep".to_owned());
            }
        }
        Ok(())
    }

    /// Alive, asleep, and not to be woken: what is stepped is alone.
    pub(crate) fn stop(&self) {
        for (_, process) in &self.0 {
            process.signal(Signal::SIGSTOP);
            assert!(soon(|| state_of(process.pid()) == Some('T')));
        }
    }

    /// Those who wait return by themselves; the others are killed.
    pub(crate) fn return_or_are_killed(self) -> Result<(), String> {
        for (peer, process) in self.0 {
            if let Peer::Keeps(_) = peer {
                process.kill();
            } else if !soon(|| state_of(process.pid()) == Some('Z')) {
                return Err("a peer that waits does not return".to_owned());
            } else {
                process.succeeds();
            }
        }
        Ok(())
    }
}

/// In a futex, or in `pause`.
fn sleeps(pid: Pid) -> bool {
    let asleep = [nix::libc::SYS_futex, nix::libc::SYS_pause].map(|number| format!("{number} "));
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    asleep.iter().any(|number| call.starts_with(number))
}
