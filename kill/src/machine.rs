//! What depends on the processor: the two marks around an operation, and where a process stands.

pub(crate) use this::*;

#[cfg(target_arch = "x86_64")]
mod this {
    use core::arch::global_asm;

    use nix::libc;
    use nix::sys::ptrace;
    use nix::unistd::Pid;

    pub(crate) fn is_supported() -> bool {
        true
    }

    /// What `pause` asks the kernel for.
    pub(crate) const PAUSE: libc::c_long = libc::SYS_pause;

    // A trap takes one byte, touches nothing, and ends a process that nobody traces.
    global_asm!(
        ".text",
        ".globl outlive_kill_begin",
        "outlive_kill_begin:",
        "int3",
        "ret",
        ".globl outlive_kill_end",
        "outlive_kill_end:",
        "int3",
        "ret",
    );

    unsafe extern "C" {
        fn outlive_kill_begin();
        fn outlive_kill_end();
    }

    /// From here on, instruction by instruction.
    #[inline(never)]
    pub(crate) fn begin() {
        // SAFETY: a trap, which the tracer takes, and a return.
        unsafe { outlive_kill_begin() }
    }

    /// This far. Does not return.
    #[inline(never)]
    pub(crate) fn end() {
        // SAFETY: the tracer knows this place, and ends the process before it is executed.
        unsafe { outlive_kill_end() }
    }

    /// Where [`end`] stops: the same in whoever was forked here.
    pub(crate) fn end_address() -> u64 {
        let place: unsafe extern "C" fn() = outlive_kill_end;
        (place as *const ()).addr() as u64
    }

    /// The instruction that is executed next.
    pub(crate) fn next_of(pid: Pid) -> nix::Result<u64> {
        ptrace::getregs(pid).map(|registers| registers.rip)
    }
}

/// Nothing is run here.
#[cfg(not(target_arch = "x86_64"))]
mod this {
    use nix::libc;
    use nix::unistd::Pid;

    pub(crate) fn is_supported() -> bool {
        false
    }

    pub(crate) const PAUSE: libc::c_long = libc::SYS_ppoll;

    pub(crate) fn begin() {}

    pub(crate) fn end() {}

    pub(crate) fn end_address() -> u64 {
        0
    }

    pub(crate) fn next_of(_: Pid) -> nix::Result<u64> {
        Err(nix::errno::Errno::ENOSYS)
    }
}
