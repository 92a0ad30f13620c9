//! The same in mode `Trusted`, for payload of which any bytes are a value: control words are validated there, too.

use std::io::BufRead;

use outlive::ring::{records, spsc, stream};
use outlive::{Error, Segment, Trusted};

/// One operation on every ring, through references.
pub fn use_all(segment: Segment, mut note: impl FnMut(Result<(), Error>)) {
    // SAFETY: this process alone uses it now. What was broken before, in words and bytes, is what the test is about; any
    // bytes are a value of the payload, and no two guards live at the same time.
    let segment = unsafe { segment.trust() };
    note(values(&segment));
    note(records(&segment));
    note(bytes(&segment));
}

fn values(segment: &Segment<Trusted>) -> Result<(), Error> {
    let ring = spsc::Ring::<u64, Trusted>::open(segment, "ring")?;
    if let Ok(mut sender) = ring.try_sender() {
        if let Ok(mut grant) = sender.try_reserve(3) {
            grant.as_mut_slice().fill(7);
            let n = grant.len();
            assert!(n <= ring.capacity() && grant.commit() == n);
        }
        let _ = sender.try_send(1);
    }
    let mut receiver = ring.try_receiver()?;
    let items = receiver.try_read(100)?;
    let sum = items.iter().fold(0, |sum: u64, item| sum.wrapping_add(*item));
    assert!(items.len() <= ring.capacity() && std::hint::black_box(sum) == sum);
    items.release();
    Ok(())
}

fn records(segment: &Segment<Trusted>) -> Result<(), Error> {
    let ring = records::Ring::<Trusted>::open(segment, "records")?;
    if let Ok(mut sender) = ring.try_sender() {
        if let Ok(mut grant) = sender.try_reserve(21) {
            grant.as_mut_slice().fill(7);
            grant.commit();
        }
        let _ = sender.try_send(b"record");
    }
    let mut receiver = ring.try_receiver()?;
    let record = receiver.try_read()?;
    let sum = record.iter().fold(0, |sum: u64, byte| sum.wrapping_add((*byte).into()));
    assert!(record.len() <= ring.capacity() && std::hint::black_box(sum) == sum);
    record.release();
    Ok(())
}

fn bytes(segment: &Segment<Trusted>) -> Result<(), Error> {
    let ring = stream::Ring::<Trusted>::open(segment, "stream")?;
    if let Ok(mut writer) = ring.try_writer() {
        if let Ok(mut grant) = writer.try_reserve(21) {
            grant.as_mut_slice().fill(7);
            grant.commit();
        }
    }
    let mut reader = ring.try_reader()?;
    reader.set_timeout(Some(std::time::Duration::ZERO));
    let n = reader.fill_buf().map(|bytes| {
        let sum = bytes.iter().fold(0, |sum: u64, byte| sum.wrapping_add((*byte).into()));
        assert!(bytes.len() <= ring.capacity() && std::hint::black_box(sum) == sum);
        bytes.len()
    });
    let n = n.map_err(|source| Error::Os { call: "fill_buf", source })?;
    reader.consume(n);
    Ok(())
}
