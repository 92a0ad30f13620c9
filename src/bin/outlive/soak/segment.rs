//! The segment that the workers work in: of which kind, and how they find it.

use std::io;
use std::process::Stdio;

use outlive::segment::Options;
use outlive::{Address, Error, Segment};

use crate::Outcome;

/// Of which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Segments {
    /// POSIX shared memory
    Shm,
    /// A memfd, which the workers inherit
    Memfd,
    /// A file in the directory for temporary files
    File,
    /// System V shared memory
    Sysv,
}

impl Segments {
    /// What is chosen from by default. There are systems without System V shared memory.
    pub(crate) const USUAL: [Self; 3] = [Self::Shm, Self::Memfd, Self::File];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shm => "shm",
            Self::Memfd => "memfd",
            Self::File => "file",
            Self::Sysv => "sysv",
        }
    }
}

/// A segment that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) segment: Segment,
    /// By what workers open it.
    pub(crate) address: Option<Address>,
}

impl Made {
    pub(crate) fn new(kind: Segments, prefix: &str, options: &Options) -> Outcome<Self> {
        let named = |address: Address| {
            let segment = options.create(address.clone())?;
            Ok::<_, Error>(Self { segment, address: Some(address) })
        };
        Ok(match kind {
            Segments::Shm => named(format!("shm:{prefix}-main").as_str().into())?,
            Segments::File => named(std::env::temp_dir().join(format!("{prefix}-main")).as_path().into())?,
            Segments::Memfd => Self { segment: options.memfd(&format!("{prefix}-main"))?, address: None },
            Segments::Sysv => {
                let segment = options.sysv_private()?;
                let address = segment.sysv_address();
                Self { segment, address }
            }
        })
    }

    /// To be a worker's standard output.
    pub(crate) fn to_inherit(&self) -> io::Result<Stdio> {
        match (&self.address, self.segment.as_fd()) {
            (None, Some(fd)) => Ok(fd.try_clone_to_owned()?.into()),
            _ => Ok(Stdio::null()),
        }
    }

    /// Leaves it, and says what of it is still there.
    pub(crate) fn leave(mut self) -> Outcome<Option<String>> {
        let address = self.address.take();
        drop(self);
        let Some(address) = address else { return Ok(None) };
        match Segment::unlink(address.clone()) {
            Err(Error::NotFound { .. }) => Ok(None),
            Ok(()) => Ok(Some(address.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(address) = self.address.take() {
            let _ = Segment::unlink(address); // the run has failed, and says why
        }
    }
}
