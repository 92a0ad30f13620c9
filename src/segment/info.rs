//! What a segment says about itself.

use super::Segment;
use super::header::{Header, LAYOUT_VERSION};
use crate::error::Result;
use crate::shim::Ordering;

/// A segment, as [`Segment::info`] describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Version of the layout.
    pub version: u64,
    /// Bytes, header and tables included.
    pub size: u64,
    /// Where objects begin: so many bytes are header and tables.
    pub objects_at: u64,
    /// How many processes can be attached at a time.
    pub rows: u32,
    /// How many objects there can be.
    pub entries: u32,
    /// Unlinked by the last detach.
    pub temporary: bool,
    /// When it was created, in nanoseconds since 1970.
    pub created: u64,
}

impl Segment {
    /// What the segment is, apart from who uses it ([`attachments`](Self::attachments)) and for what
    /// ([`objects`](Self::objects)).
    ///
    /// ```
    /// use outlive::Segment;
    /// let info = Segment::options().size(1 << 20).rows(8).heap()?.info()?;
    /// assert_eq!((info.rows, info.temporary), (8, false));
    /// assert!(info.objects_at < info.size);
    /// # Ok::<(), outlive::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Forked`, `Killed`.
    pub fn info(&self) -> Result<SegmentInfo> {
        let attached = self.attached();
        attached.check()?;
        let plan = attached.plan();
        Ok(SegmentInfo {
            version: LAYOUT_VERSION,
            size: self.size(),
            objects_at: plan.data_at,
            rows: plan.rows,
            entries: plan.entries,
            temporary: plan.temporary,
            created: attached.region().get::<Header>(0)?.created.load(Ordering::Relaxed), // [H4]
        })
    }
}
