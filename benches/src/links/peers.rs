//! Peers that work between processes: `iceoryx2` and `ringfire`.
//!
//! `shaq` is left out: its current version does not compile with stable Rust.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use iceoryx2::node::Node;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    Config, FileName, LogLevel, NodeBuilder, Path, SemanticString, ServiceName, SignalHandlingMode, ipc,
    set_log_level,
};
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use ringfire::{FlowControl, RingConsumer, RingProducer, RingProducerBuilder};

use super::blobs::Blobs;
use crate::byte_loops;
use crate::case::Case;
use crate::groups::streams;
use crate::harness::Mode;
use crate::loops::{Link, Rx, Tx, round_trip, single};

/// Round trips.
pub(crate) fn trips() -> Vec<Case> {
    let trip = |id, who| Case::new("spsc", id, "round trip", who, "8 B, 1024 slots");
    vec![
        trip("spsc/trip/ringfire", "ringfire, lossless").ns(|s| round_trip(s, &Ringfire::new(), 10_000)),
        trip("spsc/trip/iceoryx2", "iceoryx2").ns(|s| round_trip(s, &Iceoryx::new(), 2000)),
    ]
}

/// One at a time.
pub(crate) fn singles() -> Vec<Case> {
    vec![
        Case::new("spsc", "spsc/single/ringfire", "one at a time", "ringfire, lossless", "8 B, 1024 slots")
            .per_second(|s| single::<u64, _>(s, &Ringfire::new(), 4 << 20)),
    ]
}

/// Round trips of records.
pub(crate) fn record_trips() -> Vec<Case> {
    let trip = |id, params| Case::new("streams", id, "record round trip", "ringfire blobs", params);
    vec![
        trip("streams/trip-64/ringfire", "64 B")
            .ns(|s| byte_loops::record_trip(s, &Blobs::new(1024, 64), 64, 10_000)),
        trip("streams/trip-1k/ringfire", "1 KiB")
            .ns(|s| byte_loops::record_trip(s, &Blobs::new(1024, 1024), 1024, 10_000)),
    ]
}

/// Records one at a time.
pub(crate) fn records() -> Vec<Case> {
    let who = "ringfire blobs, the sender stops when full";
    vec![
        Case::new("streams", streams::RECORDS_BLOBS, "records one way", who, "64 B")
            .per_second(|s| byte_loops::records(s, &Blobs::new(1024, 64), 64, 4 << 20)),
    ]
}

/// A name that no other measurement has.
pub(super) fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("outlive-bench-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Until another side has made what we attach to.
pub(super) fn eventually<V, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<V, E>) -> V {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Two of its rings, lossless.
struct Ringfire {
    paths: [String; 2],
}

impl Ringfire {
    fn new() -> Self {
        Self { paths: [0, 1].map(|_| format!("/dev/shm/{}", unique())) }
    }
}

impl Drop for Ringfire {
    fn drop(&mut self) {
        for path in &self.paths {
            // Usually its producer has removed it.
            fs::remove_file(path).ok();
        }
    }
}

impl Link<u64> for Ringfire {
    type Tx = RingProducer<u64>;
    type Rx = RingConsumer<u64>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Self::Tx {
        RingProducerBuilder::new(1024)
            .flow_control(FlowControl::LosslessBackpressure)
            .build(&self.paths[channel])
            .expect("a path of our own")
    }

    fn rx(&self, channel: usize) -> Self::Rx {
        eventually(|| RingConsumer::attach(&self.paths[channel]))
    }
}

impl Tx<u64> for RingProducer<u64> {
    #[inline]
    fn try_send(&mut self, message: u64) -> bool {
        self.try_push(&message).is_ok()
    }
}

impl Rx<u64> for RingConsumer<u64> {
    #[inline]
    fn try_recv(&mut self) -> Option<u64> {
        RingConsumer::try_recv(self)
    }
}

/// Two of its services, in a domain of their own, so that what they leave behind can be removed.
struct Iceoryx {
    names: [String; 2],
    domain: String,
}

type Service = PortFactory<ipc::Service, u64, ()>;

impl Iceoryx {
    fn new() -> Self {
        set_log_level(LogLevel::Error);
        Self { names: [unique(), unique()], domain: format!("{}_", unique()) }
    }

    fn root(&self) -> PathBuf {
        env::temp_dir().join(&self.domain)
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.global.prefix = FileName::new(self.domain.as_bytes()).expect("a valid name");
        let root = self.root();
        let root = Path::new(root.as_os_str().as_bytes()).expect("a valid path");
        config.global.set_root_path(&root);
        config
    }

    fn service(&self, channel: usize) -> (Service, Node<ipc::Service>) {
        let node = NodeBuilder::new()
            .config(&self.config())
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()
            .expect("a node");
        let name = ServiceName::new(&self.names[channel]).expect("a valid name");
        let service = eventually(|| {
            node.service_builder(&name)
                .publish_subscribe::<u64>()
                .subscriber_max_buffer_size(1024)
                .enable_safe_overflow(false)
                .open_or_create()
        });
        (service, node)
    }
}

impl Drop for Iceoryx {
    fn drop(&mut self) {
        fs::remove_dir_all(self.root()).ok();
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.domain) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }
}

/// An end, and what keeps it working.
struct Port<End> {
    end: End,
    _service: Service,
    _node: Node<ipc::Service>,
}

impl Link<u64> for Iceoryx {
    type Tx = Port<Publisher<ipc::Service, u64, ()>>;
    type Rx = Port<Subscriber<ipc::Service, u64, ()>>;
    const MODE: Mode = Mode::Processes;

    fn tx(&self, channel: usize) -> Self::Tx {
        let (service, node) = self.service(channel);
        let end = service.publisher_builder().create().expect("the only publisher");
        Port { end, _service: service, _node: node }
    }

    fn rx(&self, channel: usize) -> Self::Rx {
        let (service, node) = self.service(channel);
        let end = service.subscriber_builder().create().expect("the only subscriber");
        Port { end, _service: service, _node: node }
    }
}

impl Tx<u64> for Port<Publisher<ipc::Service, u64, ()>> {
    #[inline]
    fn try_send(&mut self, message: u64) -> bool {
        let sample = self.end.loan_uninit().expect("a sample is free");
        sample.write_payload(message).send().expect("its subscriber lives") == 1
    }
}

impl Rx<u64> for Port<Subscriber<ipc::Service, u64, ()>> {
    #[inline]
    fn try_recv(&mut self) -> Option<u64> {
        self.end.receive().expect("its publisher lives").map(|sample| *sample)
    }
}
