//! Ways to get a message across: ours, the plain reference ring, and peers.

#[cfg(feature = "peers")]
mod blobs;
pub(crate) mod kernel;
pub(crate) mod outlive_bytes;
pub(crate) mod outlive_ring;
#[cfg(feature = "peers")]
pub(crate) mod peers;
#[cfg(not(feature = "peers"))]
#[path = "no_peers.rs"]
pub(crate) mod peers;
pub(crate) mod reference;
pub(crate) mod rtrb_ring;
