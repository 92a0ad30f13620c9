//! What is done to the structures: the names under which operations are counted.

/// As it is counted. Its name on paper is that of the variant, in lower case and with hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Operation {
    WorkerStart,
    SpscRole,
    SpscLeave,
    SpscSend,
    SpscSendSlice,
    SpscCommit,
    SpscDropGrant,
    SpscRecv,
    SpscRelease,
    SpscReleaseSome,
    RecordsRole,
    RecordsLeave,
    RecordsSend,
    RecordsCommit,
    RecordsDropGrant,
    RecordsRecv,
    RecordsRelease,
    RecordsPutBack,
    StreamRole,
    StreamLeave,
    StreamWrite,
    StreamCommit,
    StreamFillFrom,
    StreamRead,
    StreamRelease,
    StreamDrainTo,
    ObjectCreate,
    ObjectOpen,
    ObjectRemove,
    ObjectLink,
    LockTake,
    LockRelease,
    SegmentCreate,
    SegmentOpen,
    SegmentUnlink,
    SegmentDetach,
    SegmentAttach,
    SegmentSweep,
    SegmentCheck,
    SegmentList,
}

impl Operation {
    pub(crate) fn all() -> &'static [Self] {
        clap::ValueEnum::value_variants()
    }

    /// The one that was noted as a number.
    pub(crate) fn of_number(number: u64) -> Option<Self> {
        Self::all().get(usize::try_from(number).ok()?).copied()
    }

    pub(crate) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}
