//! Processes in the middle of something, while another one is killed.

use std::time::Duration;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::World;
use crate::machine;
use crate::process::{Forked, fork, leave, state_of, within};

/// What another process does, while the victim is killed.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// Waits in a blocking operation, once the victim is prepared, and must return from it after the death. Consumes
    /// nothing, and keeps what it has until it ends (see [`forget`](crate::forget)).
    Waits(fn(&World)),
    /// Has something before the victim comes: it ends with [`keep`].
    Keeps(fn(&World)),
}

/// Keeps it until this process is killed: the end of a [`Peer::Keeps`].
pub fn keep<T>(_kept: T) {
    loop {
        nix::unistd::pause();
    }
}

/// All of one case. Killed when dropped.
#[derive(Default)]
pub(crate) struct Peers(Vec<(Peer, Forked)>);

/// For what takes no time, in a process that nobody stops.
const SOON: Duration = Duration::from_secs(60);

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
            if !within(SOON, || sleeps(pid) || has_ended(pid)) || has_ended(pid) {
                return Err("a peer does not fall asleep".to_owned());
            }
        }
        Ok(())
    }

    /// Alive, asleep, and not to be woken: what is stepped is alone.
    pub(crate) fn stop(&self) {
        for (_, process) in &self.0 {
            process.signal(Signal::SIGSTOP);
            assert!(within(SOON, || state_of(process.pid()) == Some('T')), "a peer does not stop");
        }
    }

    /// Those who wait return by themselves, within this time; the others are killed.
    pub(crate) fn return_or_are_killed(self, patience: Duration) -> Result<(), String> {
        for (peer, process) in self.0 {
            if let Peer::Keeps(_) = peer {
                process.kill();
            } else if within(patience, || has_ended(process.pid())) {
                process
                    .succeeds()
                    .map_err(|why| format!("a peer that waits has returned, and then: {why}"))?;
            } else {
                return Err("a peer that waits does not return".to_owned());
            }
        }
        Ok(())
    }
}

fn has_ended(pid: Pid) -> bool {
    state_of(pid) == Some('Z')
}

/// In a futex, or in `pause`.
fn sleeps(pid: Pid) -> bool {
    let asleep = [libc::SYS_futex, machine::PAUSE].map(|number| format!("{number} "));
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    asleep.iter().any(|number| call.starts_with(number))
}
